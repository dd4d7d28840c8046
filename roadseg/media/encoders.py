"""Encoders: how FFmpeg makes each codec, what it can take, and how a quality is asked of it."""

import contextlib
import os
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
from av.codec.codec import UnknownCodecError

from roadseg.config import Codec
from roadseg.errors import ConfigError
from roadseg.media.video_frame import UNTOLD, Color


@dataclass(frozen=True, slots=True)
class _Encoder:
    """How FFmpeg makes a codec: its software encoder, those in hardware, and options of the former."""

    software: str
    hardware: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    crf: int | None = None
    """A good constant quality; None: the codec has no such setting."""
    worst_crf: int = 51
    even: bool = False
    """Whether it has half as many colours as pixels in each direction, always: sizes must be even."""
    most_steps: int = 10_000_000
    """A second. MP4 counts a sample's duration in 31 bits, which is 3 minutes of these."""


def _fixed_quality(scale: int) -> tuple[tuple[str, str], ...]:
    """Options for a constant quantizer, in FFmpeg's unit for it (FF_QP2LAMBDA)."""
    return ("flags", "+qscale"), ("global_quality", str(scale * 118))


_ENCODERS: Final[dict[str, _Encoder]] = {
    "h264": _Encoder("libx264", ("h264_nvenc", "h264_qsv", "h264_videotoolbox"), (("preset", "veryfast"),),
                     crf=23),
    "hevc": _Encoder("libx265", ("hevc_nvenc", "hevc_qsv", "hevc_videotoolbox"),
                     (("preset", "veryfast"), ("x265-params", "log-level=error")), crf=26),
    "av1": _Encoder("libsvtav1", ("av1_nvenc", "av1_qsv"), (("preset", "9"),), crf=34, worst_crf=63,
                    even=True),
    "vp9": _Encoder("libvpx-vp9", ("vp9_qsv",), (("deadline", "realtime"), ("cpu-used", "6"), ("b", "0")),
                    crf=32, worst_crf=63),
    # ISO 14496-2: 16 bits for the steps of a second
    "mpeg4": _Encoder("mpeg4", options=_fixed_quality(4), even=True, most_steps=65535),
    "mjpeg": _Encoder("mjpeg", options=_fixed_quality(3)),
    "ffv1": _Encoder("ffv1", options=(("level", "3"), ("slicecrc", "1"))),
}  # fmt: skip
# Matrix -> primaries and transfer that go with it (ITU-T H.273): BT.709, BT.601 (Europe, America), BT.2020.
_USUAL: Final = {1: (1, 1), 5: (5, 6), 6: (6, 6), 9: (9, 14)}
_WITH_CRF: Final = ", ".join(codec for codec, encoder in _ENCODERS.items() if encoder.crf is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFormat:
    """What a video is to be: what the source was, and how the user wants it encoded."""

    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    pixel_format: str = "yuv420p"
    pixel_aspect: Fraction = Fraction(1)
    color: Color = UNTOLD
    full_range: bool = False
    codec: Codec = "h264"
    crf: int | None = None
    """Constant quality, lower is better; None: a good one for the codec."""
    hardware: bool = False
    """Encode on a GPU."""


def steps_of(format: VideoFormat) -> Fraction:
    """Return the time base to encode in: the format's, or if it is too fine for the codec, a coarser one."""
    most = _ENCODERS[format.codec].most_steps
    if format.time_base.denominator <= most:
        return format.time_base
    frames = format.rate.numerator
    return Fraction(1, most // frames * frames or most)  # a constant rate stays exact


def add_encoder(
    container: av.container.OutputContainer, format: VideoFormat, path: Path
) -> av.video.stream.VideoStream:
    """Add a video stream to the container that becomes `path`; its encoder is open.

    Raises ConfigError: a setting that the codec does not have, sizes that it cannot encode, no such encoder
    or hardware here, a container that does not take it.
    """
    encoder = _ENCODERS[format.codec]
    _check(encoder, format)
    os.environ.setdefault("SVT_LOG", "1")  # else the AV1 encoder talks on stderr
    name = _hardware(encoder, format) if format.hardware else encoder.software
    try:
        stream = container.add_stream(name, rate=format.rate)
    except UnknownCodecError as error:
        raise ConfigError(
            f"codec {format.codec}: the FFmpeg of this PyAV lacks {name}; choose another --codec, or install "
            "PyAV from PyPI"
        ) from error
    except ValueError as error:
        raise does_not_fit(format.codec, path) from error
    stream.time_base = steps_of(format)
    if container.format.name in ("mp4", "mov") and format.codec == "hevc":
        stream.codec_context.codec_tag = "hvc1"  # the only one that Apple plays
    try:
        _open(stream.codec_context, encoder, format)
    except av.error.FFmpegError as error:
        raise ConfigError(
            f"codec {format.codec} cannot encode pictures of {format.width}x{format.height} "
            f"({error.strerror}); choose another --codec"
        ) from error
    return stream


def does_not_fit(codec: str, path: Path) -> ConfigError:
    """Return the error for a codec that the container of `path` cannot hold."""
    what = "--codec vp9" if path.suffix.lower() == ".webm" else "--codec h264"
    return ConfigError(
        f"{path}: codec {codec} cannot be in a {path.suffix} file; choose {what}, or --out NAME.mkv"
    )


def _check(encoder: _Encoder, format: VideoFormat) -> None:
    if format.crf is not None and encoder.crf is None:
        raise ConfigError(
            f"codec {format.codec} has no constant quality; leave out --crf, or choose a --codec that has: "
            f"{_WITH_CRF}"
        )
    if format.crf is not None and not 0 <= format.crf <= encoder.worst_crf:
        raise ConfigError(
            f"--crf of codec {format.codec} must be 0 (best) to {encoder.worst_crf} (smallest), not "
            f"{format.crf}"
        )
    if encoder.even and (format.width % 2 or format.height % 2):
        raise ConfigError(
            f"codec {format.codec} needs an even width and height, and this video is "
            f"{format.width}x{format.height}; choose --codec h264"
        )


def _open(context: Any, encoder: _Encoder, format: VideoFormat) -> None:
    name = context.name
    context.width, context.height = format.width, format.height
    context.pix_fmt = _pixel_format(context.codec, format)
    context.time_base = steps_of(format)
    # a hint, the frames have times of their own; these bounds are SVT-AV1's
    context.framerate = min(max(format.rate, Fraction(1)), Fraction(240))
    context.sample_aspect_ratio = format.pixel_aspect
    context.color_range = 2 if format.full_range or format.codec == "mjpeg" else 1
    color = color_in(format)
    context.colorspace, context.color_primaries = color.matrix, color.primaries
    context.color_trc = color.transfer
    quality = encoder.crf if format.crf is None else format.crf
    options = dict(encoder.options) if name == encoder.software else {}
    if quality is not None:
        options |= {"crf": str(quality)} if name == encoder.software else hardware_quality(name, quality)
    context.options = options
    context.open()


def _pixel_format(codec: Any, format: VideoFormat) -> str:
    if format.codec == "mjpeg":
        return "yuvj420p"  # full range by nature
    can = {video_format.name for video_format in codec.video_formats or ()}
    # the same pixels in another order, which is the only one that Intel's encoders take
    return "nv12" if format.pixel_format == "yuv420p" and "yuv420p" not in can else format.pixel_format


def hardware_quality(name: str, crf: int) -> dict[str, str]:
    """Return options by which an encoder in hardware aims at about the quality of a `crf`."""
    match name.rpartition("_")[2]:
        case "nvenc":
            return {"rc": "vbr", "cq": str(max(1, crf))}  # 0 would be: as it likes
        case "qsv":
            return {"global_quality": str(min(max(1, crf), 51))}
        case _:  # VideoToolbox counts from 1 to 100, which is best
            return dict(_fixed_quality(max(1, round(100 * (1 - crf / 51)))))


def _hardware(encoder: _Encoder, format: VideoFormat) -> str:
    """The first encoder in hardware that works here: some are built in without a device being there."""
    for name in encoder.hardware:
        with contextlib.suppress(av.error.FFmpegError, ValueError):
            _open(av.CodecContext.create(name, "w"), encoder, format)
            return name
    raise ConfigError(
        f"no hardware encoder for {format.codec} works on this machine with pictures of "
        f"{format.width}x{format.height}; leave out --hardware"
    )


def color_in(format: VideoFormat) -> Color:
    """What a video's tags say: JPEG is BT.601, and MP4 has tags for all or none where the codec has none."""
    color = format.color
    if format.codec == "mjpeg":
        color = replace(color, matrix=5)
    if format.codec in ("mpeg4", "ffv1", "mjpeg") and color.matrix in _USUAL:
        primaries, transfer = _USUAL[color.matrix]
        color = Color(
            color.matrix,
            primaries if color.primaries == 2 else color.primaries,
            transfer if color.transfer == 2 else color.transfer,
        )
    return color
