"""What a network costs: parameters, multiplications, and milliseconds, measured."""

import copy
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from roadseg.engine.backend import CPU_BATCH
from roadseg.engine.device import wait
from roadseg.engine.prepared import ready
from roadseg.model.fused import ACTIVATIONS
from roadseg.model.unet import RoadNet

# Least squares over the layers of `road-small` and `road-base`, fused, on a core with AVX-512: 0.12 ms for a
# million numbers, 0.008 for as many MACs.
_MACS_A_NUMBER = 15
# Turns of each network after the warm-up; the median of them counts.
ROUNDS = 31


@dataclass(frozen=True)
class Cost:
    """Of one picture; `speed` is how many times as fast as the first network of the same measurement."""

    parameters: int
    zeros: int
    """Parameters that are 0: they take the time of any other number."""
    macs: int
    """Multiplications with addition, of all convolutions."""
    ms: float
    speed: float


def costs(models: Sequence[RoadNet], size: tuple[int, int], device: torch.device) -> list[Cost]:
    """Measure networks side by side on pictures of `size` (height, width), as `segment` and `video` run them.

    On a CPU that is two pictures a call, which computes on one core.
    """
    seconds = _seconds(models, size, device)
    return [
        Cost(
            parameters=sum(p.numel() for p in model.parameters()),
            zeros=sum(int((p == 0).sum()) for p in model.parameters() if p.ndim > 1),
            macs=macs(model, size),
            ms=1000 * statistics.median(own),
            speed=_ratio(seconds[0], own),
        )
        for model, own in zip(models, seconds, strict=True)
    ]


def speed(model: RoadNet, other: RoadNet, size: tuple[int, int], device: torch.device) -> float:
    """Return how many times as fast as `model` the `other` is."""
    return _ratio(*_seconds([model, other], size, device))


def macs(model: RoadNet, size: tuple[int, int]) -> int:
    """Return the multiplications of the convolutions for one picture; torch counts two operations each."""
    picture = torch.zeros(1, 3, *size, device=next(model.parameters()).device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(picture)
    return int(counter.get_total_flops()) // 2


def work(model: RoadNet, size: tuple[int, int]) -> int:
    """Return what its time for one picture follows more closely than `macs`: those, and the numbers moved.

    Each number that a layer reads or writes takes the time of `_MACS_A_NUMBER` multiplications; activations
    are computed on the way.
    """
    folded = copy.deepcopy(model).fold()
    numbers = 0

    def count(module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        nonlocal numbers
        numbers += sum(tensor.numel() for tensor in given) + result.numel()

    for module in folded.modules():
        if type(module) not in ACTIVATIONS and not list(module.children()):
            module.register_forward_hook(count)
    multiplications = macs(folded, size)
    return multiplications + _MACS_A_NUMBER * numbers


def _ratio(first: Sequence[float], other: Sequence[float]) -> float:
    """The median over the rounds, for what slows the machine down slows neighbours down alike."""
    return statistics.median(a / b for a, b in zip(first, other, strict=True))


@torch.inference_mode()
def _seconds(models: Sequence[RoadNet], size: tuple[int, int], device: torch.device) -> list[list[float]]:
    """Seconds that each network takes for a picture in each round; the networks take turns."""
    batch = CPU_BATCH if device.type == "cpu" else 1
    pictures = torch.zeros(batch, 3, *size, device=device).contiguous(memory_format=torch.channels_last)
    running = [ready(copy.deepcopy(model), device) for model in models]
    seconds: list[list[float]] = [[] for _ in running]
    with _one_thread() if device.type == "cpu" else nullcontext():
        for turn in range(ROUNDS + 1):
            for model, own in zip(running, seconds, strict=True):
                wait(device)
                start = time.perf_counter()
                model(pictures)
                wait(device)
                if turn:
                    own.append((time.perf_counter() - start) / batch)
    return seconds


@contextmanager
def _one_thread() -> Iterator[None]:
    """A call of the network has a core for itself in `segment` and `video`: others run beside it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
