"""Videos out: every frame at its own time, sound copied, and never a broken file under the final name.

While it grows, a video has the name NAME.partial.SUFFIX and can be played up to its last seconds, whatever
happens to the process (fragments in MP4, clusters in Matroska). `close` makes it an ordinary file, with its
index in front so that it plays while it loads, and gives it its name.
"""

import contextlib
import heapq
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import av

from roadseg.errors import ConfigError, OutputError
from roadseg.media.encoders import VideoFormat, add_encoder, does_not_fit, steps_of
from roadseg.media.fragments import decoded_at, moved, with_an_end
from roadseg.media.stream_copy import StreamCopy, name_of, still_true

__all__ = ["CONTAINERS", "VideoFormat", "VideoWriter", "count_frames", "partials_of"]

_MP4: Final = (".mp4", ".m4v", ".mov")
CONTAINERS: Final = (*_MP4, ".mkv", ".webm")  # not AVI: it has no times of its own


class VideoWriter:
    """One video file that grows; a context manager that finishes the file, or leaves none after an error."""

    def __init__(
        self,
        path: Path,
        format: VideoFormat,
        copied: Sequence[av.stream.Stream] = (),
        *,
        metadata: Mapping[str, str] | None = None,
        chapters: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Begin `path`; its suffix decides on the container.

        copied: streams whose packets will come; subtitles that the container cannot hold are left out, and
        `left_out` says so, in a sentence each. metadata: of the source as a whole; what no longer holds is
        left out. chapters: as PyAV's containers give and take them, in times of this video.

        Raises ConfigError (a suffix, codec, setting or sound that does not go together, no such hardware)
        and OutputError (the file cannot be made).
        """
        self.path, self.frames = path, 0
        self.left_out: list[str] = []
        self.partial = partials_of(path)[0]
        if path.suffix.lower() not in CONTAINERS:
            raise ConfigError(f"{path}: its suffix must be one of {', '.join(CONTAINERS)}.")
        self._mp4 = path.suffix.lower() in _MP4
        self._metadata, self._chapters = still_true(metadata or {}), list(chapters)
        self._time_base = steps_of(format)
        self._step = format.time_base / self._time_base  # of the format, in ours
        self._held: av.VideoFrame | None = None  # until the next one tells how long it is shown
        self._first: int | None = None
        self._last = 0
        self._rest: int | None = None
        self._gap = max(1, round(1 / (format.rate * self._time_base)))
        self._durations: dict[int, int] = {}  # by time, of frames that the encoder has
        self._copies: dict[int, StreamCopy] = {}
        self._late: list[tuple[StreamCopy, av.Packet]] = []
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(self.partial, "w", options=self._container_options(growing=True))
        try:
            self._stream = add_encoder(self._container, format, path)
            for stream in copied:
                self._add_copy(stream)
            self._describe(self._container, chapters=not self._mp4)  # in fragments they have no place
            with self._told(does_not_fit(format.codec, path)):
                self._container.start_encoding()
        except BaseException:
            self.discard()
            raise

    def write(self, frame: av.VideoFrame, pts: int, duration: int | None = None) -> None:
        """Encode a frame of the format's size, shown from `pts` (in its time base) to that of the next.

        The last one is shown for `duration`, or as long as the one before it.
        Raises OutputError, or ConfigError where the encoder refuses the frame.
        """
        wanted = self._stream.codec_context.pix_fmt
        if frame.format.name != wanted and str(wanted).startswith("yuvj"):  # JPEG: BT.601, full range
            frame = frame.reformat(format=wanted, dst_colorspace="ITU601", dst_color_range="JPEG")
        elif frame.format.name != wanted:
            frame = frame.reformat(format=wanted)
        time = round(pts * self._step)
        if self._first is None:
            self._first = time
        else:
            time = max(time, self._last + 1)  # where our steps are the coarser ones
            self._gap = time - self._last
        self._encode_held()
        frame.pts, frame.time_base = time, self._time_base
        self._held, self._last = frame, time
        self._rest = None if duration is None else max(1, round(duration * self._step))
        self.frames += 1

    def copy(self, packet: av.Packet) -> None:
        """Write a packet of a copied stream as it is, or ignore one of a stream that is left out.

        Raises OutputError, or ConfigError where the container refuses the packet.
        """
        copy = self._copies.get(packet.stream.index)
        if copy is None:
            return
        with self._told():
            for passed in copy.packets(packet):
                if copy.target is None:
                    self._late.append((copy, passed))
                else:
                    passed.stream = copy.target
                    self._container.mux_one(passed)

    def close(self) -> None:
        """Make the file whole and give it its name. Raises OutputError, and then leaves the partial file."""
        self.complete()
        self.publish()

    def complete(self) -> Path:
        """Make the file whole; return the name that it has until `publish`. OutputError, as `close`."""
        if self._rest is not None:
            self._gap = self._rest
        self._encode_held()
        with self._told():
            last = self._stream.encode(None)
            if self.frames <= 2:  # too few to reorder, and then x265 takes their decoding times from nowhere
                for packet in last:
                    packet.dts = packet.pts
            self._mux(last)
            self._container.close()
            if not self._mp4:
                return self.partial
            indexed = partials_of(self.path)[1]
            try:
                self._index(indexed)
            except BaseException:
                indexed.unlink(missing_ok=True)
                raise
            return indexed

    def publish(self) -> None:
        """Give the whole file its name. Raises OutputError."""
        with self._told():
            os.replace(partials_of(self.path)[self._mp4], self.path)
            self.partial.unlink(missing_ok=True)

    def discard(self) -> None:
        """Leave nothing."""
        with contextlib.suppress(av.error.FFmpegError, OSError):
            self._container.close()
        for partial in partials_of(self.path)[: 1 + self._mp4]:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)

    @property
    def damaged(self) -> int:
        """Packets of the copied streams that were too broken to pass on."""
        return sum(copy.damaged for copy in self._copies.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()

    def _add_copy(self, stream: Any) -> None:
        try:
            copy = StreamCopy(stream, self._container)
        except (ValueError, av.error.FFmpegError) as error:
            codec, suffix = name_of(stream), self.path.suffix
            if stream.type == "subtitle":
                better = "mp4" if codec == "mov_text" else "mkv"
                language = f" ({stream.language})" if stream.language else ""
                self.left_out.append(
                    f"subtitles in {codec}{language} are left out: a {suffix} file cannot hold them; "
                    f"--out NAME.{better} keeps them"
                )
                return
            raise ConfigError(
                f"{self.path}: {stream.type} in {codec} cannot be copied into a {suffix} file; choose --out "
                "NAME.mkv, or leave it out by --audio none"
            ) from error
        self._copies[stream.index] = copy
        # Texts come late into an MP4, when its index is made: in fragments FFmpeg loses the times of those
        # that follow a gap.
        if not self._mp4 or stream.type != "subtitle":
            copy.add_to(self._container)

    def _describe(self, container: av.container.OutputContainer, *, chapters: bool) -> None:
        container.metadata.update(self._metadata)
        if chapters:
            container.set_chapters(self._chapters)

    def _encode_held(self) -> None:
        if self._held is not None:
            self._durations[self._last] = self._gap
            with self._told():
                self._mux(self._stream.encode(self._held))
            self._held = None

    def _mux(self, packets: Iterable[av.Packet]) -> None:
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, packet.duration)
            self._container.mux_one(packet)

    def _container_options(self, *, growing: bool) -> dict[str, str]:
        flush = {"flush_packets": "1"} if growing else {}  # what is done is on disk, whatever comes
        if not self._mp4:
            return flush
        # delay_moov: the first fragment is known before the header, so B-frames shift no time
        flags = "frag_keyframe+delay_moov+default_base_moof" if growing else "faststart"
        steps = str(self._time_base.denominator)
        options = {"movflags": flags, "video_track_timescale": steps, "movie_timescale": steps}
        return options | flush | ({"frag_duration": "1000000"} if growing else {})

    def _index(self, target: Path) -> None:
        """Copy the fragments into an MP4 with one index in front."""
        with (
            av.open(self.partial) as source,
            av.open(target, "w", options=self._container_options(growing=False)) as container,
        ):
            self._describe(container, chapters=True)
            video, *others = source.streams  # in the order in which they were added
            shown = container.add_stream_from_template(video, opaque=True)
            shown.codec_context.codec_tag = video.codec_context.codec_tag
            targets = {video.index: shown}
            for copy in self._copies.values():
                other = None if copy.target is None else others.pop(0)
                copy.add_to(container, other)
                if other is not None:
                    targets[other.index] = copy.target
            for copy, packet in self._late:
                packet.stream = copy.target
            gap = self._gap * self._time_base
            length = (self._last - (self._first or 0)) * self._time_base + gap
            fragments = moved(with_an_end(source.demux(), video, length, gap), targets)
            late = (packet for _, packet in self._late)
            for packet in heapq.merge(fragments, late, key=decoded_at):
                container.mux_one(packet)

    @contextlib.contextmanager
    def _told(self, refused: ConfigError | None = None) -> Iterator[None]:
        """FFmpeg's and the system's errors become ours: `refused` is what those of streams mean."""
        try:
            yield
        except (OSError, MemoryError) as error:  # some of FFmpeg's are, too
            raise OutputError(
                f"{self.path}: the video cannot be written ({_why(error)}); make room, or choose "
                "another --out"
            ) from error
        except av.error.FFmpegError as error:
            raise refused or ConfigError(
                f"{self.path}: FFmpeg refuses to make this video ({_why(error)}); choose another --codec, or "
                "--out NAME.mkv, or --audio none"
            ) from error


def partials_of(path: Path) -> tuple[Path, Path]:
    """The name that a video has while it grows, and the one while an MP4 gets its index."""
    growing = path.with_name(f"{path.stem}.partial{path.suffix}")
    return growing, path.with_name(f"{path.stem}.indexed.partial{path.suffix}")


def count_frames(path: Path) -> int:
    """Return how many frames a video file holds, by reading it from end to end (without decoding).

    Raises OutputError when it cannot be read.
    """
    try:
        with av.open(path) as container:
            stream = container.streams.video[0]
            return sum(packet.size > 0 for packet in container.demux(stream))
    except (av.error.FFmpegError, OSError) as error:
        raise OutputError(
            f"{path}: was written and cannot be read back ({_why(error)}); write it elsewhere by --out"
        ) from error


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
