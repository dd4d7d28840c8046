"""The course of a training as TensorBoard reads it; needs `roadseg[tensorboard]`."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from roadseg.errors import ConfigError
from roadseg.media.images import read_rgb


def require_tensorboard() -> None:
    """ConfigError when TensorBoard is not there: to be asked before a training begins."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "--tensorboard needs TensorBoard, which is not installed: pip install 'roadseg[tensorboard]'"
        ) from error


class Board:
    """Writes an event file into the folder of a run; a context manager, which closes the file."""

    def __init__(self, folder: Path, epochs_done: int) -> None:
        """What an earlier run logged after `epochs_done` is forgotten."""
        from torch.utils.tensorboard import SummaryWriter  # an extra, and a second to import

        self._writer = SummaryWriter(str(folder), purge_step=epochs_done + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def epoch(self, row: dict[str, Any], sheet: Path) -> None:
        """Log every number of an epoch, and its sheet of sample pictures where there is one."""
        epoch = row["epoch"]
        for name, value in row.items():
            if name != "epoch" and value is not None:
                group = "train" if name in ("lr", "loss", "seconds", "skipped") else "val"
                self._writer.add_scalar(f"{group}/{name}", value, epoch)
        if sheet.is_file():
            self._writer.add_image("samples", read_rgb(sheet), epoch, dataformats="HWC")
        self._writer.flush()
