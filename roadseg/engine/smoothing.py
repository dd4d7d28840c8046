"""Steady masks: what the network said of one frame, moved along with the picture, has a say in the next.

A frame's logits are blended with those before it, where the picture shows the same thing at both times; what
has changed, came into view or follows a cut counts for itself alone, so that nothing lags.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from roadseg.labels import UInt8Array
from roadseg.media.flow import Float32, Motion, inside, moved

# Levels of luma by which a pixel differs from the moved one before, when its past counts 1/e.
_SAME: float = 12.0
# Mean difference, in levels, of a frame that has nothing to do with the one before.
_CUT: float = 28.0
# Logits are held within this: a sure past must not outvote a present that sees something else.
_SURE: float = 5.0


class TemporalSmoother:
    """Blends logits over time; feed it the frames of one video in their order."""

    def __init__(self, strength: float) -> None:
        """strength: share of the past where nothing has changed, 0 (off) to below 1."""
        self.strength = strength
        self._motion = Motion()
        self._before: tuple[UInt8Array, Float32] | None = None

    def update(self, logits_Khw: Float32, small_HWC: UInt8Array) -> Float32:
        """Return the smoothed logits of the next frame; `small_HWC`: its picture, rgb uint8, same hw."""
        if not self.strength:
            return logits_Khw
        now_Khw = logits_Khw.clip(-_SURE, _SURE)
        grey_hw = np.asarray(cv2.cvtColor(small_HWC, cv2.COLOR_RGB2GRAY), np.uint8)
        if self._before is not None and self._before[0].shape == grey_hw.shape:
            now_Khw = self._blend(now_Khw, grey_hw, *self._before)
        self._before = grey_hw, now_Khw
        return now_Khw

    def _blend(
        self, now_Khw: Float32, grey_hw: UInt8Array, before_hw: UInt8Array, past_Khw: Float32
    ) -> Float32:
        places_hw2 = self._motion.between(before_hw, grey_hw)
        difference_hw = cv2.absdiff(grey_hw, np.asarray(moved(before_hw, places_hw2), np.uint8))
        if float(np.mean(difference_hw)) > _CUT:
            return now_Khw
        near_hw = cv2.GaussianBlur(np.asarray(difference_hw, np.float32), (0, 0), 1.5)
        weight_hw = self.strength * np.exp(-((near_hw / _SAME) ** 2)) * inside(places_hw2)
        past = np.stack([moved(plane, places_hw2) for plane in past_Khw])
        blended: NDArray[np.float32] = now_Khw + weight_hw.astype(np.float32) * (past - now_Khw)
        return blended
