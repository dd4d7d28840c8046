"""How consistent the masks of a video are, by hand."""

import math

import numpy as np
import pytest
from clips import texture

from roadseg.labels import UInt8Array
from roadseg.metrics.temporal import consistency, temporal_consistency


def test_consistency_by_hand() -> None:
    still = np.dstack(np.meshgrid(np.arange(4), np.arange(2))).astype(np.float32)
    before = np.array([[1, 1, 0, 0], [1, 1, 0, 0]], np.uint8)
    now = np.array([[1, 1, 1, 0], [1, 0, 0, 0]], np.uint8)
    assert consistency(before, now, still) == 3 / 5
    assert consistency(before * 0, now * 0, still) == 1
    shifted = still + np.array([1, 0])  # what is at x now was at x + 1: the last column came into view
    assert consistency(before, now, shifted.astype(np.float32)) == 2 / 4


def test_the_mean_of_a_clip_by_hand() -> None:
    """A picture that stands still: road of 32 rows, then of 24, then of 24 again."""
    grey = np.ascontiguousarray(texture(64, 96)[..., 0])

    def mask(rows: int) -> UInt8Array:
        mask_hw = np.zeros(grey.shape, np.uint8)
        mask_hw[-rows:] = 1
        return mask_hw

    clip = [(grey, mask(32)), (grey, mask(24)), (grey, mask(24))]
    assert temporal_consistency(clip) == pytest.approx((24 / 32 + 1) / 2)
    assert temporal_consistency(iter(clip[:2])) == pytest.approx(24 / 32)
    assert math.isnan(temporal_consistency(clip[:1]))


def test_a_mask_that_moves_with_the_picture_is_consistent() -> None:
    wide = texture(64, 128)[..., 0]
    frames = [np.ascontiguousarray(wide[:, shift : shift + 96]) for shift in (0, 3, 6)]
    road = np.zeros((64, 128), np.uint8)
    road[32:, 40:90] = 1
    moving = [(frame, np.ascontiguousarray(road[:, 3 * i : 3 * i + 96])) for i, frame in enumerate(frames)]
    standing = [(frame, np.ascontiguousarray(road[:, :96])) for frame in frames]
    assert temporal_consistency(moving) > 0.96 > 0.93 > temporal_consistency(standing)
