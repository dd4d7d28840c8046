"""The fast way to decode a JPEG, taken only for files that are proven whole.

OpenCV decodes 2048x1024 in 9 ms where Pillow takes 22 (208 against 66 pictures a second on two cores; at
1280x720 it is 4 against 5 ms), to the same bits. But OpenCV 4 returns what there is of a truncated file, the
rest grey, and says nothing. So the file is walked first, marker by marker (0.1 ms). Of 6000 files cut,
overwritten or blanked at random, OpenCV (4.9 and 5.0) behind this walk took none that Pillow refuses.
"""

import re
from typing import Final, Literal

import cv2
import numpy as np

from roadseg.labels import UInt8Array

# ITU-T T.81, B.1.1: 0xFF is followed in coded data by 0x00 (a stuffed byte) or a restart marker D0..D7;
# a further 0xFF is fill; anything else ends the scan.
_SCAN_END: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_START_OF_SCAN: Final = 0xDA
_END_OF_IMAGE: Final = 0xD9
# Cameras and converters write one to fourteen. Each costs the time of all pixels, and may be a few bytes.
_MOST_SCANS: Final = 300


def walk(data: bytes) -> Literal["whole", "cut", "unclear", "bomb"]:
    """Follow the segments of a JPEG.

    whole: one after another without a gap, up to the end-of-image marker (what follows it is ignored).
    cut: the data ends inside a scan, or is blank from there on (decoders take blanks for pixels).
    unclear: something else lies between two segments; decoders may forgive that.
    bomb: more scans than any picture has, which would take for ever.
    """
    position, scans = 2, 0  # after the start-of-image marker
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == _START_OF_SCAN:
            scans += 1
            if scans > _MOST_SCANS:
                return "bomb"
            end = _SCAN_END.search(data, position)
            if end is None:
                return "cut"
            position = end.start()
            if data[position + 1] == _END_OF_IMAGE:
                return "whole"
    # other data, such as a film behind the picture, holds the marker's two bytes by chance
    rest = data.count(bytes([0xFF, _START_OF_SCAN]), position) - (len(data) - position) // 2**14
    return "bomb" if scans + rest > _MOST_SCANS else "unclear"


def decode(data: bytes) -> UInt8Array | None:
    """Decode a JPEG to rgb_HWC uint8 as it is stored (not turned upright), or None where OpenCV cannot."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        bgr_HWC = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    if bgr_HWC is None:
        return None
    return cv2.cvtColor(bgr_HWC, cv2.COLOR_BGR2RGB, dst=bgr_HWC).astype(np.uint8, copy=False)
