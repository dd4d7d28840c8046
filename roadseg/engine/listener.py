"""What a training tells while it goes, and at its end."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadseg.engine.sources import Source


class TrainListener:
    """Hears how a training goes; every method may be overridden, and does nothing here."""

    def message(self, text: str) -> None:
        """Something worth a line."""

    def starting(self, epochs: int) -> None:
        """The training is about to begin, or to go on; so many epochs in all."""

    def checking(self, done: int, total: int) -> None:
        """Pictures and labels looked at before the start."""

    def caching(self, done: int, total: int) -> None:
        """Pictures decoded into the cache."""

    def ranking(self, done: int, total: int, rounds: int) -> None:
        """Batches that channels are judged by before some are pruned, in so many rounds at most."""

    def calibrating(self, done: int, total: int) -> None:
        """Pictures that a pruned network is calibrated on, after its finetuning."""

    def step(self, epoch: int, step: int, steps: int, loss: float, lr: float) -> None:
        """A batch is done (counts from 1)."""

    def validating(self, done: int, total: int) -> None:
        """Pictures scored."""

    def measuring(self, done: int, total: int) -> None:
        """Pictures that the best checkpoint was measured on, after the training."""

    def epoch(self, row: dict[str, Any], best: bool) -> None:
        """An epoch is done; `row` is its line of results.csv."""


@dataclass(frozen=True)
class TrainResult:
    """How a training ended."""

    folder: Path
    epochs: int
    best_epoch: int
    best_score: float
    stopped_early: bool
    best: dict[str, Any]
    """The line of results.csv of the best epoch; empty if there is none."""
    device: str
    pictures: int
    """In an epoch."""
    sources: Sequence[Source]
    report: dict[str, Any]
    """What report.json holds, in plain types."""
