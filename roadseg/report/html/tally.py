"""The pixels of one picture, right and wrong by class, and the scores of it alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from roadseg.metrics.confusion import ratio


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
        return ratio(self.tp[k], self.tp[k] + self.fp[k] + self.fn[k])

    def precision(self, k: int) -> float:
        """NaN where the class is never predicted."""
        return ratio(self.tp[k], self.tp[k] + self.fp[k])

    def recall(self, k: int) -> float:
        """NaN where the class is not in the truth."""
        return ratio(self.tp[k], self.tp[k] + self.fn[k])

    def mean_iou(self) -> float:
        """Mean over the classes that are there; NaN where none is."""
        each = [iou for iou in map(self.iou, range(len(self.tp))) if not math.isnan(iou)]
        return math.fsum(each) / len(each) if each else math.nan

    def pixel_accuracy(self) -> float:
        """Share of the judged pixels that is right; NaN where none is judged."""
        return ratio(sum(self.tp), sum(self.tp) + sum(self.fn))
