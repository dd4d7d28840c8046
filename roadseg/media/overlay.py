"""Drawing masks on pictures. Pure functions of arrays: every picture that comes in stays as it is.

rgb_HWC: uint8 RGB 0..255. mask_HW: uint8 class indices; a class without a colour (None, or an index past the
end of `colors`, such as void = 255) is left untouched.
"""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from roadseg.labels import RGB, VOID, LabelScheme, UInt8Array

Color = RGB | None

# Asphalt is grey and never green, so this reads on it by day and by night; Cityscapes' purple does not.
ROAD_GREEN: Final[RGB] = (0, 200, 83)

# Truth against prediction: colours of Okabe & Ito 2008, which colour-blind readers tell apart too (blue,
# yellow and vermillion differ in lightness as well).
RIGHT: Final[RGB] = (0, 114, 178)
MISSED: Final[RGB] = (240, 228, 66)
FALSE: Final[RGB] = (213, 94, 0)
VOID_GREY: Final[RGB] = (128, 128, 128)


def draw(rgb_HWC: UInt8Array, mask_HW: UInt8Array, scheme: LabelScheme, opacity: float) -> UInt8Array:
    """The overlay as users see it: every class tinted in its colour, and a thin bright edge around a road."""
    colors = display_colors(scheme)
    if len(colors) == 2 and colors[0] is None and colors[1] is not None:
        return _draw_one(rgb_HWC, mask_HW, colors[1], opacity)
    tinted_HWC = tint(rgb_HWC, mask_HW, colors, opacity)
    if scheme.num_classes > 2:  # edges between many classes hide more than they show
        return tinted_HWC
    edges = [None if color is None else brighter(color) for color in colors]
    return contour(tinted_HWC, mask_HW, edges, edge_thickness(mask_HW))


def _draw_one(rgb_HWC: UInt8Array, mask_HW: UInt8Array, color: RGB, opacity: float) -> UInt8Array:
    """What `tint` and `contour` make where class 1 alone has a colour, in less than half of their time.

    It works on the rectangle that the class lies in, and on no picture full of one colour.
    """
    _require_opacity(opacity)
    _require_one_size(rgb_HWC, mask_HW)
    result_HWC = rgb_HWC.copy()
    painted_HW = (mask_HW == 1).view(np.uint8)
    left, top, width, height = cv2.boundingRect(painted_HW)
    if not width:
        return result_HWC
    # with a pixel around it, so that the class ends there
    rows, columns = slice(max(0, top - 1), top + height + 1), slice(max(0, left - 1), left + width + 1)
    part_HWC, part_HW = result_HWC[rows, columns], painted_HW[rows, columns]
    ramp = np.arange(256, dtype=np.uint8).repeat(3).reshape(256, 1, 3)
    table = cv2.addWeighted(ramp, 1 - opacity, np.full_like(ramp, color), opacity, 0)
    tinted_HWC = cv2.LUT(part_HWC, table)
    thickness = edge_thickness(mask_HW)
    inner_HW = cv2.erode(part_HW, np.ones((2 * thickness + 1, 2 * thickness + 1), np.uint8))
    edge_N = np.flatnonzero(part_HW != inner_HW)  # by place: a fourth of the whole time less than by a mask
    tinted_HWC.reshape(-1, 3)[edge_N] = brighter(color)
    cv2.copyTo(tinted_HWC, part_HW, part_HWC)
    return result_HWC


def difference(
    rgb_HWC: UInt8Array, truth_HW: UInt8Array, mask_HW: UInt8Array, num_classes: int
) -> UInt8Array:
    """The picture with what the mask got right and wrong; void (255) truth is grey.

    Two classes: of class 1 what is `RIGHT`, `MISSED` and `FALSE`, and the rest is left as it is.
    More classes: `FALSE` wherever truth and mask differ.
    """
    if num_classes == 2:
        kind_HW = np.select(
            [truth_HW == VOID, (truth_HW == 1) & (mask_HW == 1), truth_HW == 1, mask_HW == 1],
            [3, 0, 1, 2],
            255,
        )
    else:
        kind_HW = np.select([truth_HW == VOID, truth_HW != mask_HW], [3, 2], 255)
    kinds_HW = kind_HW.astype(np.uint8)
    wrong_HW = np.where((kinds_HW == 1) | (kinds_HW == 2), kinds_HW, np.uint8(255))
    faint_HWC = tint(rgb_HWC, kinds_HW, [RIGHT, None, None, VOID_GREY], 0.5)
    return tint(faint_HWC, wrong_HW, [None, MISSED, FALSE], 0.8)


def edge_thickness(mask_HW: UInt8Array) -> int:
    """Pixels of a line that is seen but hides little: 2 at 720 lines, 3 at 1080."""
    shorter: int = min(mask_HW.shape)
    return max(1, round(shorter / 400))


def display_colors(scheme: LabelScheme) -> list[Color]:
    """One colour per class of `scheme`: its own (black is none), but green where road is all there is."""
    if scheme.classes == ("background", "road"):
        return [None, ROAD_GREEN]
    return [color if any(color) else None for color in scheme.colors]


def tint(rgb_HWC: UInt8Array, mask_HW: UInt8Array, colors: Sequence[Color], opacity: float) -> UInt8Array:
    """Mix each class's colour into its pixels: opacity 0 shows the picture, 1 the colour.

    ValueError for an opacity outside 0..1, or a mask of another size than the picture.
    """
    _require_opacity(opacity)
    paint_HWC, painted_HW = _painted(rgb_HWC, mask_HW, colors)
    cv2.addWeighted(rgb_HWC, 1 - opacity, paint_HWC, opacity, 0, dst=paint_HWC)
    return _over(rgb_HWC, paint_HWC, painted_HW)


def contour(rgb_HWC: UInt8Array, mask_HW: UInt8Array, colors: Sequence[Color], thickness: int) -> UInt8Array:
    """Paint a line of `thickness` pixels along the inner side of each class's border with other classes.

    The border of the picture gets no line. ValueError for a mask of another size than the picture.
    """
    paint_HWC, painted_HW = _painted(rgb_HWC, mask_HW, colors)
    # A pixel lies on a border if the window around it holds more than one class: two filters for all classes.
    window = np.ones((2 * thickness + 1, 2 * thickness + 1), np.uint8)
    border_HW = cv2.compare(cv2.dilate(mask_HW, window), cv2.erode(mask_HW, window), cv2.CMP_NE)
    return _over(rgb_HWC, paint_HWC, cv2.bitwise_and(border_HW, painted_HW))


def side_by_side(*images_HWC: UInt8Array) -> UInt8Array:
    """Pictures of one height, left to right, with a narrow white gap between them. ValueError otherwise."""
    heights = {image_HWC.shape[0] for image_HWC in images_HWC}
    if len(heights) != 1:
        raise ValueError(f"pictures side by side need one height, not {sorted(heights)}")
    height = heights.pop()
    gap_HWC = np.full((height, max(2, height // 90), 3), 255, np.uint8)
    return np.hstack([part for image_HWC in images_HWC for part in (gap_HWC, image_HWC)][1:])


def _require_opacity(opacity: float) -> None:
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity is {opacity}, but must lie between 0 and 1")


def _require_one_size(rgb_HWC: UInt8Array, mask_HW: UInt8Array) -> None:
    if rgb_HWC.shape[:2] != mask_HW.shape:
        raise ValueError(f"a mask of {mask_HW.shape} does not fit a picture of {rgb_HWC.shape}")


def _painted(
    rgb_HWC: UInt8Array, mask_HW: UInt8Array, colors: Sequence[Color]
) -> tuple[cv2.typing.MatLike, cv2.typing.MatLike]:
    """Each pixel's class colour (HWC), and 255 where the class has one (HW)."""
    _require_one_size(rgb_HWC, mask_HW)
    paint = np.zeros((256, 1, 3), np.uint8)
    painted = np.zeros(256, np.uint8)
    for index, color in enumerate(colors):
        if color is not None:
            paint[index], painted[index] = color, 255
    # applyColorMap is a table lookup: it does not care that the order is RGB
    return cv2.applyColorMap(mask_HW, paint), cv2.LUT(mask_HW, painted)


def _over(rgb_HWC: UInt8Array, top_HWC: cv2.typing.MatLike, where_HW: cv2.typing.MatLike) -> UInt8Array:
    result_HWC = rgb_HWC.copy()
    cv2.copyTo(top_HWC, where_HW, result_HWC)
    return result_HWC


def brighter(color: RGB) -> RGB:
    """The colour of a class's edge: three fifths of the way to white."""
    red, green, blue = (part + (255 - part) * 3 // 5 for part in color)
    return red, green, blue
