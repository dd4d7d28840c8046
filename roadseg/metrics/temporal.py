"""How consistent the masks of a video are from frame to frame: flicker is what people notice first.

Source: Varghese et al., "Unsupervised temporal consistency metric for video segmentation in highly-automated
driving", CVPR workshops 2020 (mean temporal consistency, mTC). It needs no labels, and says nothing of
whether the masks are right: a mask that never changes where nothing moves is perfectly consistent.
"""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from roadseg.labels import UInt8Array
from roadseg.media.flow import Float32, Motion, inside, moved
from roadseg.metrics.confusion import mean_defined


def consistency(before_hw: UInt8Array, now_hw: UInt8Array, places_hw2: Float32) -> float:
    """The IoU (0..1) of a road mask with the one before it, moved along; 1 where neither has road.

    Masks are 0 or more (road); `places` are where the pixels of now were before, as `Motion.between` tells.
    Pixels that came into view do not count.
    """
    known = inside(places_hw2)
    a, b = moved(before_hw, places_hw2, nearest=True)[known] > 0, now_hw[known] > 0
    union = np.count_nonzero(a | b)
    return float(np.count_nonzero(a & b) / union) if union else 1.0


def temporal_consistency(frames: Iterable[tuple[UInt8Array, UInt8Array]]) -> float:
    """The mean consistency (mTC, 0..1) of neighbouring frames; NaN for fewer than two.

    frames: (grey_hw uint8 luma, mask_hw uint8) of one size, in their order. One pair is held at a time.
    """
    motion = Motion()
    return mean_defined(
        consistency(before_mask, now_mask, motion.between(before, now))
        for (before, before_mask), (now, now_mask) in pairwise(frames)
    )
