"""Drawing on YUV planes shows what drawing on RGB shows."""

from collections.abc import Callable

import av
import numpy as np
import pytest
from clips import texture

from roadseg.config import View
from roadseg.labels import UInt8Array, get_scheme
from roadseg.media.orientation import Orientation
from roadseg.media.overlay import draw
from roadseg.media.planes import Planes, beside, draw_planes, read_planes, to_frame, to_rgb, yuv_of

SPACES = {"bt601": "ITU601", "bt709": "ITU709"}


def as_planes(rgb_HWC: np.ndarray, name: str = "yuv420p", matrix: str = "bt601") -> Planes:
    frame = av.VideoFrame.from_ndarray(rgb_HWC, "rgb24").reformat(format=name, dst_colorspace=SPACES[matrix])
    planes = read_planes(frame)
    return Planes(planes.y_HW, planes.u_hw, planes.v_hw, matrix)


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 200, 83), (12, 34, 250)])
def test_colours_are_those_of_swscale(color: tuple[int, int, int], matrix: str) -> None:
    rgb_HWC = np.full((16, 16, 3), color, np.uint8)
    planes = as_planes(rgb_HWC, "yuv444p", matrix)
    found = [int(plane[8, 8]) for plane in (planes.y_HW, planes.u_hw, planes.v_hw)]
    assert np.abs(np.array(found) - yuv_of(color, matrix, False)).max() <= 1


def test_full_range_by_hand() -> None:
    assert yuv_of((255, 255, 255), "bt601", True) == (255, 128, 128)
    assert yuv_of((0, 0, 0), "bt601", True) == (0, 128, 128)
    assert yuv_of((255, 0, 0), "bt601", True) == (76, 85, 255)  # as in JFIF
    assert yuv_of((255, 0, 0), "bt601", False) == (81, 90, 240)


@pytest.mark.parametrize("name", ["yuv420p", "yuv444p"])
@pytest.mark.parametrize("scheme", ["road", "cityscapes19"])
def test_an_overlay_looks_as_on_rgb(name: str, scheme: str) -> None:
    rgb_HWC = np.repeat(np.repeat(texture(32, 48) // 2 + 60, 4, 0), 4, 1)
    mask_HW = np.zeros(rgb_HWC.shape[:2], np.uint8)
    mask_HW[60:, 20:150] = 1
    classes = get_scheme(scheme)
    planes = as_planes(rgb_HWC, name)
    drawn = draw_planes(planes, mask_HW, classes, 0.45, "overlay")
    expected = draw(to_rgb(planes), mask_HW, classes, 0.45)
    difference = np.abs(to_rgb(drawn).astype(int) - expected)
    assert difference.mean() < 2  # what chroma of half the size costs lies along the edges
    assert np.percentile(difference, 95) < 8


@pytest.mark.parametrize("view", ["overlay", "side-by-side", "contour", "mask"])
def test_the_picture_that_is_drawn_on_stays(view: View) -> None:
    planes = as_planes(texture(48, 64))
    before = [plane.copy() for plane in (planes.y_HW, planes.u_hw, planes.v_hw)]
    draw_planes(planes, np.ones((48, 64), np.uint8), get_scheme("road"), 0.5, view)
    assert all((a == b).all() for a, b in zip(before, (planes.y_HW, planes.u_hw, planes.v_hw), strict=True))


@pytest.mark.parametrize("name", ["yuv420p", "yuv444p"])
def test_frames_and_planes_are_the_same_pixels(name: str) -> None:
    planes = as_planes(texture(48, 70), name)
    again = read_planes(to_frame(planes))
    assert all((a == b).all() for a, b in zip((planes.y_HW, planes.u_hw, planes.v_hw), (again.y_HW, again.u_hw, again.v_hw), strict=True))  # fmt: skip # noqa: E501


@pytest.mark.parametrize(
    ("orientation", "shown"),
    [
        (Orientation(), lambda stored: stored),
        (Orientation(transposed=True, mirror_x=True), lambda stored: np.rot90(stored, -1)),
        (Orientation(transposed=True, mirror_y=True), np.rot90),
        (Orientation(mirror_x=True, mirror_y=True), lambda stored: np.rot90(stored, 2)),
        (Orientation(mirror_x=True), np.fliplr),
        (Orientation(transposed=True), lambda stored: stored.T),
    ],
)
def test_planes_are_read_as_they_are_to_be_shown(
    orientation: Orientation, shown: Callable[[UInt8Array], UInt8Array]
) -> None:
    planes = as_planes(texture(48, 64))
    read = read_planes(to_frame(planes), orientation)
    np.testing.assert_array_equal(read.y_HW, shown(planes.y_HW))
    np.testing.assert_array_equal(read.u_hw, shown(planes.u_hw))
    assert read.size == orientation.size(48, 64)


def test_side_by_side_keeps_an_even_width() -> None:
    planes = as_planes(texture(360, 64))
    assert beside(planes, planes).size == (360, 64 + 4 + 64)
    assert beside(planes, planes).u_hw.shape == (180, 66)
