"""Masks that are steady where nothing happens, and follow what does."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from clips import pictures, texture

from roadseg.engine.smoothing import TemporalSmoother
from roadseg.labels import UInt8Array
from roadseg.media.flow import Float32, Motion, inside, moved

HEIGHT, WIDTH = 96, 160


def grey(rgb_HWC: UInt8Array) -> UInt8Array:
    return np.asarray(cv2.cvtColor(rgb_HWC, cv2.COLOR_RGB2GRAY), np.uint8)


def test_motion_finds_a_shift() -> None:
    before, now = (grey(picture) for picture in pictures(4, HEIGHT, WIDTH)[::3])  # three pixels to the left
    places = Motion().between(before, now)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    middle = np.s_[16:-16, 16:-16]
    assert np.abs(places[..., 0] - x - 3)[middle].mean() < 0.3
    assert np.abs(places[..., 1] - y)[middle].mean() < 0.3
    assert np.abs(moved(before, places).astype(int) - now)[middle].mean() < 6
    assert not inside(places)[48, -1]
    assert inside(places)[48, 80]


def run(strength: float, frames: list[UInt8Array], logits: list[Float32]) -> list[Float32]:
    smoother = TemporalSmoother(strength)
    return [smoother.update(one, frame) for one, frame in zip(logits, frames, strict=True)]


def test_off_changes_nothing() -> None:
    frames = pictures(3, HEIGHT, WIDTH)
    logits = [np.full((1, HEIGHT, WIDTH), 9.0 * i, np.float32) for i in range(3)]
    assert all((a == b).all() for a, b in zip(run(0, frames, logits), logits, strict=True))


def test_flicker_on_a_still_picture_fades() -> None:
    rng = np.random.default_rng(0)
    frames = [texture(HEIGHT, WIDTH)] * 12
    logits = [rng.normal(0.3, 1.0, (1, HEIGHT, WIDTH)).astype(np.float32) for _ in frames]
    smoothed = run(0.8, frames, logits)

    def flips(planes: list[Float32]) -> float:
        return float(np.mean([(a > 0) != (b > 0) for a, b in pairwise(planes[5:])]))

    assert flips(smoothed) < 0.4 * flips(logits)


@pytest.mark.parametrize("strength", [0.5, 0.8, 0.95])
def test_an_edge_that_moves_is_followed(strength: float) -> None:
    """The road's edge moves with the picture: the smoothed mask is where the true one is, with no lag."""
    frames = pictures(20, HEIGHT, WIDTH)
    logits = []
    for i in range(20):
        plane = np.full((1, HEIGHT, WIDTH), -4.0, np.float32)
        plane[..., : 100 - i] = 4.0
        logits.append(plane)
    last, true = run(strength, frames, logits)[-1] > 0, logits[-1] > 0
    assert np.count_nonzero(last != true) / HEIGHT < 1.0  # pixels of the edge's place


def test_an_object_that_crosses_a_still_picture_is_followed() -> None:
    """Nothing else moves: where the object comes and goes, the past does not count."""
    frames, logits = [], []
    for i in range(16):
        picture = texture(HEIGHT, WIDTH) // 2 + 60
        plane = np.full((1, HEIGHT, WIDTH), 4.0, np.float32)
        picture[40:72, 8 * i : 8 * i + 24] = (250, 20, 20)
        plane[:, 40:72, 8 * i : 8 * i + 24] = -4.0
        frames.append(picture)
        logits.append(plane)
    for smoothed, true in zip(run(0.8, frames, logits), logits, strict=True):
        a, b = smoothed < 0, true < 0
        assert np.count_nonzero(a & b) / np.count_nonzero(a | b) > 0.8  # a plain running mean: under 0.4


def test_a_cut_starts_anew() -> None:
    frames = [texture(HEIGHT, WIDTH, seed=1)] * 5 + [texture(HEIGHT, WIDTH, seed=2)]
    logits = [np.full((1, HEIGHT, WIDTH), 4.0, np.float32)] * 5 + [
        np.full((1, HEIGHT, WIDTH), -0.5, np.float32)
    ]
    np.testing.assert_array_equal(run(0.9, frames, logits)[-1], logits[-1])


def test_the_first_frame_of_many_classes_is_as_it_was() -> None:
    logits = np.random.default_rng(0).normal(0, 15, (19, 48, 64)).astype(np.float32)
    smoothed = TemporalSmoother(0.8).update(logits, texture(48, 64))
    np.testing.assert_array_equal(smoothed.argmax(0), logits.argmax(0))


def test_a_thin_picture_is_not_smoothed() -> None:
    smoother = TemporalSmoother(0.8)
    for _ in range(2):
        logits = np.ones((1, 8, 512), np.float32)
        np.testing.assert_array_equal(smoother.update(logits, texture(8, 512)), logits)


def test_many_classes_and_a_change_of_size() -> None:
    smoother = TemporalSmoother(0.8)
    for height in (48, 48, 64):
        logits = np.random.default_rng(0).normal(0, 1, (19, height, 64)).astype(np.float32)
        assert smoother.update(logits, texture(height, 64)).shape == (19, height, 64)
