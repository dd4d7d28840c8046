"""Tiny videos for tests, each with something that real ones have."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from roadseg.labels import UInt8Array


def texture(height: int, width: int, seed: int = 0) -> UInt8Array:
    """Coarse noise, rgb: something that optical flow can hold on to."""
    rng = np.random.default_rng(seed)
    small = rng.integers(30, 220, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
    return np.kron(small, np.ones((8, 8, 1), np.uint8))[:height, :width]


def pictures(count: int, height: int, width: int) -> list[UInt8Array]:
    """A picture that moves to the left by a pixel a frame."""
    wide = texture(height, width + count)
    return [np.ascontiguousarray(wide[:, i : i + width]) for i in range(count)]


def make_clip(
    path: Path,
    count: int = 12,
    size: tuple[int, int] = (48, 64),
    rate: Fraction = Fraction(25),
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    sound: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a video; `pts` in steps of `time_base` (default: one step a frame)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    container_options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=container_options) as out:
        video = out.add_stream(codec, rate=rate, options=options or {"g": "6", "preset": "ultrafast"})
        video.height, video.width = size
        video.pix_fmt = pixel_format
        video.codec_context.time_base = time_base or 1 / rate
        tone = out.add_stream("aac", rate=48000, layout="mono") if sound else None
        for i, rgb_HWC in enumerate(pictures(count, *size)):
            frame = av.VideoFrame.from_ndarray(rgb_HWC, "rgb24")
            frame.pts, frame.time_base = (pts[i] if pts else i), time_base or 1 / rate
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if tone:
            samples = np.sin(np.arange(int(48000 * count / rate)) / 20).astype(np.float32)
            for start in range(0, len(samples) - 1023, 1024):
                sound_frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], "fltp", "mono")
                sound_frame.sample_rate, sound_frame.pts = 48000, start
                out.mux(tone.encode(sound_frame))
            out.mux(tone.encode(None))
    return path


def turn(path: Path) -> Path:
    """Write into an MP4's track header that it is to be shown turned right by 90 degrees, as phones do."""
    data = bytearray(path.read_bytes())
    # ISO 14496-12, 8.3.2: the matrix lies 44 bytes behind the name of a version 0 box
    place = data.index(b"tkhd") + 44
    data[place : place + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def times(path: Path) -> list[Fraction]:
    """When each decoded frame is shown."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [frame.pts * stream.time_base for frame in container.decode(stream)]


def decoded(path: Path) -> list[UInt8Array]:
    """Every frame as rgb_HWC."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def packets(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    """Time and bytes of each packet of the first stream of a kind (audio, subtitle, video)."""
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        found = [p for p in container.demux(stream) if p.pts is not None]
        return [(p.pts * p.time_base, bytes(p)) for p in found]
