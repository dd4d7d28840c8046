"""Curves, MaxF, AP and calibration of road probabilities: by hand, and against two libraries."""

import json
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from roadseg.labels import UInt8Array
from roadseg.metrics.curves import (
    LEVELS,
    RoadHistogram,
    calibration_error,
    reliability,
    road_curve,
    road_scores,
)

VOID = 255


def histogram(probability: list[float], label: list[int], road: int = 1) -> RoadHistogram:
    result = RoadHistogram()
    result.update(np.array([probability], np.float32), np.array([label], np.uint8), road)
    return result


def random_pair(seed: int, pixels: int = 5000) -> tuple[NDArray[np.float32], UInt8Array]:
    """Probabilities that are levels exactly, and labels that they know something of; a tenth is void."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, pixels).astype(np.uint8)
    logit = rng.normal(0, 2, pixels) + 2.0 * label - 0.7
    level = np.rint((LEVELS - 1) / (1 + np.exp(-logit)))
    label[rng.random(pixels) < 0.1] = VOID
    return (level / (LEVELS - 1)).astype(np.float32)[None], label[None]


# --- counting


def test_levels_and_void() -> None:
    counts = histogram([0, 1, 0.5, 0.49999, 0.3, 0.8], [0, 1, 1, 0, VOID, 7]).counts
    assert counts.sum() == 5
    assert counts[0, 0] == counts[1, 4095] == counts[1, 2048] == counts[0, 2047] == 1
    assert counts[0, round(0.8 * 4095)] == 1  # another class is not road
    assert histogram([0.2], [0], road=0).counts[1].sum() == 1


def test_half_is_the_border_of_levels() -> None:
    """So that the counts at a threshold of 0.5 are those of the mask."""
    below = float(np.nextafter(np.float32(0.5), np.float32(0)))
    assert histogram([below], [1]).counts[1, :2048].sum() == 1
    assert histogram([0.5], [1]).counts[1, 2048:].sum() == 1


def test_shards_add_up_and_travel_as_json() -> None:
    probability, label = random_pair(0)
    whole, left, right = RoadHistogram(), RoadHistogram(), RoadHistogram()
    whole.update(probability, label, 1)
    left.update(probability[:, :2000], label[:, :2000], 1)
    right.update(probability[:, 2000:], label[:, 2000:], 1)
    total = RoadHistogram(json.loads(json.dumps(left.counts.tolist()))) + right
    assert (total.counts == whole.counts).all()
    assert road_scores(total) == road_scores(whole)


def test_what_is_no_histogram_is_refused() -> None:
    for counts in ([[1, 2], [3, 4]], np.full((2, LEVELS), -1)):
        with pytest.raises(ValueError, match="a histogram is 2 rows of 4096"):
            RoadHistogram(counts)
    with pytest.raises(ValueError, match="differ in shape"):
        RoadHistogram().update(np.zeros((2, 3), np.float32), np.zeros((3, 2), np.uint8), 1)


# --- scores


def test_scores_worked_by_hand() -> None:
    #                         road: 0.9, 0.8, 0.4, 0.2     other: 0.6, 0.3, 0.1, 0.1, 0
    result = road_scores(
        histogram([0.9, 0.8, 0.4, 0.2, 0.6, 0.3, 0.1, 0.1, 0.0, 0.5], [1, 1, 1, 1, 0, 0, 0, 0, 0, VOID])
    )
    # threshold: found, false -> F1 = 2 tp / (4 + tp + fp), IoU = tp / (4 + fp)
    # .9: 1, 0 -> 2/5   .8: 2, 0 -> 4/6   .6: 2, 1 -> 4/7   .4: 3, 1 -> 6/8   .3: 3, 2   .2: 4, 2 -> 8/10
    assert result.max_f == 8 / 10
    assert result.precision == 4 / 6
    assert result.recall == 1
    assert result.false_positive_rate == 2 / 5
    assert result.false_negative_rate == 0
    # the lowest threshold that leaves out 0.1
    assert result.threshold == pytest.approx((round(0.1 * 4095) + 1) / 4095)
    assert result.max_iou == 4 / 6
    assert result.average_precision == pytest.approx((1 + 1 + 3 / 4 + 4 / 6) / 4)
    # recalls 0 .. 0.5 are reached at a precision of 1, 0.6 and 0.7 at 3/4, 0.8, 0.9 and 1 at 4/6
    assert result.average_precision_11 == pytest.approx((6 * 1 + 2 * 3 / 4 + 3 * 4 / 6) / 11)
    assert (result.road_pixels, result.other_pixels) == (4, 5)
    json.dumps(result.to_dict(), allow_nan=False)


def test_a_recall_of_three_tenths_reaches_three_tenths() -> None:
    """Three of ten found first, then all false alarms: precision is 1 at 0, 0.1, 0.2 and 0.3, not 0.299."""
    result = road_scores(histogram([0.9] * 3 + [0.1] * 7 + [0.5] * 10, [1] * 10 + [0] * 10))
    assert result.average_precision_11 == pytest.approx((4 * 1 + 7 * 0.5) / 11)


def test_the_curve_worked_by_hand() -> None:
    curve = road_curve(histogram([1.0, 0.5, 0.5, 0.0], [1, 1, 0, 0]))
    assert (curve.precision[0], curve.recall[0], curve.iou[0], curve.false_positive_rate[0]) == (
        0.5,
        1,
        0.5,
        1,
    )
    assert (curve.precision[2048], curve.recall[2048], curve.iou[2048]) == (2 / 3, 1, 2 / 3)
    assert (curve.precision[4095], curve.recall[4095], curve.iou[4095]) == (1, 0.5, 0.5)
    assert curve.threshold[4095] == 1
    assert curve.false_positive_rate[4095] == 0


def test_calibration_worked_by_hand() -> None:
    """Four pixels of 0.8, of which two are road, and one of 0.1 that is none: (4 * 0.3 + 1 * 0.1) / 5."""
    counts = histogram([0.8] * 4 + [0.1], [1, 1, 0, 0, 0])
    assert calibration_error(counts) == pytest.approx(0.26, abs=2 / LEVELS)
    pixels, probability, share = reliability(counts)
    assert (pixels[12], share[12], pixels[1], share[1]) == (4, 0.5, 1, 0)
    assert probability[12] == pytest.approx(0.8, abs=1 / LEVELS)
    assert np.isnan(share[5])


def test_without_road_and_without_anything() -> None:
    nothing = road_scores(RoadHistogram())
    assert (nothing.road_pixels, nothing.other_pixels) == (0, 0)
    assert math.isnan(nothing.ece)
    roadless = road_scores(histogram([0.25, 0.0], [0, 0]))
    assert math.isnan(roadless.max_f)
    assert math.isnan(roadless.average_precision)
    assert roadless.ece == pytest.approx(0.125, abs=1 / LEVELS)
    all_road = road_scores(histogram([0.9, 0.8], [1, 1]))
    assert all_road.max_f == all_road.average_precision == all_road.average_precision_11 == 1
    assert math.isnan(all_road.false_positive_rate)
    for result in (nothing, roadless, all_road):
        json.dumps(result.to_dict(), allow_nan=False)


# --- oracles


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_scikit_learn(seed: int) -> None:
    from sklearn.metrics import average_precision_score, f1_score, jaccard_score, precision_recall_curve

    probability, label = random_pair(seed)
    counts = RoadHistogram()
    counts.update(probability, label, 1)
    known = label != VOID
    truth, given = label[known], np.rint(probability[known] * 4095).astype(int)
    result = road_scores(counts)
    assert result.average_precision == pytest.approx(average_precision_score(truth, given), rel=1e-12)
    precision, recall, thresholds = precision_recall_curve(truth, given)
    curve = road_curve(counts)
    np.testing.assert_allclose(curve.precision[thresholds], precision[:-1], rtol=1e-15)
    np.testing.assert_allclose(curve.recall[thresholds], recall[:-1], rtol=1e-15)
    f = 2 * precision * recall / (precision + recall)
    assert result.max_f == pytest.approx(np.nanmax(f), rel=1e-12)
    at_best = given >= round(result.threshold * 4095)
    assert f1_score(truth, at_best) == pytest.approx(result.max_f, rel=1e-12)
    assert jaccard_score(truth, given >= 2048) == pytest.approx(curve.iou[2048], rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_torchmetrics(seed: int) -> None:
    from torchmetrics.functional.classification import binary_average_precision, binary_calibration_error

    probability, label = random_pair(seed)
    counts = RoadHistogram()
    counts.update(probability, label, 1)
    known = label != VOID
    given, truth = torch.tensor(probability[known]), torch.tensor(label[known]).long()
    ece = binary_calibration_error(given, truth, n_bins=16)
    assert calibration_error(counts) == pytest.approx(float(ece), rel=1e-5)  # float32 there
    result = road_scores(counts)
    assert result.average_precision == pytest.approx(float(binary_average_precision(given, truth)), rel=1e-5)
