"""How `roadseg train` looks: a bar for the epoch, a line for each epoch that is done."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import fmean
from types import TracebackType
from typing import Any, Self

from roadseg.cli import render
from roadseg.cli.group import raise_if_signalled
from roadseg.engine.listener import TrainListener, TrainResult
from roadseg.engine.pages import PAGE, write_stopped_page
from roadseg.errors import RoadsegError


class TrainDisplay(TrainListener):
    """Shows a training on stderr; a context manager, so that its bars are taken down on any exit."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self._stack = ExitStack()
        self._phase = ""
        self._epochs = 0
        self._seconds: list[float] = []
        self._update: render.Update = lambda done, total: None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _show(self, title: str, unit: str, done: int, total: int) -> None:
        raise_if_signalled()
        if title != self._phase:
            self._stack.close()
            self._update = self._stack.enter_context(render.progress(title, unit, self.quiet))
            self._phase = title
        self._update(done, total)

    def message(self, text: str) -> None:
        render.note(text)

    def starting(self, epochs: int) -> None:
        self._epochs = epochs

    def checking(self, done: int, total: int) -> None:
        self._show("Checking pictures and labels", "pairs", done, total)

    def caching(self, done: int, total: int) -> None:
        self._show("Reading the pictures", "pictures", done, total)

    def ranking(self, done: int, total: int, rounds: int) -> None:
        self._show(f"Ranking the channels, up to {rounds} times", "batches", done, total)

    def calibrating(self, done: int, total: int) -> None:
        self._show("Calibrating", "pictures", done, total)

    def step(self, epoch: int, step: int, steps: int, loss: float, lr: float) -> None:
        self._show(f"Epoch {epoch}/{self._epochs}", "batches", step, steps)

    def validating(self, done: int, total: int) -> None:
        self._show("Validating", "pictures", done, total)

    def measuring(self, done: int, total: int) -> None:
        self._show("Measuring the best", "pictures", done, total)

    def epoch(self, row: dict[str, Any], best: bool) -> None:
        self._stack.close()
        self._phase = ""
        if self.quiet:
            return
        self._seconds.append(row["seconds"])
        scores = [f"{k.replace('_', ' ')} {v:.4f}" for k, v in row.items() if k.endswith(("_iou", "_miou"))]
        parts = [f"epoch {row['epoch']:3d}/{self._epochs}", f"loss {row['loss']:.4f}", *scores]
        if best:
            parts.append("best")
        if left := self._epochs - row["epoch"]:
            parts.append(f"{render.duration(left * fmean(self._seconds[-5:]))} left")
        render.note("  ".join(parts))

    def finished(self, result: TrainResult, html: bool) -> None:
        """Say how it ended, on stdout; html: there is a page, too."""
        how = "stopped early" if result.stopped_early else "done"
        render.out.print(
            f"Training {how} after {render.count(result.epochs, 'epoch')}; the best is epoch "
            f"{result.best_epoch} with {result.best_score:.4f}.",
            markup=False,
        )
        ends = {"_road_iou": "road IoU %", "_miou": "mean IoU %", "_pixel_accuracy": "pixel accuracy %"}
        heads = {end: head for end, head in ends.items() if any(key.endswith(end) for key in result.best)}
        names = [
            key.removesuffix("_pixel_accuracy") for key in result.best if key.endswith("_pixel_accuracy")
        ]
        rows = [[name, *(render.percent(result.best[name + end]) for end in heads)] for name in names]
        render.table("Validation, best epoch", ["data", *heads.values()], rows)
        if (result.folder / "best.pt").exists():
            render.out.print(f"Weights: {result.folder / 'best.pt'}", markup=False)
        if html:
            render.out.print(f"Report: {result.folder / PAGE}", markup=False)


@contextmanager
def page_if_stopped(folder: Path, html: bool) -> Iterator[None]:
    """Where Ctrl-C ends a training, let a page tell of the epochs that are done."""
    try:
        yield
    except KeyboardInterrupt:
        if html:
            with suppress(RoadsegError):  # the interrupt is what there is to tell
                write_stopped_page(folder, render.command_line())
        raise
