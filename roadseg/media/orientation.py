"""Which way up a video is to be shown: what its display matrix says."""

from dataclasses import dataclass
from typing import Final

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData

from roadseg.labels import UInt8Array


@dataclass(frozen=True, slots=True)
class Orientation:
    """A stored picture is shown transposed (or not), and then mirrored along x, y, both or neither."""

    transposed: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame) -> "Orientation":
        """As the frame's display matrix has it (ISO 14496-12, 8.3.2), to the nearest quarter turn."""
        data = frame.side_data.get(SideData.DISPLAYMATRIX)
        if data is None:
            return cls()
        # a stored place (x, y) is shown at (a x + c y, b x + d y)
        (a, b, _), (c, d, _), _ = np.frombuffer(bytes(data), np.int32).reshape(3, 3).tolist()
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Shown height and width of a stored picture; the way back is the same."""
        return (width, height) if self.transposed else (height, width)

    def upright(self, pixels: UInt8Array) -> UInt8Array:
        """Stored pixels (HW or HWC) as they are to be shown, as one block of memory."""
        if self.transposed:
            pixels = pixels.swapaxes(0, 1)
        if self.mirror_x:
            pixels = pixels[:, ::-1]
        if self.mirror_y:
            pixels = pixels[::-1]
        return np.ascontiguousarray(pixels) if self == UPRIGHT else pixels.copy()


UPRIGHT: Final = Orientation()
