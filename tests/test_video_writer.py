"""What a VideoWriter makes of frames, sound, subtitles and tags; and what it says where it cannot."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import make_clip, packets, pictures, times

from roadseg.errors import ConfigError, OutputError
from roadseg.media.encoders import hardware_quality
from roadseg.media.video_writer import VideoFormat, VideoWriter, count_frames

SOUND = {  # what encoders of FFmpeg take
    "aac": ("aac", "fltp"), "mp3": ("libmp3lame", "fltp"),
    "opus": ("libopus", "s16"), "flac": ("flac", "s16"),
}  # fmt: skip
TEXTS = {"subrip": b"%s", "ass": b"0,0,Default,,0,0,0,,%s", "webvtt": b"%s"}


def a_format(**settings: Any) -> VideoFormat:
    given = {"width": 64, "height": 48, "rate": Fraction(25), "time_base": Fraction(1, 25)}
    return VideoFormat(**(given | settings))


def a_video(path: Path, count: int = 5, pts: list[int] | None = None, **settings: Any) -> Path:
    """Encode moving pictures by a VideoWriter."""
    format = a_format(**settings)
    with VideoWriter(path, format) as writer:
        for i, rgb_HWC in enumerate(pictures(count, format.height, format.width)):
            frame = av.VideoFrame.from_ndarray(rgb_HWC, "rgb24").reformat(format=format.pixel_format)
            writer.write(frame, pts[i] if pts else i)
    return path


def pass_through(source: Path, out: Path, codec: Any = "h264") -> VideoWriter:
    """Write a video again, with everything that can be copied."""
    with av.open(source) as container:
        video = container.streams.video[0]
        copied = [*container.streams.audio, *container.streams.subtitles]
        format = a_format(
            width=video.width, height=video.height, rate=video.average_rate, time_base=video.time_base,
            codec=codec,
        )  # fmt: skip
        about = {"metadata": container.metadata, "chapters": container.chapters()}
        with VideoWriter(out, format, copied, **about) as writer:
            for packet in container.demux(video, *copied):
                if packet.stream is video:
                    for frame in packet.decode():
                        writer.write(frame, frame.pts)
                elif packet.pts is not None:
                    writer.copy(packet)
    return writer


def tone(codec: str, out: Any, stream: Any) -> Iterator[av.Packet]:
    """A second of sound."""
    kind = SOUND[codec][1]
    stream.codec_context.open(strict=False)
    size = stream.codec_context.frame_size or 1024
    for start in range(0, 48000 - size + 1, size):
        samples = np.sin(np.arange(start, start + size) / 20).astype(np.float32)[None]
        values = samples if kind == "fltp" else (samples * 9000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(values, kind, "mono")
        frame.sample_rate, frame.pts = 48000, start
        yield from stream.encode(frame)
    yield from stream.encode(None)


def rich_clip(path: Path, sound: str = "aac", texts: str = "", cues: Any = ((100, 500), (700, 200))) -> Path:
    """A second with a title, chapters, sound in two languages, perhaps subtitles: (start, length) in ms."""
    with av.open(path, "w") as out:
        out.metadata.update({"title": "A drive", "comment": "über Land", "encoder": "mine"})
        chapters = [(0, 400, "One"), (400, 1000, "Two")]
        out.set_chapters([
            {"id": i, "start": a, "end": b, "time_base": Fraction(1, 1000), "metadata": {"title": name}}
            for i, (a, b, name) in enumerate(chapters, 1)
        ])  # fmt: skip
        video = out.add_stream("mpeg4", rate=25, width=64, height=48)
        name, kind = SOUND[sound]
        tones = [out.add_stream(name, rate=48000, layout="mono", format=kind) for _ in range(2)]
        for stream, language, disposition in zip(tones, ("deu", "fra"), (0, 1), strict=True):
            stream.metadata.update({"language": language, "title": f"Ton {language}"})
            stream.disposition = disposition
        text = out.add_mux_stream(texts) if texts else None
        if text:
            text.time_base = Fraction(1, 1000)
            text.metadata["language"] = "eng"
        for i, rgb_HWC in enumerate(pictures(25, 48, 64)):
            frame = av.VideoFrame.from_ndarray(rgb_HWC, "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for stream in tones:
            out.mux(tone(sound, out, stream))
        for start, length in cues if text else ():
            words = b"%d ms" % start
            form = TEXTS.get(texts)
            packet = av.Packet(form % words if form else len(words).to_bytes(2, "big") + words)
            packet.pts = packet.dts = start
            packet.duration, packet.time_base, packet.stream = length, Fraction(1, 1000), text
            out.mux(packet)
    return path


def sound_of(path: Path) -> list[Any]:
    with av.open(path) as container:
        return [frame.to_ndarray() for frame in container.decode(audio=0)]


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# ---------------------------------------------------------------- times


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("codec", ["h264", "hevc", "mpeg4", "mjpeg"])
def test_the_last_frame_stays_as_long_as_the_one_before(tmp_path: Path, suffix: str, codec: str) -> None:
    """Whatever the order in which they are decoded: a video ends where its last picture does."""
    pts = [0, 40, 55, 140, 141, 200, 333, 500, 501, 502, 900, 1000]
    for count in (2, 5, 9, 12):
        path = tmp_path / f"{count}{suffix}"
        a_video(path, count, pts, codec=codec, time_base=Fraction(1, 1000), rate=Fraction(12))
        assert times(path) == [Fraction(p, 1000) for p in pts[:count]]
        end = Fraction(2 * pts[count - 1] - pts[count - 2], 1000)
        with av.open(path) as container:
            assert Fraction(container.duration, av.time_base) == end
            stream = container.streams.video[0]
            if stream.duration is not None:  # not in Matroska
                assert stream.duration * stream.time_base == end


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9", "mpeg4", "mjpeg", "ffv1"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_very_short_videos(tmp_path: Path, codec: str, count: int) -> None:
    """x265 makes up decoding times for fewer frames than it wants to reorder."""
    path = a_video(tmp_path / "a.mkv", count, [5, 6, 7], codec=codec, height=64, time_base=Fraction(1, 20))
    assert times(path) == [Fraction(i, 20) for i in (5, 6, 7)[:count]]
    if codec != "ffv1":
        path = a_video(
            tmp_path / "a.mp4", count, [5, 6, 7], codec=codec, height=64, time_base=Fraction(1, 20)
        )
        assert times(path) == [Fraction(i, 20) for i in (5, 6, 7)[:count]]


def test_a_time_base_that_mpeg4_cannot_count_in(tmp_path: Path) -> None:
    for rate in (Fraction(25), Fraction(30000, 1001)):
        pts = [round(i * 90000 / rate) for i in range(6)]
        settings: Any = {"codec": "mpeg4", "rate": rate, "time_base": Fraction(1, 90000)}
        found = times(a_video(tmp_path / f"{rate.numerator}.mp4", 6, pts, **settings))
        assert found == [i / rate for i in range(6)]  # exact, as its steps fit the rate
        # frames nearer to each other than its steps stay apart
        close = times(a_video(tmp_path / f"{rate.numerator}c.mp4", 6, [0, 1, 2, 3, 4000, 4001], **settings))
        assert len(set(close)) == 6
        assert all(
            abs(float(t) - p / 90000) < 1e-4 for t, p in zip(close, (0, 1, 2, 3, 4000, 4001), strict=True)
        )


def test_a_time_base_of_nanoseconds(tmp_path: Path) -> None:
    """MP4 could not hold a gap of 5 seconds in them."""
    pts = [0, 40_000_000, 5_000_000_000, 5_040_000_000]
    found = times(a_video(tmp_path / "a.mp4", 4, pts, time_base=Fraction(1, 10**9)))
    assert found == [Fraction(p, 10**9) for p in pts]


@pytest.mark.parametrize("rate", [Fraction(1, 2), Fraction(1000)])
def test_rates_beyond_those_of_av1(tmp_path: Path, rate: Fraction) -> None:
    path = a_video(tmp_path / "a.mp4", 4, height=64, codec="av1", rate=rate, time_base=1 / rate)
    assert times(path) == [i / rate for i in range(4)]


# ---------------------------------------------------------------- sound


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_sound_from_a_transport_stream(tmp_path: Path, suffix: str) -> None:
    """There each packet of AAC begins with a header (ADTS); in other files the stream has one."""
    source = make_clip(tmp_path / "in.ts", count=25, sound=True)
    out = tmp_path / f"out{suffix}"
    assert pass_through(source, out).damaged == 0
    was, now = packets(source, "audio"), packets(out, "audio")
    assert [data for _, data in now] == [data[7:] for _, data in was]
    assert all(abs(a - b) < Fraction(1, 1000) for (a, _), (b, _) in zip(was, now, strict=True))
    assert all((a == b).all() for a, b in zip(sound_of(source), sound_of(out), strict=True))
    with av.open(out) as container:
        assert container.streams.audio[0].codec_context.extradata
    assert all(abs(a - b) < Fraction(1, 1000) for a, b in zip(times(source), times(out), strict=True))


def test_a_damaged_packet_of_sound_is_left_out(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.ts", count=25, sound=True)
    with av.open(source) as container:
        audio = container.streams.audio[0]
        with VideoWriter(tmp_path / "out.mp4", a_format(), [audio]) as writer:
            for i in range(25):
                writer.write(av.VideoFrame(64, 48, "yuv420p"), i)
            for i, packet in enumerate(p for p in container.demux(audio) if p.pts is not None):
                broken = av.Packet(bytes(range(100)))
                broken.pts, broken.dts, broken.time_base = packet.pts, packet.dts, packet.time_base
                broken.stream = audio
                writer.copy(broken if i in (5, 6) else packet)
    assert writer.damaged == 2
    assert len(packets(tmp_path / "out.mp4", "audio")) == len(packets(source, "audio")) - 2
    assert sound_of(tmp_path / "out.mp4")


@pytest.mark.parametrize("codec", ["aac", "mp3", "opus"])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_sound_keeps_its_place_beside_the_pictures(tmp_path: Path, codec: str, suffix: str) -> None:
    """Encoders begin with some silence before time 0, which an MP4 hides."""
    source = rich_clip(tmp_path / "in.mp4", sound=codec)
    out = tmp_path / f"out{suffix}"
    pass_through(source, out)
    assert times(out) == times(source)
    was = {data: time for time, data in packets(source, "audio")}
    assert min(was.values()) < 0
    now = packets(out, "audio")
    assert all(abs(time - was[data]) <= Fraction(1, 1000) for time, data in now)
    assert len(now) >= len(was) - (codec != "opus")
    assert -0.03 < now[0][0] < 0.002
    with av.open(out) as container:
        assert container.start_time == 0


@pytest.mark.parametrize(
    ("sound", "suffix"), [("flac", ".mov"), ("opus", ".mov"), ("flac", ".m4v"), ("aac", ".webm")]
)
def test_sound_that_a_container_cannot_hold(tmp_path: Path, sound: str, suffix: str) -> None:
    source = rich_clip(tmp_path / "in.mkv", sound=sound)
    codec = "vp9" if suffix == ".webm" else "h264"
    with pytest.raises(
        ConfigError, match=rf"audio in {sound} cannot be copied into a {suffix}.*NAME\.mkv.*none"
    ):
        pass_through(source, tmp_path / f"out{suffix}", codec)
    assert left(tmp_path) == {"in.mkv"}


# ---------------------------------------------------------------- subtitles


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_subtitles_of_an_mp4_keep_their_times(tmp_path: Path, suffix: str) -> None:
    cues = ((100, 500), (700, 200), (900, 50), (2500, 100))
    source = rich_clip(tmp_path / "in.mp4", texts="mov_text", cues=cues)
    out = tmp_path / f"out{suffix}"
    writer = pass_through(source, out)
    said = [(time, data) for time, data in packets(out, "subtitles") if data != b"\0\0"]
    assert said == [(Fraction(a, 1000), b"\0" + bytes([len(b"%d ms" % a)]) + b"%d ms" % a) for a, _ in cues]
    assert writer.left_out == []
    with av.open(out) as container:
        assert [s.type for s in container.streams][:4] == ["video", "audio", "audio", "subtitle"]


@pytest.mark.parametrize("texts", ["subrip", "ass", "webvtt"])
def test_subtitles_that_a_container_cannot_hold_are_left_out(tmp_path: Path, texts: str) -> None:
    source = rich_clip(tmp_path / "in.mkv", texts=texts)
    writer = pass_through(source, tmp_path / "out.mp4")
    (sentence,) = writer.left_out
    assert (
        sentence
        == f"subtitles in {texts} (eng) are left out: a .mp4 file cannot hold them; --out NAME.mkv keeps them"
    )
    with av.open(tmp_path / "out.mp4") as container:
        assert not container.streams.subtitles
        assert len(container.streams.audio) == 2
    assert len(times(tmp_path / "out.mp4")) == 25
    assert pass_through(source, tmp_path / "out.mkv").left_out == []
    assert packets(tmp_path / "out.mkv", "subtitles") == packets(source, "subtitles")


def test_subtitles_of_an_mp4_do_not_fit_into_matroska(tmp_path: Path) -> None:
    source = rich_clip(tmp_path / "in.mp4", texts="mov_text")
    (sentence,) = pass_through(source, tmp_path / "out.mkv").left_out
    assert "mov_text" in sentence
    assert "NAME.mp4" in sentence


# ---------------------------------------------------------------- what a file says of itself


@pytest.mark.parametrize("given", [".mkv", ".mp4"])
@pytest.mark.parametrize("made", [".mkv", ".mp4", ".mov"])
def test_title_chapters_and_languages_are_kept(tmp_path: Path, given: str, made: str) -> None:
    source = rich_clip(tmp_path / f"in{given}")
    pass_through(source, tmp_path / f"out{made}")
    with av.open(tmp_path / f"out{made}") as out:
        about = {key.lower(): value for key, value in out.metadata.items()}
        assert (about["title"], about["comment"]) == ("A drive", "über Land")
        assert about["encoder"].startswith("Lavf")
        found = [
            (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]["title"])
            for c in out.chapters()
        ]
        assert found == [(0, Fraction(2, 5), "One"), (Fraction(2, 5), 1, "Two")]
        first, second = out.streams.audio
        assert second.language == "fra"
        assert made == ".mov" or first.language == "deu"  # QuickTime's German is read as the older "ger"
        assert [bool(s.disposition & 1) for s in (first, second)] == [False, True]
        names = [
            s.metadata.get("title") or s.metadata.get("name") or s.metadata.get("NAME")
            for s in (first, second)
        ]
        assert names == ["Ton deu", "Ton fra"]


def test_what_no_longer_holds_is_not_kept(tmp_path: Path) -> None:
    stale = {
        "major_brand": "qt  ",
        "ENCODER": "x",
        "DURATION-eng": "9",
        "_STATISTICS_TAGS": "BPS",
        "timecode": "1",
    }
    with VideoWriter(tmp_path / "a.mkv", a_format(), metadata=stale | {"title": "t"}) as writer:
        writer.write(av.VideoFrame(64, 48, "yuv420p"), 0)
    with av.open(tmp_path / "a.mkv") as out:
        assert set(out.metadata) == {"title", "ENCODER"}
        assert out.metadata["ENCODER"] != "x"


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_hevc_has_the_tag_that_apple_plays(tmp_path: Path, suffix: str) -> None:
    with av.open(a_video(tmp_path / f"a{suffix}", codec="hevc")) as out:
        assert out.streams.video[0].codec_context.codec_tag == "hvc1"


# ---------------------------------------------------------------- errors that say what to do


@pytest.mark.parametrize(
    ("suffix", "settings", "message"),
    [
        (".mov", {"codec": "av1"}, r"av1 cannot be in a \.mov file; choose --codec h264, or --out NAME\.mkv"),
        (".mov", {"codec": "vp9"}, r"vp9 cannot be in a \.mov"),
        (".mov", {"codec": "ffv1"}, r"ffv1 cannot be in a \.mov"),
        (".m4v", {"codec": "hevc"}, r"hevc cannot be in a \.m4v"),
        (".webm", {}, r"h264 cannot be in a \.webm file; choose --codec vp9"),
        (".avi", {}, r"suffix must be one of \.mp4"),
        (".mkv", {"codec": "h264", "crf": 52}, r"h264 must be 0 \(best\) to 51 \(smallest\), not 52"),
        (".mkv", {"codec": "hevc", "crf": 60}, r"hevc must be 0 \(best\) to 51"),
        (".mkv", {"codec": "av1", "crf": 64}, r"av1 must be 0 \(best\) to 63"),
        (
            ".mkv",
            {"codec": "mpeg4", "crf": 20},
            r"mpeg4 has no constant quality; leave out --crf.*h264, hevc",
        ),
        (".mkv", {"codec": "mjpeg", "crf": 20}, "mjpeg has no constant quality"),
        (".mkv", {"codec": "ffv1", "crf": 0}, "ffv1 has no constant quality"),
        (
            ".mkv",
            {"codec": "av1", "width": 65},
            "av1 needs an even width and height.*65x48; choose --codec h264",
        ),
        (".mkv", {"codec": "mpeg4", "height": 47}, "mpeg4 needs an even width and height.*64x47"),
        (
            ".mkv",
            {"codec": "hevc", "width": 8, "height": 8},
            "hevc cannot encode pictures of 8x8.*another --codec",
        ),
    ],
)
def test_settings_that_do_not_go_together(tmp_path: Path, suffix: str, settings: Any, message: str) -> None:
    odd = settings.get("width", 64) % 2 or settings.get("height", 48) % 2
    with pytest.raises(ConfigError, match=message):
        VideoWriter(
            tmp_path / f"a{suffix}", a_format(**settings, pixel_format="yuv444p" if odd else "yuv420p")
        )
    assert left(tmp_path) == set()


def test_the_largest_crf_is_one(tmp_path: Path) -> None:
    for codec, crf in {"h264": 51, "hevc": 51, "av1": 63, "vp9": 63}.items():
        assert count_frames(a_video(tmp_path / f"{codec}.mkv", codec=codec, crf=crf, height=64)) == 5


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_full_disk_is_no_fault_of_the_settings(tmp_path: Path, suffix: str) -> None:
    resource = pytest.importorskip("resource")
    noise = np.random.default_rng(0).integers(0, 256, (300, 480, 640), np.uint8)
    writer = VideoWriter(tmp_path / f"a{suffix}", a_format(width=640, height=320, codec="mjpeg"))

    def write() -> None:
        for i, values in enumerate(noise):
            writer.write(av.VideoFrame.from_ndarray(values, "yuvj420p"), i)

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        with pytest.raises(OutputError, match="make room"):
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.discard()
    assert left(tmp_path) == set()


def test_a_place_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="cannot be written"):
        VideoWriter(tmp_path / "file" / "a.mp4", a_format())
    (tmp_path / "a.partial.mp4").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        VideoWriter(tmp_path / "a.mp4", a_format())
    with pytest.raises(OutputError, match="cannot be read back"):
        count_frames(tmp_path / "file")


# ---------------------------------------------------------------- hardware


@pytest.mark.parametrize(
    "name",
    [
        "h264_nvenc",
        "hevc_nvenc",
        "av1_nvenc",
        "h264_qsv",
        "hevc_qsv",
        "av1_qsv",
        "vp9_qsv",
        "h264_videotoolbox",
    ],
)
def test_options_for_hardware_are_known_to_it(name: str) -> None:
    """Without the hardware itself, which would be needed to try them."""
    if name not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {name}")
    known = av.CodecContext.create(name, "w").supported_options
    ranges = {option.name: (option.min, option.max) for option in (*known.generic, *known.private)}
    for crf in (0, 23, 51):
        for option, value in hardware_quality(name, crf).items():
            low, high = ranges[option]
            assert not value.isdecimal() or low <= int(value) <= high


def test_quality_of_hardware() -> None:
    assert hardware_quality("h264_nvenc", 23) == {"rc": "vbr", "cq": "23"}
    assert hardware_quality("h264_nvenc", 0)["cq"] == "1"  # 0 would leave it to the encoder
    assert hardware_quality("av1_qsv", 60) == {"global_quality": "51"}
    best, worst = (int(hardware_quality("h264_videotoolbox", c)["global_quality"]) for c in (0, 51))
    assert (best, worst) == (100 * 118, 118)  # there, more is better
