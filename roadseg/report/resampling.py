"""Scores of many draws of pictures at once, from the counts of each. N pictures, K classes, B draws."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PER_PICTURE = "IoU per picture"
OUTLINES = "boundary IoU"

Float64 = NDArray[np.float64]


class Resampler:
    """Scores any draw of the pictures from their pixels, by what became of them; `classes` has K names.

    counts_NKL: int64 confusion counts, rows truth, columns prediction, L = K + 1 (the last one is no class).
    bands_NC2: int64 pixels of the bands along the outlines of C classes, in both and in either.
    What they mean, and what is undefined, is as in `roadseg.metrics`: sums first, division last.
    """

    def __init__(
        self,
        counts_NKL: NDArray[np.int64],
        classes: Sequence[str],
        bands_NC2: NDArray[np.int64] | None = None,
    ) -> None:
        self.classes = tuple(classes)
        kinds = len(self.classes)
        self.right_NK = np.diagonal(counts_NKL, axis1=1, axis2=2).astype(np.float64)
        self.truth_NK = counts_NKL.sum(2).astype(np.float64)
        self.claimed_NK = counts_NKL[:, :, :kinds].sum(1).astype(np.float64)
        self.bands_2NC = None if bands_NC2 is None else np.moveaxis(bands_NC2, 2, 0).astype(np.float64)

    def iou_N(self) -> Float64:
        """IoU of each picture: of class 1 (the road) for two classes, else its mean over classes."""
        iou_NK = _iou(self.right_NK, self.truth_NK, self.claimed_NK)
        return iou_NK[:, 1] if len(self.classes) == 2 else _mean(iou_NK)

    def scores(self, draws_BN: Float64) -> dict[str, Float64]:
        """Every score of each draw, as float64 [B]; NaN where it is undefined."""
        # Sums of integers below 2^53: exact in float64.
        right, truth, claimed = (draws_BN @ x for x in (self.right_NK, self.truth_NK, self.claimed_NK))
        iou_BK = _iou(right, truth, claimed)
        accuracy = {"pixel accuracy": _ratio(right.sum(1), truth.sum(1))}
        iou_N = self.iou_N()
        known = ~np.isnan(iou_N)
        each = {
            PER_PICTURE: _ratio(draws_BN @ np.where(known, iou_N, 0.0), draws_BN @ known.astype(np.float64))
        }
        if self.bands_2NC is not None:
            both, either = self.bands_2NC
            each[OUTLINES] = _mean(_ratio(draws_BN @ both, draws_BN @ either))
        if len(self.classes) == 2:
            right, truth, claimed = right[:, 1], truth[:, 1], claimed[:, 1]
            name = self.classes[1]
            return {
                f"{name} IoU": iou_BK[:, 1],
                f"{name} precision": _ratio(right, claimed),
                f"{name} recall": _ratio(right, truth),
                f"{name} F1": _ratio(2 * right, truth + claimed),
                **accuracy,
                **each,
            }
        of_class = {f"{name} IoU": iou_BK[:, k] for k, name in enumerate(self.classes)}
        return {"mean IoU": _mean(iou_BK), **accuracy, **each, **of_class}


def _iou(right: Float64, truth: Float64, claimed: Float64) -> Float64:
    return _ratio(right, truth + claimed - right)


def _ratio(part: Float64, whole: Float64) -> Float64:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


def _mean(values: Float64) -> Float64:
    """Over the last axis, NaN left out; NaN where all are."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(-1), known.sum(-1).astype(np.float64))
