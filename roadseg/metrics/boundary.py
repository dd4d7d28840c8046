"""How well outlines fit: boundary IoU and boundary F.

IoU hardly sees the outline of something as large as a road. Boundary IoU is the IoU of bands along the inner
side of the outlines; boundary F tells how much of each outline lies near the other one. Both are of one class
against the rest, at the size of the label, and keep counts that add up over pictures.

Sources
- Boundary IoU, a band of 2 % of the picture's diagonal, the picture's border being an outline, too: Cheng,
  Girshick, Dollár, Berg and Kirillov, "Boundary IoU", CVPR 2021; its code, utils/boundary_utils.py.
- Boundary F: Csurka, Larlus and Perronnin, "What is a good evaluation measure for semantic segmentation?",
  BMVC 2013; a tolerance of 0.8 % of the diagonal, and the outline's pixels: Perazzi et al., "A benchmark
  dataset and evaluation methodology for video object segmentation", CVPR 2016; its code, f_boundary.py.

Void pixels count nowhere, and what is known next to them has no outline there: nobody knows what they hold.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from roadseg.labels import VOID, UInt8Array
from roadseg.metrics.confusion import mean_defined, none_for_nan, ratio

BAND: Final = 0.02  # share of the diagonal
TOLERANCE: Final = 0.008  # share of the diagonal

Bool = NDArray[np.bool_]


class BoundaryCounts(NamedTuple):
    """Pixels of the bands of one class (in both, in either) and of its outlines (all, and near the other)."""

    intersection: int = 0
    union: int = 0
    predicted: int = 0
    predicted_near: int = 0
    truth: int = 0
    truth_near: int = 0

    def plus(self, other: "BoundaryCounts") -> "BoundaryCounts":
        """The counts of both."""
        return BoundaryCounts(*(a + b for a, b in zip(self, other, strict=True)))


@dataclass(frozen=True)
class BoundaryScores:
    """The scores of one class; NaN where it has no outline in truth and prediction (of known pixels)."""

    iou: float  # intersection / union of the bands
    precision: float  # share of the predicted outline near the true one; NaN without a predicted outline
    recall: float  # share of the true outline near the predicted one; NaN without a true outline
    f: float  # harmonic mean of both; 0 where only one of the outlines is there

    def to_dict(self) -> dict[str, float | None]:
        """Plain types for JSON; an undefined score is None."""
        return {
            "iou": none_for_nan(self.iou),
            "precision": none_for_nan(self.precision),
            "recall": none_for_nan(self.recall),
            "f": none_for_nan(self.f),
        }


def boundary_scores(counts: BoundaryCounts) -> BoundaryScores:
    """The scores of a class, from its counts in a picture or their sum over many."""
    precision = ratio(counts.predicted_near, counts.predicted)
    recall = ratio(counts.truth_near, counts.truth)
    if counts.predicted and counts.truth:
        f = ratio(2 * precision * recall, precision + recall) if precision + recall else 0.0
    else:
        f = 0.0 if counts.predicted or counts.truth else math.nan
    return BoundaryScores(ratio(counts.intersection, counts.union), precision, recall, f)


def summary(counts: Mapping[str, BoundaryCounts]) -> dict[str, Any]:
    """The scores of each class by name, and their means (NaN left out), as plain types for JSON."""
    each = {name: boundary_scores(of_class) for name, of_class in counts.items()}
    return {
        "mean_iou": none_for_nan(mean_defined(one.iou for one in each.values())),
        "mean_f": none_for_nan(mean_defined(one.f for one in each.values())),
        "per_class": {name: one.to_dict() for name, one in each.items()},
    }


def count_boundaries(
    mask_HW: UInt8Array, label_HW: UInt8Array, classes: Sequence[int]
) -> list[BoundaryCounts]:
    """The counts of each of `classes` in a picture.

    mask_HW, label_HW: class indices, predicted and true; 255 in the label is void. Raises ValueError for
    sizes that differ.
    """
    if mask_HW.shape != label_HW.shape:
        raise ValueError(f"mask {mask_HW.shape} and label {label_HW.shape} differ in shape")
    height, width = label_HW.shape
    diagonal = math.hypot(height, width)
    band, near = max(1, round(BAND * diagonal)), math.ceil(TOLERANCE * diagonal)
    void = label_HW == VOID
    counts = []
    for k in classes:
        predicted, truth = (mask_HW == k) & ~void, label_HW == k
        # Whatever else is in the picture, all that counts lies in this box.
        x, y, w, h = cv2.boundingRect((predicted | truth).view(np.uint8))
        if not w:
            counts.append(BoundaryCounts())
            continue
        box = np.s_[max(0, y - band) : y + h + band, max(0, x - band) : x + w + band]
        counts.append(_count(predicted[box], truth[box], void[box], band, near))
    return counts


def _count(predicted: Bool, truth: Bool, void: Bool, band: int, near: int) -> BoundaryCounts:
    known = ~void if void.any() else None
    predicted_band, true_band = (_inner_band(each, void, band) for each in (predicted, truth))
    outline, true_outline = (_outline(each, known) for each in (predicted, truth))
    return BoundaryCounts(
        int(np.count_nonzero(predicted_band & true_band)),
        int(np.count_nonzero(predicted_band | true_band)),
        int(np.count_nonzero(outline)),
        _near(outline, true_outline, near),
        int(np.count_nonzero(true_outline)),
        _near(true_outline, outline, near),
    )


def _inner_band(inside: Bool, void: Bool, width: int) -> Bool:
    """The pixels of `inside` from which a step of `width` (in a square) leads outside of it."""
    square = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * width + 1, 2 * width + 1))
    core = cv2.erode((inside | void).view(np.uint8), square, borderType=cv2.BORDER_CONSTANT, borderValue=(0,))
    return np.asarray(inside & (core == 0))


def _outline(inside: Bool, known: Bool | None) -> Bool:
    """Where the pixel to the right, below or across differs, both being known."""
    outline = np.zeros_like(inside)
    for here, there in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
        (np.s_[:-1, :-1], np.s_[1:, 1:]),
    ):
        differ = inside[here] != inside[there]
        outline[here] |= differ if known is None else differ & known[here] & known[there]
    return outline


def _near(outline: Bool, other: Bool, radius: int) -> int:
    """How many pixels of `outline` have one of `other` within `radius`.

    The outlines are thin: asking, for each of their pixels, how many of the other lie in each row of the disk
    around it takes a tenth of the time of dilating, or of a distance transform.
    """
    y, x = (where.astype(np.int32) for where in np.nonzero(outline))
    height, width = other.shape
    before = np.zeros((height, width + 1), np.int32)  # in each row: how many are left of here
    np.cumsum(other, axis=1, out=before[:, 1:])
    near = np.zeros(len(y), np.bool_)
    for dy in range(-radius, radius + 1):
        half = math.isqrt(radius * radius - dy * dy)
        row = y + dy
        inside = (row >= 0) & (row < height)
        row = row.clip(0, height - 1)
        near |= inside & (before[row, (x + half + 1).clip(max=width)] > before[row, (x - half).clip(min=0)])
    return int(np.count_nonzero(near))
