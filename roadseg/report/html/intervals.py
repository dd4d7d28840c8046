"""How sure a score is: 95 % intervals, by a bootstrap over the pictures.

Source: Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7, 1979 (percentiles).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

RESAMPLES: Final = 1000
SEED: Final = 0
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tally:
    """Pixels of one picture by class: rightly predicted, wrongly predicted, and missed."""

    key: str
    tp: tuple[int, ...]
    fp: tuple[int, ...]
    fn: tuple[int, ...]

    @classmethod
    def from_counts(cls, key: str, counts: Sequence[Sequence[int]]) -> "Tally":
        """From a confusion matrix: rows truth, columns prediction."""
        classes = range(len(counts))
        tp = tuple(counts[k][k] for k in classes)
        fp = tuple(sum(row[k] for row in counts) - tp[k] for k in classes)
        return cls(key, tp, fp, tuple(sum(counts[k]) - tp[k] for k in classes))

    def iou(self, k: int) -> float:
        """IoU of a class; NaN where it is in neither truth nor prediction."""
        return _ratio(self.tp[k], self.tp[k] + self.fp[k] + self.fn[k])

    def precision(self, k: int) -> float:
        """NaN where the class is never predicted."""
        return _ratio(self.tp[k], self.tp[k] + self.fp[k])

    def recall(self, k: int) -> float:
        """NaN where the class is not in the truth."""
        return _ratio(self.tp[k], self.tp[k] + self.fn[k])

    def mean_iou(self) -> float:
        """Mean over the classes that are there; NaN where none is."""
        each = [iou for iou in map(self.iou, range(len(self.tp))) if not math.isnan(iou)]
        return math.fsum(each) / len(each) if each else math.nan

    def pixel_accuracy(self) -> float:
        """Share of the judged pixels that is right; NaN where none is judged."""
        return _ratio(sum(self.tp), sum(self.tp) + sum(self.fn))


@dataclass(frozen=True, slots=True)
class Intervals:
    """Ends (low, high) of 95 % intervals, 0..1; NaN where a score is undefined in every resample."""

    per_class: dict[str, list[tuple[float, float]]]
    mean_iou: tuple[float, float]
    mean_accuracy: tuple[float, float]
    pixel_accuracy: tuple[float, float]

    def of(self, score: str, k: int) -> tuple[float, float] | None:
        """Of a class's iou, precision, recall or f1; None where it is undefined."""
        low, high = self.per_class[score][k]
        return None if math.isnan(low) else (low, high)


def intervals(tallies: Sequence[Tally]) -> Intervals | None:
    """Draw the pictures with replacement, `RESAMPLES` times; None for fewer than two of them."""
    number = len(tallies)
    if number < 2:
        return None
    parts_NC = np.array([[*t.tp, *t.fp, *t.fn] for t in tallies], np.float64)
    rng = np.random.default_rng(SEED)
    at_once = max(1, min(RESAMPLES, 4_000_000 // number))
    sums = []
    for first in range(0, RESAMPLES, at_once):
        times_RN = rng.multinomial(number, [1 / number] * number, size=min(at_once, RESAMPLES - first))
        sums.append(times_RN @ parts_NC)
    tp_RK, fp_RK, fn_RK = np.split(np.concatenate(sums), 3, axis=1)
    with np.errstate(invalid="ignore"):
        scores = {
            "iou": tp_RK / (tp_RK + fp_RK + fn_RK),
            "precision": tp_RK / (tp_RK + fp_RK),
            "recall": tp_RK / (tp_RK + fn_RK),
            "f1": 2 * tp_RK / (2 * tp_RK + fp_RK + fn_RK),
        }
        accuracy_R = tp_RK.sum(1) / (tp_RK + fn_RK).sum(1)
    return Intervals(
        {
            name: [_ends(values_RK[:, k]) for k in range(values_RK.shape[1])]
            for name, values_RK in scores.items()
        },
        _ends(_mean_defined(scores["iou"])),
        _ends(_mean_defined(scores["recall"])),
        _ends(accuracy_R),
    )


def _mean_defined(values_RK: Floats) -> Floats:
    defined_RK = ~np.isnan(values_RK)
    with np.errstate(invalid="ignore"):
        means_R: Floats = np.where(defined_RK, values_RK, 0).sum(1) / defined_RK.sum(1)
    return means_R


def _ends(values_R: Floats) -> tuple[float, float]:
    given = values_R[~np.isnan(values_R)]
    if not len(given):
        return math.nan, math.nan
    low, high = np.percentile(given, [2.5, 97.5])
    return float(low), float(high)


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan
