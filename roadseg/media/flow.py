"""Motion between two pictures, and what was seen before moved to where it is now.

grey_hw: uint8 luma of one size. Flow is dense inverse search (Kroeger et al. 2016), OpenCV's DIS.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from roadseg.labels import UInt8Array

Float32 = NDArray[np.float32]


class Motion:
    """Where each pixel of the second picture was in the first."""

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def between(self, before_hw: UInt8Array, now_hw: UInt8Array) -> Float32:
        """Return the places in `before` of the pixels of `now`: hw2 float32, x and y in pixels."""
        height, width = now_hw.shape
        flow_hw2 = self._dis.calc(now_hw, before_hw, None)  # type: ignore[call-overload]
        grid_hw2 = np.dstack(np.meshgrid(np.arange(width), np.arange(height))).astype(np.float32)
        return np.asarray(flow_hw2 + grid_hw2, np.float32)


def moved(before_hw: NDArray[Any], places_hw2: Float32, *, nearest: bool = False) -> NDArray[Any]:
    """What `before` shows at `places`; its border is continued outside."""
    how = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return np.asarray(cv2.remap(before_hw, places_hw2, None, how, borderMode=cv2.BORDER_REPLICATE))  # type: ignore[call-overload]


def inside(places_hw2: Float32) -> NDArray[np.bool_]:
    """Which places lie in the picture: the others came into view."""
    height, width = places_hw2.shape[:2]
    x, y = places_hw2[..., 0], places_hw2[..., 1]
    return np.asarray((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1), np.bool_)
