"""Batches that fit in memory: a larger one is halved instead of ending the run."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import cv2
import torch
from torch import Tensor

from roadseg.engine.device import wait
from roadseg.errors import MemoryLimitError

Network = Callable[[Tensor], Tensor]
"""image_BCHW uint8 -> logits_BKHW."""
Note = Callable[[str], None]
"""Takes a line for people."""


def silent(text: str) -> None:
    """A note to nobody."""


_LARGEST_TRIED: Final = 32
# A batch of twice the size must be so many times as fast a picture, or it is not worth its memory.
_WORTH_IT: Final = 1.05
_TURNS: Final = 3

# What the libraries say where they have no class of their own for it: torch on the CPU ("you tried to
# allocate N bytes"), torch on Apple's GPU, ONNX Runtime and OpenVINO.
_PHRASES: Final = (
    "tried to allocate",
    "can't allocate memory",
    "out of memory",
    "failed to allocate memory",
    "bad_alloc",
    "bad allocation",
)
_ONEDNN: Final = "could not create a primitive"  # and no more: "... primitive descriptor" is something else


def out_of_memory(error: BaseException) -> bool:
    """Whether `error`, or what it was raised from, says that memory ran out."""
    if isinstance(error, MemoryLimitError | MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem:
        return True
    text = str(error).lower()
    if isinstance(error, RuntimeError) and (text == _ONEDNN or any(phrase in text for phrase in _PHRASES)):
        return True
    return error.__cause__ is not None and out_of_memory(error.__cause__)


def too_large(size: Sequence[int], error: Exception) -> MemoryLimitError:
    """Return the error of a picture of `size` (height, width) that ran out of memory by itself.

    One that says so already is kept.
    """
    if isinstance(error, MemoryLimitError):
        return error
    height, width = size
    return MemoryLimitError(
        f"out of memory with a single picture of {width}x{height}; give a smaller --imgsz, or --tile"
    )


class Fitting:
    """A network whose batches are halved until they fit, and are never larger again."""

    def __init__(self, network: Network, note: Note) -> None:
        self._network, self._note = network, note
        self._lock = threading.Lock()
        self._told: int | None = None
        self.most: int | None = None
        """Pictures at once that memory has room for; None: it never ran out."""

    def __call__(self, image_BCHW: Tensor) -> Tensor:
        """Map a batch to its logits. Raises MemoryLimitError where a single picture does not fit."""
        while True:
            count = min(len(image_BCHW), self.most or len(image_BCHW))
            try:
                parts = [self._network(part) for part in torch.split(image_BCHW, count)]
            except Exception as error:
                if not out_of_memory(error):
                    raise
                if count == 1:
                    raise too_large(image_BCHW.shape[-2:], error) from error
            else:
                self._tell()
                return parts[0] if len(parts) == 1 else torch.cat(parts)
            # outside of `except`: until its end the error holds what was computed
            if image_BCHW.is_cuda:
                torch.cuda.empty_cache()
            with self._lock:
                self.most = min(count // 2, self.most or count)

    def _tell(self) -> None:
        """Say once that batches are smaller now, when one of that size has been done."""
        with self._lock:
            if self.most == self._told:
                return
            self._told = self.most
        self._note(f"Out of memory: from here on the network sees {self.most} at once.")


def find_batch_size(network: Network, picture_1CHW: Tensor) -> int:
    """Return how many such pictures at once the device is fastest with, by trying: 1, 2, 4, ... 32.

    Ends where a larger batch is no faster, runs out of memory, or takes half of what a GPU has left.
    """
    best, pace = 1, float("inf")
    size = 1
    while size <= _LARGEST_TRIED:
        try:
            seconds = _seconds(network, picture_1CHW.expand(size, -1, -1, -1)) / size
        except Exception as error:
            if not out_of_memory(error):
                raise
            break
        if seconds * _WORTH_IT > pace or (size > 1 and _crowded(picture_1CHW.device)):
            break
        best, pace, size = size, seconds, 2 * size
    if picture_1CHW.is_cuda:
        torch.cuda.empty_cache()
    return best


def _seconds(network: Network, image_BCHW: Tensor) -> float:
    """The fastest of a few turns, after a first one that the device makes itself ready in."""
    network(image_BCHW)
    times = []
    for _ in range(_TURNS):
        wait(image_BCHW.device)
        start = time.perf_counter()
        network(image_BCHW)
        wait(image_BCHW.device)
        times.append(time.perf_counter() - start)
    return min(times)


def _crowded(device: torch.device) -> bool:
    """Whether more than half of the GPU is in use: the next batch would take it all, and others need some."""
    if device.type != "cuda":
        return False
    free, total = torch.cuda.mem_get_info(device)
    return free < total / 2
