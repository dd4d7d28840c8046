"""How sure a score is: 95 % intervals, by a bootstrap over the pictures.

Source: Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7, 1979 (percentiles).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

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


def intervals(tallies: Sequence[Tally], classes: Sequence[str]) -> dict[str, Any]:
    """Draw the pictures with replacement, `RESAMPLES` times, and score the sums of their counts.

    Plain types: [low, high] of each score, 0..1; None where it is undefined in every draw, or where there are
    fewer than two pictures.
    """
    number = len(tallies)
    draws: dict[str, Floats] = {}
    if number > 1:
        draws = _draw(np.array([[t.tp, t.fp, t.fn] for t in tallies], np.float64))
    of_class = ("iou", "precision", "recall", "f1")
    overall = ("mean_iou", "mean_accuracy", "pixel_accuracy")
    return {
        **{name: _ends(draws[name]) if draws else None for name in overall},
        "per_class": {
            title: {name: _ends(draws[name][:, k]) if draws else None for name in of_class}
            for k, title in enumerate(classes)
        },
    }


def _draw(parts_N3K: Floats) -> dict[str, Floats]:
    """The scores of every draw: of classes [R, K], and overall [R]."""
    number = len(parts_N3K)
    rng = np.random.default_rng(SEED)
    sums = []
    for _ in range(RESAMPLES):
        times_N = np.bincount(rng.integers(number, size=number), minlength=number)
        sums.append(np.tensordot(times_N, parts_N3K, 1))
    tp_RK, fp_RK, fn_RK = np.stack(sums, 1)
    with np.errstate(invalid="ignore"):
        iou_RK, recall_RK = tp_RK / (tp_RK + fp_RK + fn_RK), tp_RK / (tp_RK + fn_RK)
        return {
            "iou": iou_RK,
            "precision": tp_RK / (tp_RK + fp_RK),
            "recall": recall_RK,
            "f1": 2 * tp_RK / (2 * tp_RK + fp_RK + fn_RK),
            "mean_iou": _mean_defined(iou_RK),
            "mean_accuracy": _mean_defined(recall_RK),
            "pixel_accuracy": tp_RK.sum(1) / (tp_RK + fn_RK).sum(1),
        }


def _mean_defined(values_RK: Floats) -> Floats:
    defined_RK = ~np.isnan(values_RK)
    with np.errstate(invalid="ignore"):
        means_R: Floats = np.where(defined_RK, values_RK, 0).sum(1) / defined_RK.sum(1)
    return means_R


def _ends(values_R: Floats) -> list[float] | None:
    given = values_R[~np.isnan(values_R)]
    return [float(end) for end in np.percentile(given, [2.5, 97.5])] if len(given) else None


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan
