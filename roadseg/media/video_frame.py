"""What a reader of videos gives: frames, and what the video says of itself."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from roadseg.labels import UInt8Array
from roadseg.media.planes import Planes

Size = Callable[[int, int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Color:
    """What the numbers of a video's pixels mean, in the codes of ITU-T H.273; 2: it does not say."""

    matrix: int = 2
    primaries: int = 2
    transfer: int = 2


UNTOLD = Color()


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a source says of itself, before it is read."""

    name: str
    width: int
    """Of the picture as it is meant to be seen (after its rotation)."""
    height: int
    rate: Fraction
    """Frames a second, on average; 25 where nothing is known."""
    time_base: Fraction
    """Seconds that a step of `Frame.pts` takes: short ones, so that cuts and sound keep their places."""
    frames: int
    """By the container's count; 0: unknown."""
    duration: float | None
    """Seconds; None: unknown, or without end."""
    codec: str
    pixel_aspect: Fraction = Fraction(1)
    color: Color = UNTOLD


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture of a video."""

    index: int
    """Counted from 0 over the frames that were asked for."""
    pts: int
    """Time in steps of the time base, from the start of what was asked for; always growing."""
    seconds: float
    duration: int | None
    """Steps that it is shown for, if the file says so."""
    planes: Planes
    small_HWC: UInt8Array
    """The picture as the network sees it: rgb, uint8."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Which part of a video is wanted."""

    start: float = 0.0
    end: float = math.inf
    """Seconds from the video's beginning."""
    stride: int = 1
    """Every how manieth frame."""

    @property
    def begin(self) -> Fraction:
        """`start` as the decimal number that it was given as."""
        return Fraction(str(self.start))

    @property
    def limit(self) -> Fraction | float:
        """`end`, in the same way, or infinity."""
        return self.end if math.isinf(self.end) else Fraction(str(self.end))


WHOLE = Cut()
