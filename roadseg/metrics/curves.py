"""Scores of a probability: precision, recall and IoU over the threshold, MaxF and AP, calibration.

All of them come from one pair of histograms, of the probability of road where there is road, and where there
is none. The histograms are integers and add up over pictures and shards.

Sources
- MaxF, its working point (PRE, REC, FPR, FNR), and AP at 11 recalls: Fritsch, Kühnl and Geiger, "A new
  performance measure and evaluation benchmark for road detection algorithms", ITSC 2013, and its devkit;
  over all pictures, in the image plane or (as KITTI's server has it) in the view of `birdseye`. AP at 11
  recalls is Pascal VOC's: Everingham et al., "The Pascal visual object classes challenge", IJCV 2010.
- Average precision without interpolation: scikit-learn, `average_precision_score`.
- Expected calibration error (ECE): Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural
  networks", ICML 2017, of the probability of road; 16 bins (there 15), which part the levels evenly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from roadseg.labels import VOID, UInt8Array
from roadseg.metrics.confusion import none_for_nan, ratio

LEVELS: Final = 4096
"""Level l stands for the probability l / 4095. A probability of 0.5 or more has level 2048 or more."""
ECE_BINS: Final = 16

Float64 = NDArray[np.float64]


class RoadHistogram:
    """How often pixels were given each level of probability: `counts` is int64 [2, LEVELS], row 1 = road."""

    def __init__(self, counts: NDArray[np.int64] | Sequence[Sequence[int]] | None = None) -> None:
        """Raises ValueError for counts of another shape, or negative ones."""
        self.counts = np.zeros((2, LEVELS), np.int64) if counts is None else np.array(counts, np.int64)
        if self.counts.shape != (2, LEVELS) or (self.counts < 0).any():
            raise ValueError(f"a histogram is 2 rows of {LEVELS} counts, not {self.counts.shape}")

    def update(self, probability_HW: NDArray[np.float32], label_HW: UInt8Array, road: int) -> None:
        """Count the pixels of a picture: float probabilities 0..1, class indices (255: void), index of road.

        Raises ValueError for shapes that differ.
        """
        if probability_HW.shape != label_HW.shape:
            raise ValueError(f"probability {probability_HW.shape} and label {label_HW.shape} differ in shape")
        level = (probability_HW * np.float32(LEVELS - 1) + np.float32(0.5)).astype(np.uint16)
        rows = np.zeros(256, np.uint16)  # 0: something else, 1: road, 2: void
        rows[[road, VOID]] = LEVELS, 2 * LEVELS
        bins = np.bincount((level + rows[label_HW]).ravel(), minlength=3 * LEVELS)
        self.counts += bins[: 2 * LEVELS].reshape(2, LEVELS)

    def __add__(self, other: "RoadHistogram") -> "RoadHistogram":
        return RoadHistogram(self.counts + other.counts)


@dataclass(frozen=True)
class RoadCurve:
    """What happens as the threshold rises: entry l takes pixels of level l and above for road. float64."""

    threshold: Float64  # l / 4095
    precision: Float64  # NaN where nothing is taken for road
    recall: Float64  # NaN without road in the truth
    iou: Float64
    false_positive_rate: Float64  # NaN where all is road


def road_curve(histogram: RoadHistogram) -> RoadCurve:
    """Precision, recall, IoU and false positive rate at every level."""
    fp, tp = (row[::-1].cumsum()[::-1].astype(np.float64) for row in histogram.counts)
    negatives, positives = fp[0], tp[0]
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN
        return RoadCurve(
            np.arange(LEVELS) / (LEVELS - 1),
            tp / (tp + fp),
            tp / positives,
            tp / (positives + fp),
            fp / negatives,
        )


@dataclass(frozen=True)
class RoadScores:
    """KITTI's scores of road, and calibration; 0..1, NaN where the truth has no road (or nothing else)."""

    max_f: float  # the best F1 of all thresholds; the next five are of the (lowest) threshold that reaches it
    threshold: float
    precision: float  # PRE
    recall: float  # REC
    false_positive_rate: float  # FPR
    false_negative_rate: float  # FNR
    average_precision: float  # the area under the precision-recall steps, as scikit-learn has it
    average_precision_11: float  # AP: mean of the best precision at recalls of 0, 0.1, ..., 1 or more
    max_iou: float  # the best IoU of all thresholds
    max_iou_threshold: float
    ece: float  # expected calibration error
    road_pixels: int
    other_pixels: int

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON; an undefined score is None."""
        return {
            name: none_for_nan(value) if isinstance(value, float) else value
            for name, value in vars(self).items()
        }


def road_scores(histogram: RoadHistogram) -> RoadScores:
    """The scores of a histogram."""
    negatives, positives = (int(count) for count in histogram.counts.sum(axis=1))
    curve = road_curve(histogram)
    fp, tp = (row[::-1].cumsum()[::-1] for row in histogram.counts)
    f1 = 2 * tp / np.maximum(positives + tp + fp, 1)
    best = int(f1.argmax())
    best_iou = int(np.nan_to_num(curve.iou).argmax())
    precision = np.nan_to_num(curve.precision)
    # integers, so that a recall of exactly 0.3 does reach 0.3
    interpolated = [precision[10 * tp >= tenth * positives].max() for tenth in range(11)]

    def of_road(value: np.float64 | float) -> float:
        return float(value) if positives else math.nan

    return RoadScores(
        max_f=of_road(f1[best]),
        threshold=of_road(curve.threshold[best]),
        precision=of_road(precision[best]),
        recall=of_road(curve.recall[best]),
        false_positive_rate=of_road(curve.false_positive_rate[best]),
        false_negative_rate=of_road(1 - curve.recall[best]),
        average_precision=of_road(math.fsum(histogram.counts[1] * precision) / max(positives, 1)),
        average_precision_11=of_road(math.fsum(interpolated) / 11),
        max_iou=of_road(curve.iou[best_iou]),
        max_iou_threshold=of_road(curve.threshold[best_iou]),
        ece=calibration_error(histogram),
        road_pixels=positives,
        other_pixels=negatives,
    )


def reliability(histogram: RoadHistogram) -> tuple[NDArray[np.int64], Float64, Float64]:
    """By bin of probability (16 equal ones): pixels, mean probability, share of road; NaN where none is."""
    pixels = histogram.counts.sum(axis=0)
    weighted = pixels * np.arange(LEVELS)  # exact: integers
    in_bin, weight, road = (
        row.reshape(ECE_BINS, -1).sum(axis=1) for row in (pixels, weighted, histogram.counts[1])
    )
    with np.errstate(invalid="ignore"):
        return in_bin, weight / in_bin / (LEVELS - 1), road / in_bin


def calibration_error(histogram: RoadHistogram) -> float:
    """ECE: by how much the probability of road is off, on average over pixels; NaN without any."""
    pixels, probability, share = reliability(histogram)
    total = int(pixels.sum())
    return ratio(math.fsum((pixels * np.abs(probability - share))[pixels > 0]), total)
