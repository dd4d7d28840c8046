"""Boundary IoU and boundary F: by hand, against their definitions done plainly, and at the edges."""

import math

import cv2
import numpy as np
import pytest

from roadseg.labels import UInt8Array
from roadseg.metrics.boundary import (
    BoundaryCounts,
    BoundaryScores,
    boundary_scores,
    count_boundaries,
    summary,
)

VOID = 255


def one(mask: UInt8Array, label: UInt8Array) -> BoundaryCounts:
    (counts,) = count_boundaries(mask, label, [1])
    return counts


def box(top: int, bottom: int, left: int, right: int, shape: tuple[int, int] = (30, 40)) -> UInt8Array:
    """A rectangle of ones. The diagonal of 30x40 is 50: a band of 1 pixel, a tolerance of 1."""
    mask_HW = np.zeros(shape, np.uint8)
    mask_HW[top:bottom, left:right] = 1
    return mask_HW


def blobs(seed: int, shape: tuple[int, int]) -> UInt8Array:
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=shape), (0, 0), min(shape) / 12)
    return (noise > 0).astype(np.uint8)


def test_worked_by_hand() -> None:
    """A box of 10x10, and one a column farther right."""
    counts = one(box(10, 20, 11, 21), box(10, 20, 10, 20))
    # Each band is the 36 pixels around an 8x8 core. They share the top and bottom rows, 9 pixels each.
    assert counts.intersection == 18
    assert counts.union == 36 + 36 - 18
    # Each outline: the last row and column of the box, and what lies above and left of its first ones:
    # 11 pixels on the top and on the left (with the corner), 10 + 10 - 1 on the bottom and on the right,
    # of which the right one's lower end and the bottom one's are one; the corner of top and left is one.
    assert counts.predicted == counts.truth == 40
    assert counts.predicted_near == counts.truth_near == 40  # nothing is farther than a column
    scores = boundary_scores(counts)
    assert scores == BoundaryScores(18 / 54, 1.0, 1.0, 1.0)


def test_boundary_f_counts_what_is_near() -> None:
    """The right half of a long box is three columns short: its right side is too far, all else is there."""
    counts = one(box(10, 20, 10, 27), box(10, 20, 10, 30))
    assert counts.predicted == 2 * (17 + 10)
    assert counts.truth == 2 * (20 + 10)
    # The predicted right side (column 26, rows 9..19) is missed but for its ends on the true top and bottom;
    # the true right side (column 29) and two columns before it, more than a pixel from column 26.
    assert counts.predicted_near == counts.predicted - 7
    assert counts.truth_near == counts.truth - (9 + 2 + 2)
    precision, recall = 47 / 54, 47 / 60
    assert boundary_scores(counts).f == pytest.approx(2 * precision * recall / (precision + recall))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [(60, 80), (97, 203), (256, 512)])
def test_equal_to_the_definitions_done_plainly(seed: int, shape: tuple[int, int]) -> None:
    """As in the authors' code: 3x3 erosions one after another, nothing outside; dilation by a disk."""
    prediction, truth = blobs(seed, shape), blobs(seed + 100, shape)
    truth[:, : shape[1] // 2] = prediction[:, : shape[1] // 2]
    diagonal = float(np.hypot(*shape))

    def band(mask: UInt8Array) -> UInt8Array:
        padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        core = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=max(1, round(0.02 * diagonal)))
        return np.asarray(mask - core[1:-1, 1:-1], np.uint8)

    def outline(mask: UInt8Array) -> UInt8Array:
        padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
        here, right, below, across = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
        edge = (here ^ right) | (here ^ below) | (here ^ across)
        edge[-1], edge[:, -1] = (here ^ right)[-1], (here ^ below)[:, -1]
        edge[-1, -1] = 0
        return np.asarray(edge, np.uint8)

    radius = math.ceil(0.008 * diagonal)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (x * x + y * y <= radius * radius).astype(np.uint8)
    bands, outlines = [[of(mask) for mask in (prediction, truth)] for of in (band, outline)]
    near = [cv2.dilate(edge, disk) for edge in outlines]
    assert one(prediction, truth) == (
        np.count_nonzero(bands[0] & bands[1]),
        np.count_nonzero(bands[0] | bands[1]),
        np.count_nonzero(outlines[0]),
        np.count_nonzero(outlines[0] & near[1]),
        np.count_nonzero(outlines[1]),
        np.count_nonzero(outlines[1] & near[0]),
    )


def test_a_perfect_mask_scores_one_and_classes_are_apart() -> None:
    label = blobs(1, (90, 120)) + blobs(2, (90, 120))
    counts = count_boundaries(label, label, [0, 1, 2, 7])
    assert [boundary_scores(each) for each in counts[:3]] == [BoundaryScores(1.0, 1.0, 1.0, 1.0)] * 3
    assert counts[3] == BoundaryCounts()
    for k in range(3):  # a class against the rest is the same as the two of them alone
        assert one((label == k).astype(np.uint8), (label == k).astype(np.uint8)) == counts[k]


def test_void_has_no_outline_and_counts_nowhere() -> None:
    """Road up to a void bonnet: the prediction may say what it likes there, and its border is none."""
    label = box(10, 30, 0, 40)
    label[24:] = VOID
    for bonnet in (0, 1):
        mask = box(10, 30, 0, 40)
        mask[24:] = bonnet
        counts = one(mask, label)
        # the band: the top row, and the first and last column of the 14 known rows of road
        assert counts.intersection == counts.union == 40 + 2 * 13
        assert counts.predicted == counts.truth == 40  # the row above the road; not the row above the void
        assert boundary_scores(counts) == BoundaryScores(1.0, 1.0, 1.0, 1.0)


def test_nothing_to_outline_is_no_score_and_one_side_alone_is_zero() -> None:
    empty, road = box(0, 0, 0, 0), box(10, 20, 10, 20)
    assert one(empty, empty) == BoundaryCounts()
    for value in vars(boundary_scores(BoundaryCounts())).values():
        assert math.isnan(value)
    missed = boundary_scores(one(empty, road))
    assert (missed.iou, missed.recall, missed.f) == (0, 0, 0)
    assert math.isnan(missed.precision)
    alarm = boundary_scores(one(road, empty))
    assert (alarm.iou, alarm.precision, alarm.f) == (0, 0, 0)
    assert math.isnan(alarm.recall)
    far = boundary_scores(one(road, box(22, 28, 30, 38)))
    assert (far.precision, far.recall, far.f) == (0, 0, 0)
    assert one(np.full_like(road, VOID), np.full_like(road, VOID)) == BoundaryCounts()


def test_counts_add_up_and_become_plain_types() -> None:
    a, b = one(box(10, 20, 11, 21), box(10, 20, 10, 20)), one(box(10, 20, 10, 27), box(10, 20, 10, 30))
    total = a.plus(b)
    assert total == tuple(x + y for x, y in zip(a, b, strict=True))
    result = summary({"road": total, "sky": BoundaryCounts()})
    assert result["mean_iou"] == result["per_class"]["road"]["iou"] == total.intersection / total.union
    assert result["per_class"]["sky"] == {"iou": None, "precision": None, "recall": None, "f": None}


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        one(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8))
