"""Intervals of the scores beside the confusion matrix whose counts are known of each picture.

The same bootstrap over pictures as in `roadseg.metrics.bootstrap`. MaxF, average precision and calibration
have no interval: the histogram that they come from has 8192 counts, and is kept for all pictures together.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from roadseg.metrics.bootstrap import RESAMPLES, Float64, confidence_intervals, draws, interval
from roadseg.metrics.boundary import BoundaryCounts
from roadseg.metrics.cityscapes import CATEGORIES, Instance, category_matrix, instance_parts
from roadseg.metrics.confusion import ConfusionMatrix

Intervals = dict[str, list[float] | None]
"""Score -> [low, high]; None where it is undefined in every draw, or there is one picture only."""


def boundary_intervals(pictures: Sequence[Sequence[BoundaryCounts]], *, seed: int = 0) -> Intervals:
    """Of the mean boundary IoU and F, from the counts of every class in each picture."""

    def scores(sums_BC6: Float64) -> Mapping[str, Float64]:
        both, either, predicted, predicted_near, truth, truth_near = np.moveaxis(sums_BC6, 2, 0)
        precision, recall = _ratio(predicted_near, predicted), _ratio(truth_near, truth)
        f = _ratio(2 * precision * recall, precision + recall)
        # as in `boundary_scores`: 0 where nothing is near, or only one of the outlines is there
        f = np.where(np.isnan(f) & (predicted + truth > 0), 0.0, f)
        return {"mean_iou": _mean(_ratio(both, either)), "mean_f": _mean(f)}

    return _intervals(np.array(pictures, np.float64), scores, ("mean_iou", "mean_f"), seed)


def instance_intervals(
    pictures: Sequence[tuple[Sequence[Instance], ConfusionMatrix]], *, seed: int = 0
) -> Intervals:
    """Of Cityscapes' mean iIoU, from the objects of each picture and its matrix of the 19 classes."""

    def scores(sums_BC3: Float64) -> Mapping[str, Float64]:
        return {"mean_iiou": _mean(_ratio(sums_BC3[..., 0], sums_BC3.sum(-1)))}

    parts_NC3 = np.array([instance_parts(*picture) for picture in pictures], np.float64)
    return _intervals(parts_NC3, scores, ("mean_iiou",), seed)


def category_intervals(matrices: Sequence[ConfusionMatrix], *, seed: int = 0) -> Intervals:
    """Of the mean IoU of Cityscapes' categories, from the matrix of the 19 classes of each picture."""
    found = confidence_intervals([category_matrix(matrix) for matrix in matrices], CATEGORIES, seed=seed)
    return {"mean_iou": found["mean_iou"]}


def _intervals(
    counts_NCX: Float64, scores: Callable[[Float64], Mapping[str, Float64]], names: Sequence[str], seed: int
) -> Intervals:
    """scores: maps the sums of B draws, [B, C, X], to a value of each, [B]."""
    pictures, *shape = counts_NCX.shape
    if pictures < 2:
        return dict.fromkeys(names)
    flat = counts_NCX.reshape(pictures, -1)
    drawn = [scores((piece @ flat).reshape(-1, *shape)) for piece in draws(pictures, seed, RESAMPLES)]
    ends = {name: interval(np.concatenate([piece[name] for piece in drawn])) for name in names}
    return {name: list(pair) if pair else None for name, pair in ends.items()}


def _ratio(part: Float64, whole: Float64) -> Float64:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


def _mean(values_BC: Float64) -> Float64:
    """Of each draw over its classes, NaN left out; NaN where all are."""
    known = ~np.isnan(values_BC)
    return _ratio(np.where(known, values_BC, 0.0).sum(-1), known.sum(-1).astype(np.float64))
