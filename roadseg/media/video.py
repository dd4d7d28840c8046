"""Videos in: frames upright, with their own times, through damage to the end.

`FFmpegReader` takes whatever FFmpeg reads: files, cameras, network streams. Iterate it for `Frame`s and,
where asked for, the packets of audio and subtitles between them.
"""

import contextlib
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from types import TracebackType
from typing import Final, Self

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from roadseg.errors import MediaError
from roadseg.labels import UInt8Array
from roadseg.media.planes import Planes, read_planes

# In a row; a file that gives nothing else has ended, whatever it says.
_MOST_BAD_READS: Final = 1000
_NETWORK_TIMEOUT: Final = 20.0  # seconds
# Where FFmpeg finds camera number N, and by which of its devices.
_CAMERAS: Final = {"darwin": ("{}", "avfoundation"), "win32": ("video={}", "dshow")}


Size = Callable[[int, int], tuple[int, int]]


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
    """Seconds that a step of `Frame.pts` takes."""
    frames: int
    """By the container's count; 0: unknown."""
    duration: float | None
    """Seconds; None: unknown, or without end."""
    codec: str
    pixel_aspect: Fraction = Fraction(1)


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture of a video."""

    index: int
    """Counted from 0 over the frames that were asked for."""
    pts: int
    """Time in steps of the time base, from the start of what was asked for; always growing."""
    seconds: float
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


class FFmpegReader:
    """A file, a camera or a network stream, decoded by FFmpeg."""

    def __init__(self, source: str, small: Size, cut: Cut = Cut(), *, copy: bool = True) -> None:
        """Open `source`; raises MediaError when it holds no video that can be decoded.

        small: (height, width) of a picture -> those of `small_HWC`. copy: bring along packets of audio and
        subtitles.
        """
        self.damaged = 0
        self._cut, self._reformatter = cut, VideoReformatter()
        self._container = _open(source)
        try:
            self._stream = stream = _video_stream(self._container, source)
            stream.thread_type = "AUTO"
            self.copied = _copyable(self._container) if copy else []
            if cut.start:
                self._seek(cut.start)
            self._items = self._decoded()
            self._early = list(_until_frame(self._items))
            if not self._early or isinstance(self._early[-1], av.Packet):
                raise MediaError(f"{source}: not one frame can be decoded; fetch or make the video again")
        except BaseException:
            self._container.close()
            raise
        first = self._early[-1]
        self._rotation = round(first.rotation / 90) * 90 % 360
        self._stored = first.width, first.height
        width, height = self._stored[::-1] if self._rotation % 180 else self._stored
        rate = Fraction(stream.average_rate or stream.base_rate or 25)
        duration = self._container.duration
        self.info = VideoInfo(
            name=source,
            width=width,
            height=height,
            rate=rate,
            time_base=Fraction(stream.time_base or 1 / rate),
            frames=stream.frames,
            duration=None if duration is None else duration / av.time_base,
            codec=stream.codec_context.name,
            pixel_aspect=Fraction(stream.sample_aspect_ratio or 1),
        )
        small_height, small_width = small(height, width)
        self._small = (small_height, small_width) if self._rotation % 180 else (small_width, small_height)

    def _seek(self, seconds: float) -> None:
        # What cannot be sought (a raw stream, some network ones) is read from its beginning.
        with contextlib.suppress(av.error.FFmpegError):
            self._container.seek(round((seconds + self._begins) * av.time_base))

    @property
    def _begins(self) -> float:
        """Seconds on the file's own clock at which its video begins."""
        return float((self._stream.start_time or 0) * (self._stream.time_base or 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[Frame | av.Packet]:
        base = self.info.time_base
        begin = (self._stream.start_time or 0) + math.floor(self._cut.start / base)
        offset = begin if self._cut.start else 0
        step = max(1, round(1 / (self.info.rate * base)))
        seen = -1
        last: int | None = None
        for item in chain(self._early, self._items):
            if isinstance(item, av.Packet):
                if self._in_time(item):
                    yield item
                continue
            guess = begin if last is None else last + step
            pts = item.pts if item.pts is not None else guess
            if last is not None and pts <= last:  # times that repeat or run back, as after damage
                pts = last + 1
            last = pts
            if pts < begin:
                continue  # from the key frame before the start
            if (pts - begin) * base + self._cut.start >= self._cut.end:
                return
            seen += 1
            if seen % self._cut.stride == 0:
                yield self._frame(item, seen, pts - offset)

    def _frame(self, frame: av.VideoFrame, index: int, pts: int) -> Frame:
        planar = self._planar(frame)
        width, height = self._small
        shrinks = width < frame.width
        how = "AREA" if shrinks else "BILINEAR"
        small = self._reformatter.reformat(frame, width, height, "rgb24", interpolation=how)
        small_HWC: UInt8Array = small.to_ndarray()
        turns = self._rotation // 90
        return Frame(
            index=index,
            pts=pts,
            seconds=float(pts * self.info.time_base),
            planes=read_planes(planar, self._rotation),
            small_HWC=np.ascontiguousarray(np.rot90(small_HWC, turns)) if turns else small_HWC,
        )

    def _planar(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The frame as 8-bit planes of the first frame's size: some streams change size on the way."""
        width, height = self._stored
        name = "yuv444p" if width % 2 or height % 2 else "yuv420p"
        full = name.replace("yuv", "yuvj")
        if (frame.width, frame.height) == self._stored and frame.format.name in (name, full):
            return frame
        return frame.reformat(width, height, full if "yuvj" in frame.format.name else name)

    def _decoded(self) -> Iterator[av.VideoFrame | av.Packet]:
        """Frames of the video and packets of the copied streams, in the order of the file."""
        for packet in self._packets():
            if packet.stream is not self._stream:
                yield packet
                continue
            self.damaged += packet.is_corrupt
            try:
                frames = packet.decode()
            except av.error.EOFError:
                continue
            except av.error.FFmpegError:
                self.damaged += 1
                continue
            for frame in frames:
                self.damaged += frame.is_corrupt
                yield frame

    def _packets(self) -> Iterator[av.Packet]:
        """Every packet; an unreadable place is counted and passed over, and is not the end."""
        misses = 0
        while misses < _MOST_BAD_READS:
            try:
                for packet in self._container.demux(self._stream, *self.copied):
                    misses = 0
                    yield packet
                return
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                self.damaged += 1
                misses += 1

    def _in_time(self, packet: av.Packet) -> bool:
        """Whether a copied packet belongs to the cut; its times are shifted to the cut's start."""
        if packet.dts is None or packet.pts is None:  # the empty packet at the end
            return False
        start = self._cut.start
        seconds = float(packet.pts * packet.time_base) - self._begins
        if not start <= seconds < self._cut.end:
            return start == 0 and seconds < 0  # sound that begins before the picture
        shift = round((start + self._begins) / packet.time_base) if start else 0
        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        return True


def _open(source: str) -> av.container.InputContainer:
    camera = source.isdecimal()
    options = {"rtsp_transport": "tcp"} if source.startswith("rtsp") else {}
    try:
        if camera:
            place, kind = _CAMERAS.get(sys.platform, ("/dev/video{}", "v4l2"))
            return av.open(place.format(source), format=kind)
        return av.open(source, options=options, timeout=_NETWORK_TIMEOUT if "://" in source else None)
    except (FileNotFoundError, av.error.FileNotFoundError) as error:
        what = "no such camera; plug it in" if camera else "no such file; check the name"
        raise MediaError(f"{source}: {what}") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise MediaError(
            f"{source}: is no video that can be opened ({why}); it may be cut short or of an unknown format"
        ) from error


def _video_stream(container: av.container.InputContainer, source: str) -> av.VideoStream:
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:  # the cover of a song
            return stream
    raise MediaError(f"{source}: holds no video stream; give a video, or pictures to `roadseg segment`")


def _copyable(container: av.container.InputContainer) -> list[av.stream.Stream]:
    """Audio and subtitles of known codecs."""
    streams = [*container.streams.audio, *container.streams.subtitles]
    return [stream for stream in streams if stream.codec_context is not None]


def _until_frame(items: Iterator[av.VideoFrame | av.Packet]) -> Iterator[av.VideoFrame | av.Packet]:
    for item in items:
        yield item
        if not isinstance(item, av.Packet):
            return
