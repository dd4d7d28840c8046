"""Intervals of the further scores: those of the very same draws, each scored by the plain functions."""

from collections.abc import Callable, Sequence
from functools import reduce

import numpy as np
import pytest

from roadseg.metrics import ConfusionMatrix, cityscapes, scores
from roadseg.metrics.bootstrap import RESAMPLES, draws, interval
from roadseg.metrics.boundary import BoundaryCounts, summary
from roadseg.metrics.cityscapes import CATEGORIES, CLASSES, Instance, category_matrix, instance_scores
from roadseg.metrics.intervals import boundary_intervals, category_intervals, instance_intervals

PICTURES = 6


def by_hand(score: Callable[[list[int]], float | None]) -> list[float]:
    """The interval of `score`, which is asked for every draw: the pictures in it, each as often as drawn."""
    (times,) = draws(PICTURES, seed=0)
    assert len(times) == RESAMPLES
    drawn = [[i for i in range(PICTURES) for _ in range(int(row[i]))] for row in times]
    values = np.array([np.nan if (v := score(picks)) is None else v for picks in drawn])
    ends = interval(values)
    assert ends
    return list(ends)


def outlines(seed: int) -> list[list[BoundaryCounts]]:
    """Three classes; the second is in few pictures, the third only ever predicted."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(PICTURES):
        either, predicted, truth = (int(n) for n in rng.integers(50, 90, 3))
        near = [int(n) for n in rng.integers(0, 50, 3)]
        full = BoundaryCounts(near[0], either, predicted, near[1], truth, near[2])
        missed = BoundaryCounts(0, either, 0, 0, truth, 0)
        absent = BoundaryCounts()
        found.append([full, (full, missed, absent)[i % 3], BoundaryCounts(0, 9, 9, 0, 0, 0)])
    return found


@pytest.mark.parametrize("key", ["mean_iou", "mean_f"])
def test_of_outlines(key: str) -> None:
    pictures = outlines(1)

    def score(picks: Sequence[int]) -> float | None:
        columns = zip(*(pictures[i] for i in picks), strict=True)
        value: float | None = summary(
            {str(k): reduce(BoundaryCounts.plus, column) for k, column in enumerate(columns)}
        )[key]
        return value

    assert boundary_intervals(pictures)[key] == pytest.approx(by_hand(score), abs=1e-12)


def matrix_of(seed: int) -> ConfusionMatrix:
    counts = np.random.default_rng(seed).integers(0, 30, (len(CLASSES), len(CLASSES) + 1))
    counts[np.arange(len(CLASSES)), np.arange(len(CLASSES))] += 200
    return ConfusionMatrix.from_counts(counts.tolist())


def test_of_objects() -> None:
    rng = np.random.default_rng(2)
    of_class = [CLASSES.index(name) for name in ("person", "car", "bicycle")]
    pictures = [
        (
            [
                Instance(of_class[k], int(size), int(size * share), int(size))
                for k, size, share in zip(
                    rng.integers(0, 3, i), rng.integers(20, 5000, i), rng.random(i), strict=True
                )
            ],
            matrix_of(i),
        )
        for i in range(PICTURES)  # the first has no object at all
    ]

    def score(picks: Sequence[int]) -> float:
        total = sum((pictures[i][1] for i in picks), ConfusionMatrix(len(CLASSES)))
        return instance_scores([one for i in picks for one in pictures[i][0]], total).mean_classes

    assert instance_intervals(pictures)["mean_iiou"] == pytest.approx(by_hand(score), abs=1e-12)
    everything = sum((matrix for _, matrix in pictures), ConfusionMatrix(len(CLASSES)))
    objects = [one for each, _ in pictures for one in each]
    parts = np.array(cityscapes.instance_parts(objects, everything))
    expected = list(instance_scores(objects, everything).classes.values())
    assert (parts[:, 0] / parts.sum(1)).tolist() == pytest.approx(expected, abs=1e-12)


def test_of_categories() -> None:
    matrices = [matrix_of(i) for i in range(PICTURES)]

    def score(picks: Sequence[int]) -> float:
        total = sum((matrices[i] for i in picks), ConfusionMatrix(len(CLASSES)))
        return scores(category_matrix(total), CATEGORIES).mean_iou

    assert category_intervals(matrices)["mean_iou"] == pytest.approx(by_hand(score), abs=1e-12)


def test_one_picture_has_none() -> None:
    assert boundary_intervals(outlines(1)[:1]) == {"mean_iou": None, "mean_f": None}
    assert instance_intervals([([], matrix_of(0))]) == {"mean_iiou": None}
    assert category_intervals([matrix_of(0)]) == {"mean_iou": None}


def test_equal_pictures_leave_no_doubt() -> None:
    same = [[BoundaryCounts(1, 4, 10, 5, 10, 5)]] * 4
    found = boundary_intervals(same)
    assert found["mean_iou"] == pytest.approx([0.25, 0.25])
    assert found["mean_f"] == pytest.approx([0.5, 0.5])


def test_no_outline_in_any_picture() -> None:
    assert boundary_intervals([[BoundaryCounts()]] * 3) == {"mean_iou": None, "mean_f": None}
