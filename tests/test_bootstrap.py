"""Confidence intervals over pictures."""

import json

import numpy as np
import pytest

from roadseg.metrics import ConfusionMatrix, scores
from roadseg.metrics.bootstrap import class_counts, confidence_intervals, resampled_sums

NAMES = ("background", "road")


def pictures(seed: int, number: int) -> list[ConfusionMatrix]:
    """Matrices of pictures whose road is found to some 80 %, more or less."""
    rng = np.random.default_rng(seed)
    found = rng.binomial(1000, rng.uniform(0.6, 1, number))
    return [ConfusionMatrix.from_counts([[900, 100, 0], [int(1000 - f), int(f), 0]]) for f in found]


def test_what_is_drawn_worked_by_hand() -> None:
    """Two pictures: a draw is twice the one, twice the other, or both; as often as it should be."""
    counts = np.array([[[1, 10]], [[100, 1000]]])
    sums = [tuple(total.ravel().tolist()) for total in resampled_sums(counts, 4000, seed=1)]
    share = {each: sums.count(each) / 4000 for each in set(sums)}
    assert set(share) == {(2, 20), (101, 1010), (200, 2000)}
    assert share[101, 1010] == pytest.approx(0.5, abs=0.03)


def test_the_counts_of_a_matrix_by_hand() -> None:
    assert class_counts(ConfusionMatrix.from_counts([[5, 1, 2], [3, 4, 0]])).tolist() == [
        [5, 8, 8],
        [4, 7, 5],
    ]


def test_intervals_are_quantiles_of_the_scores_of_the_draws() -> None:
    """Done plainly: draw matrices, add them, score the sum."""
    matrices = pictures(0, 12)
    result = confidence_intervals(matrices, NAMES, resamples=200, seed=5)
    rng = np.random.default_rng(5)
    draws = []
    for _ in range(200):
        drawn = [matrices[i] for i in rng.integers(12, size=12)]
        draws.append(scores(sum(drawn, start=ConfusionMatrix(2)), NAMES))
    for name in ("mean_iou", "mean_f1", "mean_accuracy", "pixel_accuracy", "frequency_weighted_iou"):
        values = [getattr(draw, name) for draw in draws]
        assert result[name] == pytest.approx(np.quantile(values, [0.025, 0.975]).tolist(), rel=1e-12)
    for name in ("iou", "precision", "recall", "f1"):
        values = [getattr(draw, name)[1] for draw in draws]
        expected = np.quantile(values, [0.025, 0.975]).tolist()
        assert result["per_class"]["road"][name] == pytest.approx(expected, rel=1e-12)
    assert (result["level"], result["resamples"], result["seed"], result["images"]) == (0.95, 200, 5, 12)


def test_a_seed_gives_the_same_interval_and_another_seed_nearly() -> None:
    matrices = pictures(1, 40)
    first, again, other = (confidence_intervals(matrices, NAMES, seed=seed)["mean_iou"] for seed in (0, 0, 1))
    assert first == again != other
    assert first == pytest.approx(other, abs=0.01)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """300 data sets of 30 pictures from one world: about 95 % of the intervals hold its road recall, 0.8."""
    held = 0
    for seed in range(300):
        interval = confidence_intervals(pictures(seed, 30), NAMES, resamples=200)
        low, high = interval["per_class"]["road"]["recall"]
        held += low <= 0.8 <= high
    assert 0.90 <= held / 300 <= 0.98


def test_more_pictures_narrow_the_interval() -> None:
    few, many = (confidence_intervals(pictures(2, n), NAMES)["mean_iou"] for n in (10, 160))
    assert many[1] - many[0] < 0.5 * (few[1] - few[0])


def test_undefined_scores_and_single_pictures_have_no_interval() -> None:
    roadless = [ConfusionMatrix.from_counts([[n, 0, 0], [0, 0, 0]]) for n in (5, 9)]
    result = confidence_intervals(roadless, NAMES)
    assert result["per_class"]["road"] == {"iou": None, "precision": None, "recall": None, "f1": None}
    assert result["mean_iou"] == [1.0, 1.0]
    void = confidence_intervals([ConfusionMatrix(2)] * 3, NAMES)
    assert void["mean_iou"] is void["pixel_accuracy"] is None
    assert confidence_intervals(pictures(0, 1), NAMES)["mean_iou"] is None
    assert confidence_intervals([], NAMES)["mean_iou"] is None
    json.dumps([result, void], allow_nan=False)
