"""Videos in: frames upright, with their own times, through damage to the end.

`FFmpegReader` takes whatever FFmpeg reads: files, cameras, network streams. Iterate it for `Frame`s and,
where asked for, the packets of audio and subtitles between them.
"""

import contextlib
import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from types import TracebackType
from typing import Any, Final, Self

import av
from av.video.reformatter import VideoReformatter

from roadseg.errors import MediaError
from roadseg.media.clock import Clock
from roadseg.media.orientation import Orientation
from roadseg.media.planes import read_planes
from roadseg.media.video_frame import WHOLE, Color, Cut, Frame, Size, VideoInfo
from roadseg.media.video_source import open_container, sound_and_subtitles, video_stream

# In a row; a file that gives nothing else has ended, whatever it says.
_MOST_BAD_READS: Final = 1000
# Half of what Matroska rounds times to: a frame that was told so much early is still in the cut.
_ROUNDED: Final = Fraction(1, 2000)
_FINE: Final = 10_000  # steps a second, at least
_TOLERATED: Final = 2  # missing frames: what converters drop
# What a file may end early by, in seconds, before frames are said to be missing.
_SHORT: Final = 0.25
# Formats whose duration counts from nought on, wherever the video begins.
_FROM_NOUGHT: Final = ("matroska,webm", "nut")


class FFmpegReader:
    """A file, a camera or a network stream, decoded by FFmpeg."""

    def __init__(self, source: str, small: Size, cut: Cut = WHOLE, *, copy: bool = True) -> None:
        """Open `source`; raises MediaError when it holds no video that can be decoded.

        small: (height, width) of a picture -> those of `small_HWC`. copy: bring along packets of audio and
        subtitles.
        """
        self.passed_over: list[str] = []  # pictures of a folder have names, packets have none
        self._abandoned = False
        self._cut, self._reformatter = cut, VideoReformatter()
        self._over: set[int] = set()  # streams that have passed the end of the cut
        # A place that was sought may lie behind the key frame that the cut needs: then all is read.
        for seek in (True, False) if cut.start else (False,):
            self._begin(source, copy, seek)
            if not self._early or isinstance(self._early[-1], av.Packet):
                self._container.close()
                continue
            if not seek or self._seconds(self._early[-1].pts) <= cut.begin:
                break
            self._container.close()
        else:
            raise MediaError(f"{source}: not one frame can be decoded; fetch or make the video again")
        first = self._early[-1]
        self._orientation = Orientation.of(first)
        self._stored = first.width, first.height
        height, width = self._orientation.size(first.height, first.width)
        aspect = Fraction(self._stream.sample_aspect_ratio or 1)
        stream, rate = self._stream, _rate_of(self._stream)
        duration = self._container.duration
        self.info = VideoInfo(
            name=source,
            width=width,
            height=height,
            rate=rate,
            time_base=_fine(self._unit),
            frames=stream.frames,
            duration=None if duration is None else duration / av.time_base,
            codec=stream.codec_context.name,
            pixel_aspect=1 / aspect if self._orientation.transposed else aspect,
            color=_color_of(first),
        )
        self._small = self._orientation.size(*small(height, width))
        step = max(1, round(1 / (rate * self._unit)))
        self._jumps = bool(self._container.format.flags & av.format.Flags.ts_discont.value)
        self._clock = Clock(float(self._unit), step, jumps=self._jumps)
        self._clocks = {
            other.index: Clock(float(other.time_base or 1), 1, jumps=self._jumps and other.type == "audio")
            for other in self.copied
        }

    def _begin(self, source: str, copy: bool, seek: bool) -> None:
        """Open `source` and decode up to its first frame."""
        self.damaged = 0
        self._ends: dict[int, Fraction] = {}  # of each stream, the latest second that was met
        self._packets_met = 0  # of the video
        self._at_the_end = False
        self._container = open_container(source)
        try:
            self._stream = video_stream(self._container, source)
            self._stream.thread_type = "AUTO"
            self._unit = Fraction(self._stream.time_base or 1 / _rate_of(self._stream))
            self._others = sound_and_subtitles(self._container)
            self.copied = self._others if copy else []
            self._indexed = len(self._stream.index_entries)  # before reading adds to them
            self._origin = max(Fraction(0), Fraction(self._container.start_time or 0, av.time_base))
            if seek:
                # what cannot be sought is read from its start
                with contextlib.suppress(av.error.FFmpegError):
                    self._container.seek(round((self._cut.begin + self._origin) * av.time_base))
            self._items = self._decoded()
            self._early = list(_until_frame(self._items))
        except BaseException:
            self._container.close()
            raise

    def _seconds(self, stamp: int | None) -> Fraction:
        """From the beginning of the file; an unknown time is taken for that."""
        return Fraction(0) if stamp is None else stamp * self._unit - self._origin

    @property
    def metadata(self) -> dict[str, str]:
        """What the file says of itself: title, place, date, ..."""
        return dict(self._container.metadata)

    @property
    def left_out(self) -> list[str]:
        """A sentence for each other video stream: a second camera, the cover of a song."""
        others = [stream for stream in self._container.streams.video if stream is not self._stream]
        return [
            f"video stream {stream.index} is left out: one is converted, number {self._stream.index}"
            for stream in others
        ]

    @property
    def chapters(self) -> list[dict[str, Any]]:
        """The file's chapters as PyAV gives them, in times of the frames; none for a part of it."""
        moved = []
        for chapter in self._container.chapters() if self._cut == WHOLE else []:
            shift = round(self._origin / chapter["time_base"])
            moved.append({**chapter, "start": chapter["start"] - shift, "end": chapter["end"] - shift})
        return moved

    @property
    def missing(self) -> int:
        """Frames that the file promises and that were not in it, known after reading it whole."""
        if not self._at_the_end or self._cut != WHOLE:
            return 0
        if self._container.format.name == "avi":
            missing = self._lost_by_avi()
        else:
            missing = self._cut_off() + self._clock.lost
        missing -= self.damaged
        return missing if missing > _TOLERATED else 0

    def _lost_by_avi(self) -> int:
        """By the index, if it is there: times and header count empty packets, too, which repeat a frame."""
        stream, met = self._stream, self._packets_met
        cut_off = stream.duration != stream.frames  # FFmpeg makes the one that of what is left
        promised = stream.frames if cut_off or self._indexed < met else self._indexed
        return promised - met

    def _cut_off(self) -> int:
        """Frames between the end that was met and the one that the file promises."""
        stream, rate = self._stream, self.info.rate
        from_nought = self._container.format.name in _FROM_NOUGHT
        if self._jumps:  # MPEG-TS has no header that promises anything
            return 0
        # Matroska has no durations of streams: FFmpeg guesses them, and from a wrong start while it decodes
        if stream.duration is not None and stream.time_base is not None and not from_nought:
            end = ((stream.start_time or 0) + stream.duration) * stream.time_base
            short = end - self._ends.get(stream.index, Fraction(0))
        elif self.info.duration is not None:
            begin = Fraction(0) if from_nought else self._origin
            short = begin + Fraction(self.info.duration) - max(self._ends.values(), default=Fraction(0))
        else:
            return 0
        return math.floor(short * rate) if short > max(_SHORT, float(2 / rate)) else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._abandoned:
            self._container.close()

    def abandon(self) -> None:
        """Leave the container open on exit: a thread is still reading, and closing would crash it."""
        self._abandoned = True

    def __iter__(self) -> Iterator[Frame | av.Packet]:
        base, cut = self.info.time_base, self._cut
        first = math.floor((self._origin + cut.begin) / self._unit)
        seen = -1
        for item in chain(self._early, self._items):
            if isinstance(item, av.Packet):
                if self._in_time(item):
                    yield item
                if self._all_over():
                    return
                continue
            if self._stream.index in self._over:
                continue
            seconds = self._seconds(self._clock.tell(item.pts, first))
            if seconds < cut.begin - _ROUNDED:
                continue  # from the key frame before the start
            if seconds >= cut.limit:
                self._over.add(self._stream.index)
                if self._all_over():
                    return
                continue
            seen += 1
            if seen % cut.stride == 0:
                yield self._frame(item, seen, max(0, round((seconds - cut.begin) / base)))

    def _all_over(self) -> bool:
        """Whether nothing of the cut is to come: some files have all of their sound behind the pictures."""
        if self._stream.index not in self._over:
            return False
        return self.info.duration is None or self._over.issuperset(self._clocks)

    def _frame(self, frame: av.VideoFrame, index: int, pts: int) -> Frame:
        planar = self._planar(frame)
        height, width = self._small
        how = "AREA" if width < frame.width else "BILINEAR"
        small = self._reformatter.reformat(frame, width, height, "rgb24", interpolation=how)
        return Frame(
            index=index,
            pts=pts,
            seconds=float(pts * self.info.time_base),
            duration=round(frame.duration * self._unit / self.info.time_base) if frame.duration else None,
            planes=read_planes(planar, self._orientation),
            small_HWC=self._orientation.upright(small.to_ndarray()),
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
            if packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                self._ends[packet.stream_index] = max(end, self._ends.get(packet.stream_index, end))
            self._packets_met += packet.stream is self._stream and packet.size > 0
            if packet.stream is not self._stream:
                if packet.stream in self.copied:
                    yield packet
                continue
            if packet.stream_index in self._over:
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
                for packet in self._container.demux(self._stream, *self._others):
                    misses = 0
                    yield packet
                self._at_the_end = True
                return
            except av.error.EOFError:
                self._at_the_end = True
                return
            except av.error.FFmpegError:
                self.damaged += 1
                misses += 1

    def _in_time(self, packet: av.Packet) -> bool:
        """Whether a copied packet belongs to the cut; its times are shifted to the cut's start."""
        if packet.dts is None or packet.pts is None:  # the empty packet at the end
            return False
        clock, unit, cut = self._clocks[packet.stream_index], packet.time_base, self._cut
        shift = clock.tell(packet.dts) - packet.dts
        seconds = (packet.pts + shift) * unit - self._origin
        if seconds >= cut.limit:
            self._over.add(packet.stream_index)
            return False
        if cut.start and seconds < cut.begin:
            return False
        shift -= round((self._origin + cut.begin) / unit)
        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
        return True


def _rate_of(stream: av.VideoStream) -> Fraction:
    """Frames a second: of two that are nearly the same the exact one, as Matroska rounds times."""
    average, base = stream.average_rate, stream.base_rate
    if average and base and abs(average - base) < average / 1000:
        return Fraction(base)
    return Fraction(average or base or 25)


def _fine(unit: Fraction) -> Fraction:
    """A unit of at most 0.1 ms that all times in `unit` can be told in."""
    steps = unit.denominator
    while steps < _FINE:
        steps *= 2
    return Fraction(1, steps)


def _color_of(frame: av.VideoFrame) -> Color:
    # what is stored as RGB becomes YUV here, by the matrix of BT.601
    rgb = frame.format.is_rgb or frame.format.has_palette
    matrix = 6 if rgb else int(frame.colorspace)
    return Color(matrix, int(frame.color_primaries), int(frame.color_trc))


def _until_frame(items: Iterator[av.VideoFrame | av.Packet]) -> Iterator[av.VideoFrame | av.Packet]:
    for item in items:
        yield item
        if not isinstance(item, av.Packet):
            return
