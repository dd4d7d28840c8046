"""How good a segmentation is: one integer confusion matrix, and every score computed from it.

Scores are never averaged over batches: batches (shards, epochs, machines) add their *counts*, and the
division comes last. K classes; `label` is the truth, `prediction` what the model said.

Sources
- IoU, its mean, void and absent classes: cityscapesScripts, evaluation/evalPixelLevelSemanticLabeling.py
  (`getIouScoreForLabel`, `getScoreAverage`).
- Pixel accuracy, mean accuracy, frequency-weighted IoU: Long, Shelhamer and Darrell, "Fully convolutional
  networks for semantic segmentation", CVPR 2015, section 5.
- F1, which is also called Dice: Dice, "Measures of the amount of ecologic association between species",
  Ecology 26, 1945.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from roadseg.labels import VOID


class ConfusionMatrix:
    """Counts of pixels by (truth, prediction), exact and add-able.

    `counts` is an int64 tensor [K, K + 1] on `device`: row = truth, column = prediction. The last column is
    "no class": the truth is known, and the prediction is void (255) or no class at all. Such pixels count as
    missed, so that nothing is gained by not answering. Pixels whose truth is void are in no cell.
    """

    def __init__(self, num_classes: int, device: torch.device | str = "cpu") -> None:
        if not 1 <= num_classes <= VOID:
            raise ValueError(f"a confusion matrix has 1 to {VOID} classes, not {num_classes}")
        self.counts = torch.zeros(num_classes, num_classes + 1, dtype=torch.int64, device=device)

    @classmethod
    def from_counts(
        cls, counts: Tensor | Sequence[Sequence[int]], device: torch.device | str = "cpu"
    ) -> ConfusionMatrix:
        """The matrix with these counts: K rows of K + 1 columns, or of K (then no pixel was without a class).

        Raises ValueError for any other shape and for negative counts.
        """
        given = torch.as_tensor(counts, dtype=torch.int64, device=device)
        if given.ndim != 2 or given.shape[1] - given.shape[0] not in (0, 1):
            raise ValueError(f"counts must be K rows of K + 1 (or K) columns, not {list(given.shape)}")
        if bool((given < 0).any()):
            raise ValueError("counts of pixels cannot be negative")
        matrix = cls(given.shape[0], device)
        matrix.counts[:, : given.shape[1]] = given
        return matrix

    @property
    def num_classes(self) -> int:
        return self.counts.shape[0]

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Count the pixels of a picture or a batch.

        prediction, label: integer tensors of one shape, class indices 0..K-1; void truth is 255.
        The totals stay on the matrix's device until they are read.
        Raises ValueError for shapes that differ, and for a truth that is neither a class nor void.
        """
        if prediction.shape != label.shape:
            raise ValueError(
                f"prediction {list(prediction.shape)} and label {list(label.shape)} differ in shape"
            )
        if prediction.is_floating_point() or label.is_floating_point():
            raise ValueError("prediction and label must be class indices (integers), not floats")
        classes = self.num_classes
        unknown = ValueError(f"label has values outside 0..{classes - 1} and {VOID} (void)")
        predicted, truth = (ids.to(self.counts.device).flatten() for ids in (prediction, label))
        if predicted.dtype != torch.uint8:
            predicted = predicted.where(_in_range(predicted, VOID), VOID).to(torch.uint8)
        if truth.dtype != torch.uint8:
            if not bool(_in_range(truth, VOID + 1).all()):
                raise unknown
            truth = truth.to(torch.uint8)
        # All pairs of bytes are counted, and sorted out afterwards: a fifth of the time of looking at pixels.
        pairs = torch.bincount((truth.int() << 8) | predicted, minlength=256 * 256).view(256, 256)
        if bool(pairs[classes:VOID].any()):
            raise unknown
        self.counts[:, :classes] += pairs[:classes, :classes]
        self.counts[:, classes] += pairs[:classes, classes:].sum(1)

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """The counts of both, on this one's device. Raises ValueError when their classes differ in number."""
        if self.num_classes != other.num_classes:
            raise ValueError(f"cannot add matrices of {self.num_classes} and {other.num_classes} classes")
        total = ConfusionMatrix(self.num_classes, self.counts.device)
        total.counts += self.counts
        total.counts += other.counts.to(self.counts.device)
        return total

    def to_list(self) -> list[list[int]]:
        """The counts as plain integers, K rows of K + 1; `from_counts` takes them back."""
        rows: list[list[int]] = self.counts.tolist()
        return rows


@dataclass(frozen=True)
class Scores:
    """The scores of one confusion matrix, in float64; NaN = undefined. A tuple has one entry per class.

    tp, fp, fn: the pixels of a class that are rightly, wrongly and not predicted as it.
    """

    classes: tuple[str, ...]
    iou: tuple[float, ...]  # tp / (tp + fp + fn); NaN for a class in neither truth nor prediction
    precision: tuple[float, ...]  # tp / (tp + fp); NaN for a class never predicted
    recall: tuple[float, ...]  # tp / (tp + fn); NaN for a class not in the truth
    f1: tuple[float, ...]  # Dice: 2 tp / (2 tp + fp + fn); NaN where iou is
    mean_iou: float  # mean of iou, NaN left out
    mean_f1: float  # mean of f1 (mean Dice), NaN left out
    mean_accuracy: float  # mean of recall, NaN left out
    pixel_accuracy: float  # right pixels / pixels of known truth
    frequency_weighted_iou: float  # mean of iou, each weighted by the pixels of its class in the truth
    pixels: int  # pixels of known truth

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON, which has no NaN: an undefined score is None."""
        columns = zip(self.classes, self.iou, self.precision, self.recall, self.f1, strict=True)
        return {
            "mean_iou": none_for_nan(self.mean_iou),
            "mean_f1": none_for_nan(self.mean_f1),
            "mean_accuracy": none_for_nan(self.mean_accuracy),
            "pixel_accuracy": none_for_nan(self.pixel_accuracy),
            "frequency_weighted_iou": none_for_nan(self.frequency_weighted_iou),
            "pixels": self.pixels,
            "per_class": {
                name: dict(zip(("iou", "precision", "recall", "f1"), map(none_for_nan, values), strict=True))
                for name, *values in columns
            },
        }


def scores(matrix: ConfusionMatrix, classes: Sequence[str]) -> Scores:
    """Every score of a matrix. Raises ValueError when there is not one name per class."""
    if len(classes) != matrix.num_classes:
        raise ValueError(f"{len(classes)} class names for a matrix of {matrix.num_classes} classes")
    # Python's integers: exact sums and correctly rounded quotients, whatever the number of pixels.
    counts = matrix.to_list()
    true = [counts[k][k] for k in range(len(classes))]
    truth = [sum(row) for row in counts]
    predicted = [sum(row[k] for row in counts) for k in range(len(classes))]
    iou = [ratio(tp, t + p - tp) for tp, t, p in zip(true, truth, predicted, strict=True)]
    recall = [ratio(tp, t) for tp, t in zip(true, truth, strict=True)]
    f1 = [ratio(2 * tp, t + p) for tp, t, p in zip(true, truth, predicted, strict=True)]
    weighted = math.fsum(t * i for t, i in zip(truth, iou, strict=True) if t)
    return Scores(
        classes=tuple(classes),
        iou=tuple(iou),
        precision=tuple(ratio(tp, p) for tp, p in zip(true, predicted, strict=True)),
        recall=tuple(recall),
        f1=tuple(f1),
        mean_iou=mean_defined(iou),
        mean_f1=mean_defined(f1),
        mean_accuracy=mean_defined(recall),
        pixel_accuracy=ratio(sum(true), sum(truth)),
        frequency_weighted_iou=ratio(weighted, sum(truth)),
        pixels=sum(truth),
    )


@dataclass(frozen=True)
class PerImageScores:
    """Means over pictures, in which every picture weighs the same, however many of its pixels are road."""

    classes: tuple[str, ...]
    iou: tuple[float, ...]  # mean over the pictures with the class in truth or prediction; NaN if none has it
    mean_iou: float  # mean over the pictures of their own mean IoU; a picture of nothing but void is left out
    images: int

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON; an undefined score is None."""
        return {
            "images": self.images,
            "mean_iou": none_for_nan(self.mean_iou),
            "per_class": {
                name: {"iou": none_for_nan(iou)} for name, iou in zip(self.classes, self.iou, strict=True)
            },
        }


def per_image(images: Iterable[Scores], classes: Sequence[str]) -> PerImageScores:
    """Mean per-image IoU, from the `Scores` of each picture; a class is left out where a picture lacks it."""
    each = list(images)
    return PerImageScores(
        classes=tuple(classes),
        iou=tuple(mean_defined(image.iou[k] for image in each) for k in range(len(classes))),
        mean_iou=mean_defined(image.mean_iou for image in each),
        images=len(each),
    )


def mean_defined(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN; NaN when there are none."""
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def none_for_nan(value: float) -> float | None:
    """The value, or None for NaN: JSON and CSV have no NaN."""
    return None if math.isnan(value) else value


def ratio(numerator: float, denominator: float) -> float:
    """The quotient; NaN where there is nothing to divide by."""
    return numerator / denominator if denominator else math.nan


def _in_range(ids: Tensor, classes: int) -> Tensor:
    return (ids >= 0) & (ids < classes)
