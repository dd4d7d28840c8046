"""Videos out: every frame at its own time, sound copied, and never a broken file under the final name.

While it grows, a video has the name NAME.partial.SUFFIX and can be played up to its last seconds, whatever
happens to the process (fragments in MP4, clusters in Matroska). `close` makes it an ordinary file, with its
index in front so that it plays while it loads, and gives it its name.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import av

from roadseg.config import Codec
from roadseg.errors import ConfigError, OutputError


@dataclass(frozen=True, slots=True)
class _Encoder:
    """How FFmpeg makes a codec: its software encoder, those in hardware, options, and a good quality."""

    software: str
    hardware: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    quality: str | None = "crf"
    """The option that `crf` goes to; None: there is none."""
    crf: int = 23


_ENCODERS: Final[dict[str, _Encoder]] = {
    "h264": _Encoder("libx264", ("h264_nvenc", "h264_qsv", "h264_videotoolbox"), (("preset", "veryfast"),)),
    "hevc": _Encoder("libx265", ("hevc_nvenc", "hevc_qsv", "hevc_videotoolbox"),
                     (("preset", "veryfast"), ("x265-params", "log-level=error")), crf=26),
    "av1": _Encoder("libsvtav1", ("av1_nvenc", "av1_qsv"), (("preset", "9"),), crf=34),
    "vp9": _Encoder("libvpx-vp9", ("vp9_qsv",), (("deadline", "realtime"), ("cpu-used", "6"), ("b", "0")),
                    crf=32),
    "mpeg4": _Encoder("mpeg4", (), (("qscale", "4"),), quality=None),
    "mjpeg": _Encoder("mjpeg", (), (("qscale", "3"),), quality=None),
    "ffv1": _Encoder("ffv1", (), (("level", "3"), ("slicecrc", "1")), quality=None),
}  # fmt: skip
_MP4: Final = (".mp4", ".m4v", ".mov")
CONTAINERS: Final = (*_MP4, ".mkv", ".webm")  # not AVI: it has no times of its own
_QP_TO_LAMBDA: Final = 118  # FFmpeg's FF_QP2LAMBDA, the unit of global_quality


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFormat:
    """What a video is to be: what the source was, and how the user wants it encoded."""

    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    pixel_format: str = "yuv420p"
    pixel_aspect: Fraction = Fraction(1)
    matrix: str = "bt601"
    full_range: bool = False
    codec: Codec = "h264"
    crf: int | None = None
    """Constant quality, lower is better; None: a good one for the codec."""
    hardware: bool = False
    """Encode on a GPU."""


class VideoWriter:
    """One video file that grows; a context manager that finishes the file, or leaves none after an error."""

    def __init__(self, path: Path, format: VideoFormat, copied: Sequence[av.stream.Stream] = ()) -> None:
        """Begin `path`; its suffix decides on the container. `copied`: streams whose packets will come.

        Raises ConfigError (a suffix, codec or stream that does not go together, no such hardware) and
        OutputError (the file cannot be made).
        """
        self.path, self.frames = path, 0
        self.partial = partial_of(path)
        self._mp4 = path.suffix.lower() in _MP4
        self._scale = str(format.time_base.denominator)
        if path.suffix.lower() not in CONTAINERS:
            raise ConfigError(f"{path}: its suffix must be one of {', '.join(CONTAINERS)}.")
        with _told(self.path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(self.partial, "w", options=self._container_options(growing=True))
        try:
            self._stream = _add_encoder(self._container, format)
            self._copies = {stream.index: _add_copy(self._container, stream, path) for stream in copied}
            with _told(self.path):
                self._container.start_encoding()
        except BaseException:
            self.discard()
            raise

    def write(self, frame: av.VideoFrame, pts: int) -> None:
        """Encode a frame of the format's size, shown from `pts` (in its time base). Raises OutputError."""
        if frame.format.name != self._stream.codec_context.pix_fmt:  # MJPEG is full range by nature
            frame = frame.reformat(format=self._stream.codec_context.pix_fmt)
        frame.pts, frame.time_base = pts, self._stream.codec_context.time_base
        with _told(self.path):
            self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def copy(self, packet: av.Packet) -> None:
        """Write a packet of a copied stream as it is. Raises OutputError."""
        packet.stream = self._copies[packet.stream.index]
        with _told(self.path):
            self._container.mux_one(packet)

    def close(self) -> None:
        """Make the file whole and give it its name. Raises OutputError, and then leaves the partial file."""
        with _told(self.path):
            self._container.mux(self._stream.encode(None))
            self._container.close()
            if self._mp4:
                indexed = self.partial.with_name(f"{self.path.stem}.indexed.partial{self.path.suffix}")
                try:
                    self._index(indexed)
                    os.replace(indexed, self.path)
                except BaseException:
                    indexed.unlink(missing_ok=True)
                    raise
                self.partial.unlink()
            else:
                os.replace(self.partial, self.path)

    def discard(self) -> None:
        """Leave nothing."""
        with contextlib.suppress(av.error.FFmpegError, OSError):
            self._container.close()
        with contextlib.suppress(OSError):
            self.partial.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()

    def _container_options(self, *, growing: bool) -> dict[str, str]:
        flush = {"flush_packets": "1"} if growing else {}  # what is done is on disk, whatever comes
        if not self._mp4:
            return flush
        # delay_moov: the first fragment is known before the header, so B-frames shift no time
        flags = "frag_keyframe+delay_moov+default_base_moof" if growing else "faststart"
        options = {"movflags": flags, "video_track_timescale": self._scale}
        return options | flush | ({"frag_duration": "1000000"} if growing else {})

    def _index(self, target: Path) -> None:
        """Copy the fragments into an MP4 with one index in front."""
        with (
            av.open(self.partial) as source,
            av.open(target, "w", options=self._container_options(growing=False)) as container,
        ):
            streams = {
                stream.index: container.add_stream_from_template(stream, opaque=True)
                for stream in source.streams
            }
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream.index]
                    container.mux_one(packet)


def partial_of(path: Path) -> Path:
    """The name that a video has while it grows."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


def count_frames(path: Path) -> int:
    """Return how many frames a video file holds, by reading it from end to end (without decoding)."""
    with _told(path), av.open(path) as container:
        stream = container.streams.video[0]
        return sum(packet.size > 0 for packet in container.demux(stream))


def _add_encoder(container: av.container.OutputContainer, format: VideoFormat) -> av.VideoStream:
    encoder = _ENCODERS[format.codec]
    name = _hardware(encoder, format.codec) if format.hardware else encoder.software
    try:
        stream = container.add_stream(name, rate=format.rate)
    except (ValueError, av.error.FFmpegError) as error:
        raise ConfigError(f"codec {format.codec} cannot be in a {container.format.name} file.") from error
    context = stream.codec_context
    stream.width, stream.height = format.width, format.height
    stream.pix_fmt = "yuvj420p" if format.codec == "mjpeg" else format.pixel_format
    context.time_base = stream.time_base = format.time_base
    context.sample_aspect_ratio = format.pixel_aspect
    context.color_range = 2 if format.full_range or format.codec == "mjpeg" else 1
    context.colorspace = {"bt601": 6, "bt709": 1, "bt2020": 9}[format.matrix]
    options = dict(encoder.options) if name == encoder.software else {}
    quality = encoder.crf if format.crf is None else format.crf
    if encoder.quality:
        options["crf" if name == encoder.software else "cq"] = str(quality)
    elif "qscale" in options:
        context.qscale = True
        context.global_quality = int(options.pop("qscale")) * _QP_TO_LAMBDA
    stream.options = options
    os.environ.setdefault("SVT_LOG", "1")  # else the AV1 encoder talks on stderr
    return stream


def _hardware(encoder: _Encoder, codec: str) -> str:
    """The first encoder in hardware that works here: some are built in without a device being there."""
    for name in encoder.hardware:
        with contextlib.suppress(av.error.FFmpegError, ValueError):
            context = av.CodecContext.create(name, "w")
            context.width, context.height, context.pix_fmt = 256, 256, "yuv420p"
            context.time_base = Fraction(1, 25)
            context.open()
            return name
    raise ConfigError(f"no hardware encoder for {codec} works on this machine; leave out --hardware.")


def _add_copy(
    container: av.container.OutputContainer, stream: av.stream.Stream, path: Path
) -> av.stream.Stream:
    try:
        return container.add_stream_from_template(stream, opaque=True)
    except (ValueError, av.error.FFmpegError) as error:
        codec = stream.codec_context.name
        raise ConfigError(
            f"{path}: {stream.type} in {codec} cannot be copied into this kind of file; choose --out "
            "NAME.mkv, or leave it out by --audio none."
        ) from error


@contextlib.contextmanager
def _told(path: Path) -> Any:
    """FFmpeg's and the system's errors about a file become ours."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise OutputError(
            f"{path}: the video cannot be written ({why}); make room, or choose another --out"
        ) from error
