import numpy as np
import pytest

from roadseg.labels import VOID, get_scheme
from roadseg.media.overlay import (
    ROAD_GREEN,
    brighter,
    contour,
    display_colors,
    draw,
    edge_thickness,
    side_by_side,
    tint,
)

RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)


def test_tint_mixes_by_class_and_leaves_the_rest(rgb: np.ndarray) -> None:
    mask = np.zeros((12, 16), np.uint8)
    mask[:, 4:8], mask[:, 8:12], mask[:, 12:] = 1, 2, VOID
    before = rgb.copy()
    tinted = tint(rgb, mask, [None, RED, BLUE], 0.25)
    assert tinted.dtype == np.uint8
    np.testing.assert_array_equal(rgb, before)
    np.testing.assert_array_equal(tinted[:, :4], rgb[:, :4])
    np.testing.assert_array_equal(tinted[:, 12:], rgb[:, 12:])
    for columns, color in ((slice(4, 8), RED), (slice(8, 12), BLUE)):
        exact = rgb[:, columns] * 0.75 + np.array(color) * 0.25
        assert np.abs(tinted[:, columns] - exact).max() <= 0.5


def test_tint_at_both_ends_of_opacity(rgb: np.ndarray) -> None:
    mask = np.ones((12, 16), np.uint8)
    np.testing.assert_array_equal(tint(rgb, mask, [None, RED], 0.0), rgb)
    assert (tint(rgb, mask, [None, RED], 1.0) == RED).all()
    for opacity in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="opacity"):
            tint(rgb, mask, [None, RED], opacity)


@pytest.mark.parametrize("thickness", [1, 2])
def test_contour_runs_inside_each_class_but_not_along_the_picture(thickness: int) -> None:
    rgb = np.zeros((12, 16, 3), np.uint8)
    mask = np.zeros((12, 16), np.uint8)
    mask[6:, 3:13] = 1  # reaches the lower border of the picture
    painted = (contour(rgb, mask, [None, RED], thickness) == RED).all(-1)
    expected = mask == 1
    expected[6 + thickness :, 3 + thickness : 13 - thickness] = False
    np.testing.assert_array_equal(painted, expected)


def test_contour_between_two_coloured_classes() -> None:
    mask = np.repeat(np.array([[0, 0, 1, 1]], np.uint8), 3, axis=0)
    lined = contour(np.zeros((3, 4, 3), np.uint8), mask, [RED, BLUE], 1)
    assert lined[1].tolist() == [[0, 0, 0], list(RED), list(BLUE), [0, 0, 0]]


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (3, 4)])
def test_sizes_that_could_trip_a_filter(size: tuple[int, int]) -> None:
    rgb = np.full((*size, 3), 100, np.uint8)
    for value in (0, 1, VOID):
        drawn = draw(rgb, np.full(size, value, np.uint8), get_scheme("road"), 0.5)
        assert drawn.shape == rgb.shape
        assert (drawn == rgb).all() == (value != 1)


def test_a_road_is_green_with_a_brighter_edge() -> None:
    rgb = np.full((400, 400, 3), 90, np.uint8)
    mask = np.zeros((400, 400), np.uint8)
    mask[200:, 100:300] = 1
    drawn = draw(rgb, mask, get_scheme("road"), 0.5).astype(int)
    inside, edge = drawn[300, 200], drawn[200, 200]
    assert np.abs(inside - (np.array(ROAD_GREEN) + 90) / 2).max() <= 0.5
    assert (edge > inside).all()
    assert (drawn[:199] == 90).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (60, 90), (900, 1000)])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_a_road_is_drawn_as_tint_and_contour_would(size: tuple[int, int], share: float) -> None:
    """To the bit: blobs of road anywhere, at the borders too, and of void."""
    rng = np.random.default_rng(7)
    rgb_HWC = rng.integers(0, 256, (*size, 3), np.uint8)
    seeds = rng.random((size[0] // 6 + 1, size[1] // 6 + 1)) < share
    mask_HW = np.kron(seeds, np.ones((6, 6))).astype(np.uint8)[: size[0], : size[1]].copy()
    mask_HW[rng.random(size) < 0.01] = VOID
    colors = [None, ROAD_GREEN]
    expected_HWC = contour(
        tint(rgb_HWC, mask_HW, colors, 0.45), mask_HW, [None, brighter(ROAD_GREEN)], edge_thickness(mask_HW)
    )
    np.testing.assert_array_equal(draw(rgb_HWC, mask_HW, get_scheme("road"), 0.45), expected_HWC)


def test_schemes_show_their_own_colours() -> None:
    assert display_colors(get_scheme("road")) == [None, ROAD_GREEN]
    scheme = get_scheme("cityscapes19")
    assert display_colors(scheme) == list(scheme.colors)
    rgb, mask = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)
    mask[:4] = 10
    drawn = draw(rgb, mask, scheme, 1.0)
    assert {tuple(color) for color in drawn.reshape(-1, 3).tolist()} == {scheme.colors[0], scheme.colors[10]}


def test_a_view_into_a_larger_picture_works(rgb: np.ndarray) -> None:
    mask = np.ones((12, 16), np.uint8)
    np.testing.assert_array_equal(
        draw(rgb[::2, ::2], mask[::2, ::2], get_scheme("road"), 0.4),
        draw(rgb[::2, ::2].copy(), mask[::2, ::2].copy(), get_scheme("road"), 0.4),
    )


def test_a_mask_of_another_size_is_a_bug(rgb: np.ndarray) -> None:
    for function, last in ((tint, 0.5), (contour, 1)):
        with pytest.raises(ValueError, match="does not fit"):
            function(rgb, np.zeros((12, 15), np.uint8), [None, RED], last)


def test_side_by_side(rgb: np.ndarray) -> None:
    row = side_by_side(rgb, rgb[:, :5], rgb)
    assert row.shape == (12, 16 + 2 + 5 + 2 + 16, 3)
    np.testing.assert_array_equal(row[:, :16], rgb)
    np.testing.assert_array_equal(row[:, 18:23], rgb[:, :5])
    np.testing.assert_array_equal(row[:, -16:], rgb)
    assert (row[:, 16:18] == 255).all()
    with pytest.raises(ValueError, match="one height"):
        side_by_side(rgb, rgb[:5])
