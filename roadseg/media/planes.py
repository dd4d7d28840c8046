"""Video pictures as their YUV planes, and drawing on them: no full-size trip to RGB and back.

y_HW: luma, uint8. u_hw, v_hw: chroma, uint8, at half the size (4:2:0) or the same size (4:4:4). Every
function returns new planes; what comes in stays as it is.
"""

from dataclasses import dataclass
from typing import Final

import av
import cv2
import numpy as np

from roadseg.config import View
from roadseg.labels import RGB, LabelScheme, UInt8Array
from roadseg.media.orientation import UPRIGHT, Orientation
from roadseg.media.overlay import brighter, display_colors, edge_thickness

# Kr and Kb of ITU-R BT.601-7, BT.709-6 and BT.2020-2.
_LUMA: Final = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
# FFmpeg's AVColorSpace -> matrix; what says nothing is BT.601, as swscale takes it.
_MATRICES: Final = {1: "bt709", 9: "bt2020", 10: "bt2020"}
_GREY: Final = 128  # chroma of what has no colour
BLACK: Final[RGB] = (0, 0, 0)
WHITE: Final[RGB] = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Planes:
    """One picture: 4:2:0 or 4:4:4, upright."""

    y_HW: UInt8Array
    u_hw: UInt8Array
    v_hw: UInt8Array
    matrix: str = "bt601"
    full_range: bool = False
    """0..255 for black to white (JPEG, phones), instead of 16..235."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.y_HW.shape
        return height, width

    @property
    def subsampled(self) -> bool:
        """Whether the chroma has half the size."""
        return self.u_hw.shape != self.y_HW.shape

    def rows(self, top: int, bottom: int) -> "Planes":
        """Some rows, as a view; both numbers even where the chroma is subsampled."""
        step = 2 if self.subsampled else 1
        chroma = slice(top // step, bottom // step)
        return self.with_pixels(self.y_HW[top:bottom], self.u_hw[chroma], self.v_hw[chroma])

    def with_pixels(self, y_HW: UInt8Array, u_hw: UInt8Array, v_hw: UInt8Array) -> "Planes":
        """Other pixels, of the same meaning."""
        return Planes(y_HW, u_hw, v_hw, self.matrix, self.full_range)


def read_planes(frame: av.VideoFrame, orientation: Orientation = UPRIGHT) -> Planes:
    """Copy a yuv420p, yuvj420p, yuv444p or yuvj444p frame, as it is to be shown."""
    pixels = frame.to_ndarray()
    height, width = frame.height, frame.width
    if pixels.ndim == 3:
        stored = tuple(pixels)
    else:
        stored = (pixels[:height], *pixels[height:].reshape(2, height // 2, width // 2))
    y_HW, u_hw, v_hw = map(orientation.upright, stored)
    # Motion JPEG does not say it otherwise
    full_range = int(frame.color_range) == 2 or frame.format.name.startswith("yuvj")
    return Planes(y_HW, u_hw, v_hw, _MATRICES.get(int(frame.colorspace), "bt601"), full_range)


def to_frame(planes: Planes) -> av.VideoFrame:
    """Return a frame with these planes, yuv420p or yuv444p, and what they mean; times are the writer's."""
    if planes.subsampled:
        height, width = planes.size
        pixels = np.empty((height * 3 // 2, width), np.uint8)
        pixels[:height] = planes.y_HW
        chroma = pixels[height:].reshape(2, height // 2, width // 2)
        chroma[0], chroma[1] = planes.u_hw, planes.v_hw
        frame = av.VideoFrame.from_ndarray(pixels, "yuv420p")
    else:
        frame = av.VideoFrame.from_ndarray(np.stack([planes.y_HW, planes.u_hw, planes.v_hw]), "yuv444p")
    frame.colorspace = {"bt601": 5, "bt709": 1, "bt2020": 9}[planes.matrix]
    frame.color_range = 2 if planes.full_range else 1
    return frame


def to_rgb(planes: Planes) -> UInt8Array:
    """Return the picture as rgb_HWC uint8."""
    rgb_HWC: UInt8Array = to_frame(planes).to_ndarray(format="rgb24")
    return rgb_HWC


def yuv_of(color: RGB, matrix: str, full_range: bool) -> tuple[int, int, int]:
    """RGB 0..255 as Y, U, V by the equations of BT.601 and its successors."""
    red, green, blue = (part / 255 for part in color)
    kr, kb = _LUMA[matrix]
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    cb, cr = (blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)  # -0.5..0.5
    if full_range:
        return round(255 * luma), *(min(255, round(_GREY + 255 * c)) for c in (cb, cr))  # type: ignore[return-value]
    return round(16 + 219 * luma), round(_GREY + 224 * cb), round(_GREY + 224 * cr)


def draw_planes(
    planes: Planes, mask_HW: UInt8Array, scheme: LabelScheme, opacity: float, view: View
) -> Planes:
    """The picture as `view` shows it, drawn as `overlay.draw` draws pictures.

    overlay: classes tinted, a bright edge around a road; contour: the edge alone; side-by-side: the picture
    and its overlay; mask: white where road is, or every class in its colour.
    """
    drawn = planes.with_pixels(planes.y_HW.copy(), planes.u_hw.copy(), planes.v_hw.copy())
    if view == "mask":
        solid = [BLACK, WHITE] if scheme.num_classes == 2 else scheme.colors
        for index in _classes_in(mask_HW):
            _paint(drawn, solid[index], 1.0, cv2.inRange(mask_HW, index, index))
        return drawn
    colors = display_colors(scheme)
    thickness = edge_thickness(mask_HW)
    window = np.ones((2 * thickness + 1, 2 * thickness + 1), np.uint8)
    edged = scheme.num_classes == 2 or view == "contour"
    for index in range(2) if scheme.num_classes == 2 else _classes_in(mask_HW):
        color = colors[index]
        if color is None:
            continue
        everywhere_HW = cv2.inRange(mask_HW, index, index)
        top, bottom = _rows_of(everywhere_HW)
        where_HW, part = everywhere_HW[top:bottom], drawn.rows(top, bottom)
        if top == bottom:
            continue
        if view != "contour":
            _paint(part, color, opacity, where_HW)
        if edged:  # the inner line of the class; the border of the picture gets none
            _paint(part, brighter(color), 1.0, cv2.subtract(where_HW, cv2.erode(where_HW, window)))
    return beside(planes, drawn) if view == "side-by-side" else drawn


def _rows_of(where_HW: cv2.typing.MatLike) -> tuple[int, int]:
    """First row and end of what is not 0, with a row to spare where there is one, in even numbers."""
    _, y, _, height = cv2.boundingRect(where_HW)
    if not height:
        return 0, 0
    return max(0, y - 1) // 2 * 2, min(len(where_HW), (y + height + 2) // 2 * 2)


def _classes_in(mask_HW: UInt8Array) -> list[int]:
    """The values of a mask, without sorting its pixels as np.unique does."""
    counts = cv2.calcHist([mask_HW], [0], None, [256], [0, 256])
    return np.flatnonzero(counts).tolist()


def _paint(planes: Planes, color: RGB, opacity: float, where_HW: cv2.typing.MatLike) -> None:
    """Mix a colour into the pixels where `where_HW` is 255, in place."""
    half = np.ascontiguousarray(where_HW[::2, ::2]) if planes.subsampled else where_HW
    levels = np.arange(256) * (1 - opacity)
    values = yuv_of(color, planes.matrix, planes.full_range)
    for plane, value, where in zip(
        (planes.y_HW, planes.u_hw, planes.v_hw), values, (where_HW, half, half), strict=True
    ):
        if opacity == 1:
            plane[where > 0] = value
        else:
            table = np.rint(levels + opacity * value).astype(np.uint8)
            cv2.copyTo(cv2.LUT(plane, table), where, plane)


def beside(left: Planes, right: Planes) -> Planes:
    """Two pictures of one height with a narrow white gap between them; the width stays even in 4:2:0."""
    gap = 2 * max(1, left.size[0] // 180)
    white = 255 if left.full_range else 235

    def join(a: UInt8Array, b: UInt8Array, value: int, width: int) -> UInt8Array:
        return np.hstack([a, np.full((a.shape[0], width), value, np.uint8), b])

    chroma = gap // 2 if left.subsampled else gap
    return left.with_pixels(
        join(left.y_HW, right.y_HW, white, gap),
        join(left.u_hw, right.u_hw, _GREY, chroma),
        join(left.v_hw, right.v_hw, _GREY, chroma),
    )
