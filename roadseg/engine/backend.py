"""What runs a network for a `Predictor`: torch, or the runtime that an exported file is for."""

import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import torch
from torch import Tensor

from roadseg.config import InferConfig
from roadseg.engine.device import autocast, half_precision, resolve_device, usable_cores
from roadseg.errors import CheckpointError, ConfigError
from roadseg.model.checkpoint import Checkpoint
from roadseg.model.exported import Exported, Run

# Calls of the network at a time on the CPU: more of them hold more memory, and share its bandwidth.
_MOST_CALLS = 8


class Backend(Protocol):
    """A network ready to run."""

    device: torch.device
    """Where pictures are to come and logits are."""
    stride: int
    """It sees pictures best whose sides are multiples of this."""

    def logits(self, image_BCHW: Tensor) -> Tensor:
        """Map uint8 RGB to logits_BKHW, float32, of the same size."""
        ...

    def threads(self) -> ThreadPoolExecutor:
        """Threads to call `logits` in side by side, for a pipeline whose other stages want the same cores."""
        ...


def make_backend(weights: Checkpoint | Exported, config: InferConfig) -> Backend:
    """Raises ConfigError where the device of `config` is not there, or cannot run such a network."""
    return (
        TorchBackend(weights, config) if isinstance(weights, Checkpoint) else RuntimeBackend(weights, config)
    )


class TorchBackend:
    """A checkpoint's network, folded, in the layout and precision that the device is fastest in."""

    def __init__(self, checkpoint: Checkpoint, config: InferConfig) -> None:
        self.device = resolve_device(config.device)
        self.stride = checkpoint.model.config.stride
        self._dtype = half_precision(self.device, config.amp)
        model = copy.deepcopy(checkpoint.model).fold().requires_grad_(False)
        # NHWC is the layout that both oneDNN and cuDNN are fastest in.
        self._model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def logits(self, image_BCHW: Tensor) -> Tensor:
        with autocast(self.device, self._dtype):
            logits_BKHW: Tensor = self._model(image_BCHW.contiguous(memory_format=torch.channels_last))
        return logits_BKHW.float()

    def threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1) if self.device.type != "cpu" else _cpu_threads(torch.set_num_threads)


class RuntimeBackend:
    """An exported network in its own runtime, on the CPU."""

    def __init__(self, exported: Exported, config: InferConfig) -> None:
        if config.device not in ("auto", "cpu"):
            raise ConfigError(
                f"device is {config.device!r}, but {exported.source} is a network for the CPU; use --device "
                "cpu, or the checkpoint that it was made from."
            )
        self.device = torch.device("cpu")
        self.stride = exported.stride
        self._exported = exported
        self._runs: dict[int, Run] = {}
        self._lock = threading.Lock()
        self._of_thread = threading.local()

    def logits(self, image_BCHW: Tensor) -> Tensor:
        batch, _, height, width = image_BCHW.shape
        logits_BKHW = self._run()(image_BCHW.permute(0, 2, 3, 1).contiguous().numpy())
        expected = (batch, self._exported.scheme.num_classes, height, width)
        if logits_BKHW.shape != expected:
            raise CheckpointError(
                f"{self._exported.source}: gives {logits_BKHW.shape} where {expected} belongs; it is no "
                "network of roadseg's. Export it again."
            )
        return torch.from_numpy(logits_BKHW)

    def threads(self) -> ThreadPoolExecutor:
        return _cpu_threads(lambda count: setattr(self._of_thread, "count", count))

    def _run(self) -> Run:
        """The network started for as many threads as the calling thread may use."""
        cores = usable_cores()
        count = getattr(self._of_thread, "count", cores)
        with self._lock:
            if count not in self._runs:
                self._runs[count] = self._exported.start(count, cores // count)
            return self._runs[count]


def _cpu_threads(set_count: Callable[[int], None]) -> ThreadPoolExecutor:
    """As many threads as calls are worth it; `set_count`, called in each, says how many its calls may use.

    Each call then computes on its own core: two threads inside one call spend their time waiting for one
    another whenever another stage holds a core.
    """
    cores = usable_cores()
    calls = min(cores, _MOST_CALLS)
    return ThreadPoolExecutor(calls, initializer=set_count, initargs=(cores // calls,))
