"""What runs a network for a `Predictor`: torch, or the runtime that an exported file is for."""

import copy
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from roadseg.config import InferConfig
from roadseg.engine.device import autocast, half_precision, resolve_device, usable_cores, wait
from roadseg.engine.memory import Network, Note, find_batch_size, out_of_memory, silent
from roadseg.engine.prepared import Prepared, folded, ready, record, require_compiler
from roadseg.errors import CheckpointError, ConfigError, ExtraError, first_line
from roadseg.model.checkpoint import Checkpoint
from roadseg.model.exported import Exported, Run
from roadseg.model.fused import FusedConv

# Calls of the network at a time on the CPU: more of them hold more memory, and share its bandwidth.
_MOST_CALLS = 8
# Pictures to a call on the CPU, where several calls are in work at once: more make no picture faster.
CPU_BATCH: Final = 2
# And on Apple's GPU, which nobody has measured for us.
_MPS_BATCH: Final = 8
# How torch.compile goes about it on the CPU: the weights become constants, laid out for their kernels, and
# kernels are called from C++. Calls side by side took 5.0 ms a picture so, where they took 5.4 without.
_CPU_COMPILED: Final[dict[str, Any]] = {"freezing": True, "cpp_wrapper": True}


class Backend(Protocol):
    """A network ready to run."""

    device: torch.device
    """Where pictures are to come and logits are."""
    stride: int
    """It sees pictures best whose sides are multiples of this."""
    calls: int
    """How many calls of `logits` side by side it is fastest with."""

    def logits(self, image_BCHW: Tensor) -> Tensor:
        """Map uint8 RGB to logits_BKHW, float32, of the same size."""
        ...

    def threads(self) -> ThreadPoolExecutor:
        """Return `calls` threads, for a pipeline whose other stages want the same cores."""
        ...

    def batch_size(self, imgsz: int) -> int:
        """Return how many pictures of that longer side to give it at once."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return how it runs, in plain types, for the report."""
        ...


def make_backend(weights: Checkpoint | Exported, config: InferConfig, note: Note = silent) -> Backend:
    """Raises ConfigError where the device of `config` is not there, or cannot run such a network.

    Raises ExtraError where it is to be compiled, and nothing can.
    """
    if isinstance(weights, Checkpoint):
        return TorchBackend(weights, config, note)
    return RuntimeBackend(weights, config)


class TorchBackend:
    """A checkpoint's network in the form, layout and precision that the device is fastest in.

    On CUDA each shape of batch is recorded as a graph; where it is asked for, the network is compiled.
    """

    def __init__(self, checkpoint: Checkpoint, config: InferConfig, note: Note = silent) -> None:
        self.device = resolve_device(config.device)
        self.stride = checkpoint.model.config.stride
        self.calls = _cpu_calls() if self.device.type == "cpu" else 1
        self._note = note
        self._dtype = half_precision(self.device, config.amp)
        self._model = ready(copy.deepcopy(checkpoint.model), self.device)
        if config.compile:
            require_compiler(self.device)
        # each shape by itself: code for sizes that are not known yet is slower
        options = _CPU_COMPILED if self.device.type == "cpu" else None
        self._compiled = None
        if config.compile:  # it fuses kernels itself
            model = folded(copy.deepcopy(checkpoint.model), self.device)
            self._compiled = torch.compile(model, dynamic=False, options=options)
        self._compile_seconds = 0.0
        self._graph = self.device.type == "cuda"
        prepared = self._compiled is not None or self._graph
        self._network: Network = Prepared(self._plain, self._prepare, note) if prepared else self._plain
        if self.device.type == "cpu":  # torch counts the machine's cores, not those that a container may use
            torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))

    @torch.inference_mode()
    def logits(self, image_BCHW: Tensor) -> Tensor:
        return self._network(_channels_last(image_BCHW))

    def batch_size(self, imgsz: int) -> int:
        if self.device.type != "cuda":
            return CPU_BATCH if self.device.type == "cpu" else _MPS_BATCH
        picture_1CHW = torch.zeros(1, 3, imgsz, imgsz, dtype=torch.uint8, device=self.device)
        with torch.inference_mode():
            return find_batch_size(lambda image_BCHW: self._plain(_channels_last(image_BCHW)), picture_1CHW)

    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "runtime": "torch",
            "precision": str(self._dtype or torch.float32).removeprefix("torch."),
            "fused": self._compiled is None
            and any(isinstance(layer, FusedConv) for layer in self._model.modules()),
            "compiled": self._compiled is not None,
            "cuda_graph": self._graph,
        }
        if self._compiled is not None:
            facts["compile_seconds"] = round(self._compile_seconds, 3)
        return facts

    def _plain(self, image_BCHW: Tensor) -> Tensor:
        return self._run(self._model, image_BCHW)

    def _run(self, model: Network, image_BCHW: Tensor) -> Tensor:
        with autocast(self.device, self._dtype, cached=False):
            return model(image_BCHW).float()

    def _prepare(self, example_BCHW: Tensor) -> Network:
        """The fastest way of running the network on such batches."""
        network: Network = self._plain
        if self._compiled is not None:
            network = self._compile(self._compiled, example_BCHW)
        if self._graph:
            try:
                return record(network, example_BCHW)
            except RuntimeError as error:
                if out_of_memory(error):
                    raise
                self._graph = False
                self._note(f"No CUDA graph could be recorded ({first_line(error)}): this run is slower.")
        return network

    def _compile(self, compiled: Network, example_BCHW: Tensor) -> Network:
        batch, _, height, width = example_BCHW.shape
        shape = f"{batch} of {width}x{height}"
        self._note(f"Compiling the network for {shape}; this takes a minute or so.")
        start = time.perf_counter()
        try:
            self._run(compiled, example_BCHW)
            wait(self.device)
        except Exception as error:  # each part of the compiler raises errors of its own
            if out_of_memory(error):
                raise
            raise ExtraError(
                f"torch.compile fails on the network ({first_line(error)}); leave out --compile."
            ) from error
        seconds = time.perf_counter() - start
        self._compile_seconds += seconds
        self._note(f"Compiled for {shape} in {seconds:.0f} s.")
        return lambda image_BCHW: self._run(compiled, image_BCHW)

    def threads(self) -> ThreadPoolExecutor:
        if self.device.type != "cpu":
            return ThreadPoolExecutor(self.calls)
        return _cpu_threads(self.calls, torch.set_num_threads)


class RuntimeBackend:
    """An exported network in its own runtime, on the CPU."""

    def __init__(self, exported: Exported, config: InferConfig) -> None:
        if config.device not in ("auto", "cpu"):
            raise ConfigError(
                f"device is {config.device!r}, but {exported.source} is a network for the CPU; use --device "
                "cpu, or the checkpoint that it was made from."
            )
        if config.compile:
            raise ConfigError(f"{exported.source} is compiled by its own runtime; leave out --compile.")
        self.device = torch.device("cpu")
        self.stride = exported.stride
        self.calls = _cpu_calls()
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
        return _cpu_threads(self.calls, lambda count: setattr(self._of_thread, "count", count))

    def batch_size(self, imgsz: int) -> int:
        return CPU_BATCH

    def facts(self) -> dict[str, Any]:
        return {"runtime": self._exported.kind, "precision": self._exported.export["precision"]}

    def _run(self) -> Run:
        """The network started for as many threads as the calling thread may use."""
        cores = usable_cores()
        count = getattr(self._of_thread, "count", cores)
        with self._lock:
            if count not in self._runs:
                self._runs[count] = self._exported.start(count, cores // count)
            return self._runs[count]


def _channels_last(image_BCHW: Tensor) -> Tensor:
    return image_BCHW.contiguous(memory_format=torch.channels_last)


def _cpu_calls() -> int:
    return min(usable_cores(), _MOST_CALLS)


def _cpu_threads(calls: int, set_count: Callable[[int], None]) -> ThreadPoolExecutor:
    """A thread for each call; `set_count`, called in each, says how many threads its calls may use.

    Each call then computes on its own core: two threads inside one call spend their time waiting for one
    another whenever another stage holds a core.
    """
    return ThreadPoolExecutor(calls, initializer=set_count, initargs=(usable_cores() // calls,))
