"""The road as it is seen from above: every 5 cm of it count alike, near or far, as KITTI's server counts.

Source: Fritsch, Kühnl and Geiger, "A new performance measure and evaluation benchmark for road detection
algorithms", ITSC 2013, and the KITTI road devkit (`BirdsEyeView.py`, `transform2BEV.py`). Its conventions:

- Road coordinates are metres: X to the right, Y down (0 on the road), Z ahead. A point of the road is seen at
  P2 · R0_rect · inverse(Tr_cam_to_road) · (X, 0, Z, 1), each made 4x4 or 3x4 by ones on the diagonal.
- The view is X from -10 to 10 and Z from 6 to 46 in cells of 0.05: 800 rows, the farthest first, and 400
  columns. A cell shows what its centre shows (in float32); nothing is interpolated.
- Pixel coordinates count from 1 and lose their fraction: (u, v) is column floor(u) - 1, row floor(v) - 1.
  A cell whose centre is outside the picture is void.
"""

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

RESOLUTION: Final = 0.05
"""Metres, the side of a cell."""
X_RANGE: Final = (-10, 10)
Z_RANGE: Final = (6, 46)
ROWS: Final = 800
COLUMNS: Final = 400

Float64 = NDArray[np.float64]
Int16 = NDArray[np.int16]


def road_to_image(p2_34: Float64, r0_rect_33: Float64, cam_to_road_34: Float64) -> Float64:
    """The 3x3 matrix from (X, Z, 1) on the road, in metres, to (u w, v w, w), in pixels from 1.

    Raises numpy.linalg.LinAlgError for a camera that cannot be turned back to.
    """
    rectify_44, to_road_44 = np.eye(4), np.eye(4)
    rectify_44[:3, :3], to_road_44[:3] = r0_rect_33, cam_to_road_34
    return np.asarray((p2_34 @ rectify_44 @ np.linalg.inv(to_road_44))[:, [0, 2, 3]], np.float64)


def pixels_of_cells(road_to_image_33: Float64, size: tuple[int, int]) -> Int16:
    """Column and row of the pixel that each cell shows, counted from 0: int16 [800, 400, 2]; -1 outside.

    size: height and width of the picture, below 32768.
    """
    x = (X_RANGE[0] + RESOLUTION * (np.arange(COLUMNS) + 0.5)).astype(np.float32)
    z = (Z_RANGE[1] - RESOLUTION * (np.arange(ROWS) + 0.5)).astype(np.float32)
    x_MN, z_MN = np.meshgrid(x, z)
    points_3C = np.stack([x_MN.ravel(), z_MN.ravel(), np.ones(x_MN.size, np.float32)])
    *uv, w = road_to_image_33 @ points_3C
    ahead = w > 0
    u, v = (np.divide(part, w, out=np.zeros_like(w), where=ahead) for part in uv)
    height, width = size
    seen = (u >= 1) & (u <= width) & (v >= 1) & (v <= height)
    pixels_C2 = np.where(seen[:, None], np.stack([u, v], axis=1), 0).astype(np.int16) - np.int16(1)
    return pixels_C2.reshape(ROWS, COLUMNS, 2)


def from_above(picture_HW: NDArray[Any], pixels_MN2: Int16, outside: float) -> NDArray[Any]:
    """What the cells show of a picture (uint8 or float32): [800, 400]; `outside` where it shows nothing."""
    return np.asarray(
        cv2.remap(
            picture_HW, pixels_MN2, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT,
            borderValue=outside,
        )  # type: ignore[call-overload]
    )  # fmt: skip
