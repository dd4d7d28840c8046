"""Steady masks: what the network said of one frame, moved along with the picture, has a say in the next.

A frame's logits are blended with those before it, where the picture shows the same thing at both times; what
has changed, came into view or follows a cut counts for itself alone, so that nothing lags.
"""

import cv2
import numpy as np

from roadseg.labels import UInt8Array
from roadseg.media.flow import Float32, Motion, inside, moved
from roadseg.media.resize import fit_size

# Longer side of the pictures that motion is looked for in: a fifth of the time of 512, and as steady.
_FLOW_SIDE: int = 256
_LEAST: int = 16  # DIS needs more than its patches of 8 pixels
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
        self.places_hw2: Float32 | None = None
        """Where the pixels of the last frame were in the one before, in the small picture that motion is
        looked for in; None: that is not known, as it is the first, or follows a cut."""
        self._motion = Motion()
        self._grey_hw: UInt8Array | None = None
        self._past_Khw: Float32 | None = None

    def update(self, logits_Khw: Float32, small_HWC: UInt8Array) -> Float32:
        """Return the smoothed logits of the next frame; `small_HWC`: its picture, rgb uint8, same hw."""
        before_hw, grey_hw = self._grey_hw, _small_grey(small_HWC)
        self._grey_hw, self.places_hw2 = grey_hw, None
        difference_hw = grey_hw
        if before_hw is not None and before_hw.shape == grey_hw.shape and min(grey_hw.shape) >= _LEAST:
            places_hw2 = self._motion.between(before_hw, grey_hw)
            difference_hw = np.asarray(cv2.absdiff(grey_hw, moved(before_hw, places_hw2)), np.uint8)
            if cv2.mean(difference_hw)[0] <= _CUT:
                self.places_hw2 = places_hw2
        if not self.strength:
            return logits_Khw
        if len(logits_Khw) > 1:  # only what lies between the classes counts
            now_Khw: Float32 = np.clip(logits_Khw - logits_Khw.max(0), -2 * _SURE, 0)
        else:
            now_Khw = np.clip(logits_Khw, -_SURE, _SURE)
        past_Khw, self._past_Khw = self._past_Khw, now_Khw
        if self.places_hw2 is not None and past_Khw is not None and past_Khw.shape == now_Khw.shape:
            self._blend(now_Khw, past_Khw, self.places_hw2, difference_hw)
        return now_Khw

    def _blend(
        self, now_Khw: Float32, past_Khw: Float32, places_hw2: Float32, difference_hw: UInt8Array
    ) -> None:
        """Mix the moved past into `now_Khw`, in place."""
        near_hw = cv2.GaussianBlur(difference_hw.astype(np.float32), (0, 0), 1.0)
        weight_hw = self.strength * np.exp(-((near_hw / _SAME) ** 2)) * inside(places_hw2)
        height, width = now_Khw.shape[1:]
        scale = width / places_hw2.shape[1]
        # pixel centres: x of the large picture is (x + 0.5) * scale - 0.5
        large_hw2 = (cv2.resize(places_hw2, (width, height)) + 0.5) * scale - 0.5
        large_weight_hw = cv2.resize(weight_hw.astype(np.float32), (width, height))
        for now_hw, past_hw in zip(now_Khw, past_Khw, strict=True):
            now_hw += large_weight_hw * (moved(past_hw, large_hw2.astype(np.float32)) - now_hw)


def _small_grey(rgb_HWC: UInt8Array) -> UInt8Array:
    """The luma that motion is looked for in."""
    height, width = rgb_HWC.shape[:2]
    if max(height, width) > _FLOW_SIDE:
        height, width = fit_size(height, width, _FLOW_SIDE)
    grey_HW = cv2.cvtColor(rgb_HWC, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey_HW, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
