"""Networks made ready for their device, and for the shapes of batch that they meet there."""

import math
import os
import shlex
import shutil
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import Final

import torch
from torch import Tensor

from roadseg.engine.memory import Network, Note
from roadseg.errors import CheckpointError, ExtraError
from roadseg.model.unet import RoadNet

# Each takes its time and memory, and torch compiles a function for no more than eight (`recompile_limit`).
_MOST_SHAPES: Final = 4
# Runs on a stream of its own before a graph is recorded, in which libraries choose their algorithms.
_WARM_UP: Final = 3


def folded(model: RoadNet, device: torch.device) -> RoadNet:
    """Fold `model` and move it to `device`, in place: in NHWC, which both oneDNN and cuDNN are fastest in."""
    model = model.fold().requires_grad_(False)
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def ready(model: RoadNet, device: torch.device) -> RoadNet:
    """Make `model` ready to be run on `device`, in place, in its fastest form and layout there.

    CheckpointError when it gives NaN or infinite numbers for a picture of noise: fused, it might hide them.
    """
    model = folded(model, device)
    if device.type != "cpu":
        return model
    noise_1CHW = 255 * torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        require_finite(model(noise_1CHW))
    return model.fuse()


def require_finite(logits_BKHW: Tensor) -> None:
    """CheckpointError when they are not all numbers."""
    if not math.isfinite(logits_BKHW.sum()):
        height, width = logits_BKHW.shape[-2:]
        raise CheckpointError(
            f"The network gives NaN or infinite numbers for a picture of {width}x{height}: its "
            "weights are damaged, or went astray in training. Give other --weights."
        )


class Prepared:
    """A network that is made ready for each shape of batch; a smaller batch is filled up to one that is.

    `prepare` makes it ready, given a batch for an example. Batches of further shapes, and those of which
    more than half would be filling, go through the network as it is.
    """

    def __init__(self, network: Network, prepare: Callable[[Tensor], Network], note: Note) -> None:
        self._network, self._prepare, self._note = network, prepare, note
        self._ready: dict[tuple[int, ...], dict[int, Network]] = {}
        self._shapes = 0
        self._lock = threading.Lock()

    def __call__(self, image_BCHW: Tensor) -> Tensor:
        count = len(image_BCHW)
        with self._lock:  # others wait for the first
            size, network = self._find(image_BCHW)
        if size > count:
            filling = image_BCHW[-1:].expand(size - count, -1, -1, -1)
            # in the layout of a full batch, for which the network was made ready
            filled_BCHW = torch.cat([image_BCHW, filling])
            image_BCHW = filled_BCHW.contiguous(memory_format=torch.channels_last)
        return network(image_BCHW)[:count]

    def _find(self, image_BCHW: Tensor) -> tuple[int, Network]:
        """The network to take, and the number of pictures that it wants."""
        count = len(image_BCHW)
        # compiled code is for so many threads, too
        ready = self._ready.setdefault((torch.get_num_threads(), *image_BCHW.shape[1:]), {})
        if count in ready or any(count < size <= 2 * count for size in ready):
            size = min(size for size in ready if size >= count)
            return size, ready[size]
        if self._shapes >= _MOST_SHAPES or any(size > count for size in ready):
            if self._shapes == _MOST_SHAPES and not any(size > count for size in ready):
                self._shapes += 1
                self._note(
                    f"More than {_MOST_SHAPES} shapes of pictures: on the rest the network runs as it is."
                )
            return count, self._network
        ready[count] = self._prepare(image_BCHW)
        self._shapes += 1
        return count, ready[count]


def require_compiler(device: torch.device) -> None:
    """Raise ExtraError where torch.compile has no C++ compiler to work with, or no Triton for CUDA."""
    usual = {"win32": "cl", "darwin": "clang++"}.get(sys.platform, "g++")
    compiler = shlex.split(os.environ.get("CXX") or usual)[0]
    if shutil.which(compiler) is None:
        raise ExtraError(
            f"--compile needs a C++ compiler, and there is no {compiler} here; `apt install g++` (Debian, "
            "Ubuntu) or `xcode-select --install` (macOS) installs one, CXX=NAME names another."
        )
    if device.type == "cuda" and find_spec("triton") is None:
        raise ExtraError("--compile needs Triton for a GPU; `pip install triton` installs it.")


def record(network: Network, example_BCHW: Tensor) -> Network:
    """Record what `network` does with such a batch as a CUDA graph, whose kernels are launched all at once.

    As in torch's "CUDA semantics", "CUDA Graphs": a warm-up on another stream, then the capture; input and
    output keep their place in memory. Raises RuntimeError where something in the network cannot be recorded.
    """
    with torch.cuda.device(example_BCHW.device):
        given_BCHW = example_BCHW.clone()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                network(given_BCHW)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found_BKHW = network(given_BCHW)
    lock = threading.Lock()

    def replay(image_BCHW: Tensor) -> Tensor:
        with lock, torch.cuda.device(image_BCHW.device):
            given_BCHW.copy_(image_BCHW)
            graph.replay()
            return found_BKHW.clone()

    return replay
