"""What a training step must be: finite, and, where it was asked for, the same every time."""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from roadseg.errors import MediaError, RoadsegError, first_line

Batch = TypeVar("Batch")

_WORKER_DIED = "DataLoader worker (pid"  # so begins torch's error, other than what a worker raised itself
_UNABLE = "does not have a deterministic implementation"  # how torch's warning begins to name an operation


class StepGuard:
    """Leaves out the steps of an epoch whose loss or gradient is NaN or infinite, and counts them.

    A forward pass of such numbers has spoilt the running statistics of batch norms, which no optimizer mends:
    they are put back to where they were before it.
    """

    def __init__(self, model: nn.Module, most: int) -> None:
        """most: of them in a row; one more ends the training."""
        self.model, self.most = model, most
        self.skipped = 0
        self._in_a_row = 0
        self._buffers = [buffer.detach().clone() for buffer in model.buffers()]

    def passes(self, loss: Tensor, norm: Tensor) -> bool:
        """Whether the step may be taken. loss and norm (the L2 norm of the whole gradient): scalars.

        Ask after each backward pass. Raises RoadsegError when there were too many in a row.
        """
        if bool(loss.isfinite() & norm.isfinite()):  # one wait for the device, not two
            self._in_a_row = 0
            for kept, live in zip(self._buffers, self.model.buffers(), strict=True):
                kept.copy_(live)
            return True
        self.skipped += 1
        self._in_a_row += 1
        if self._in_a_row > self.most:
            raise diverged(f"in {self._in_a_row} steps in a row, loss or gradient was NaN or infinite")
        for kept, live in zip(self._buffers, self.model.buffers(), strict=True):
            live.copy_(kept)
        return False

    def end(self, steps: int) -> str | None:
        """After the epoch: what to say of the steps left out. RoadsegError when nothing good came of it."""
        if self.skipped == steps:
            raise diverged("in every step of the epoch, loss or gradient was NaN or infinite")
        if not all(bool(weight.isfinite().all()) for weight in self.model.parameters()):
            raise diverged("the epoch left weights that are NaN or infinite")
        if not self.skipped:
            return None
        return f"{self.skipped} of {steps} steps were left out: their loss or gradient was NaN or infinite."


def diverged(what: str) -> RoadsegError:
    """The error of a training that goes nowhere."""
    return RoadsegError(
        f"Training has diverged: {what}. The last checkpoint is kept. Start again with a lower --lr, a "
        "longer --warmup-epochs, a --clip-grad, or --no-amp, and from other --weights if they were given."
    )


def batches(loader: Iterable[Batch]) -> Iterator[Batch]:
    """The batches of a DataLoader, whose processes wrap an error of ours into the text of a traceback.

    Raises MediaError when one of them dies.
    """
    try:
        yield from loader
    except RoadsegError as error:
        kind = type(error)
        *_, said = str(error).rpartition(f"{kind.__name__}: ")
        raise kind(said.strip()) from error
    except RuntimeError as error:
        if _WORKER_DIED not in str(error) or _is_told_to_stop(error):
            raise
        raise MediaError(
            f"A process that reads pictures has died ({first_line(error)}). Where it dies again, "
            "`roadseg download-check --deep` names the file that kills it; else give fewer --workers."
        ) from error


@contextmanager
def stopping_in_order() -> Iterator[None]:
    """A SIGTERM to a whole job ends the processes that read pictures, too; torch makes an error of that."""
    try:
        yield
    except RuntimeError as error:
        if _is_told_to_stop(error):
            raise KeyboardInterrupt from error
        raise


def _is_told_to_stop(error: RuntimeError) -> bool:
    return _WORKER_DIED in str(error) and "Terminated" in str(error)


@contextmanager
def deterministic(wanted: bool, device: torch.device, tell: Callable[[str], None]) -> Iterator[None]:
    """Compute with torch's deterministic algorithms where there are any, and tell where there are none."""
    if not wanted:
        yield
        return
    strict = torch.are_deterministic_algorithms_enabled()
    lenient, tuned = torch.is_deterministic_algorithms_warn_only_enabled(), torch.backends.cudnn.benchmark
    # cuBLAS reads it when it is first used: https://docs.nvidia.com/cuda/cublas/#results-reproducibility
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    tell(_promise(device))
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    try:
        with warnings.catch_warnings():
            show, told = warnings.showwarning, set[str]()

            def listen(message: Warning | str, *rest: Any, **more: Any) -> None:
                name, found, _ = str(message).partition(_UNABLE)
                if not found:
                    show(message, *rest, **more)
                elif name not in told:
                    told.add(name)
                    tell(f"Not deterministic here: {name.strip()}; bits may differ from run to run.")

            warnings.filterwarnings("always", f".*{_UNABLE}")
            warnings.showwarning = listen
            yield
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=lenient)
        torch.backends.cudnn.benchmark = tuned


def _promise(device: torch.device) -> str:
    same = "the same versions, the same number of threads and the same kind of processor"
    if device.type == "cpu":
        return f"Deterministic: the same bits again with {same}."
    return (
        f"Deterministic as far as torch is on {device.type}, with {same}; an operation that has no such "
        "algorithm there (bilinear resizing, backwards; NLL loss) is named when it comes."
    )
