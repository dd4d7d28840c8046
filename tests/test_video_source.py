"""Videos as cameras, converters and damage leave them: what the reader makes of their times and pictures."""

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from clips import make_clip, pictures, times
from conftest import another_run
from test_video import convert
from test_video_writer import rich_clip
from typer.testing import CliRunner

from roadseg.cli.app import app
from roadseg.errors import MediaError, OutputError
from roadseg.media.clock import Clock
from roadseg.media.resize import fit_size
from roadseg.media.video import FFmpegReader, _color_of
from roadseg.media.video_frame import Cut, Frame
from roadseg.report.video import VideoReport


def told(stamps: Sequence[int | None], *, jumps: bool) -> list[int]:
    clock = Clock(1 / 90000, 3600, jumps=jumps)
    return [clock.tell(stamp) for stamp in stamps]


def test_a_clock_that_starts_again_goes_on() -> None:
    hour = 3600 * 90000
    assert told([hour, hour + 3600, 0, 3600, 7200], jumps=True) == [hour + 3600 * i for i in range(5)]
    assert told([0, 3600, hour, hour + 3600], jumps=True) == [0, 3600, 7200, 10800]


def test_one_damaged_stamp_does_not_move_the_rest() -> None:
    for wrong in (5 * 90000, 10**9, 0):
        line = [90000 + 3600 * i for i in range(6)]
        assert told([*line[:3], wrong, *line[4:]], jumps=True) == line
    pause = [0, 3600, 5 * 90000, 5 * 90000 + 3600, 5 * 90000 + 7200]
    assert told(pause, jumps=True) == [0, 3600, 7200, *pause[3:]]


def test_a_clock_fills_in_what_is_not_said_or_runs_back() -> None:
    assert told([0, None, 7200], jumps=False) == [0, 3600, 7200]
    assert told([0, 3600, 3600, 10800], jumps=False) == [0, 3600, 7200, 10800]


def test_a_clock_counts_gaps_of_a_steady_rate_alone() -> None:
    steady = Clock(1 / 1000, 40, jumps=False)
    for frame in [*range(60), *range(65, 100)]:
        steady.tell(40 * frame + (frame % 3 == 0))  # Matroska rounds
    assert steady.lost == 5
    loose = Clock(1 / 1000, 40, jumps=False)
    for frame in range(50):
        loose.tell(frame * frame * 40)
    assert loose.lost == 0


def cut_off(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".avi", ".mov"])
def test_a_file_that_ends_early_is_told_of(tmp_path: Path, suffix: str) -> None:
    codec = {".webm": "libvpx-vp9", ".avi": "mpeg4"}.get(suffix, "libx264")
    path = make_clip(tmp_path / f"in{suffix}", count=100, codec=codec, options={"g": "10"})
    if suffix == ".mov":  # its index must be in front to be cut short at all
        path = make_clip(tmp_path / "in.mp4", count=100)
    report = convert(cut_off(path, 0.6), tmp_path / "out.mp4")
    assert report.exit_code == 3
    assert report.facts["missing"] + report.facts["damaged"] > 10
    assert report.facts["frames_written"] > 20


def test_a_hole_in_the_middle_is_told_of(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "in.mkv", count=200, size=(96, 128), options={"g": "10"})
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    path.write_bytes(data)
    report = convert(path, tmp_path / "out.mp4")
    assert report.exit_code == 3
    assert report.facts["missing"] + report.facts["damaged"] > 10
    assert times(tmp_path / "out.mp4")[-1] == pytest.approx(199 / 25, abs=0.01)


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".avi", ".mp4", ".ts", ".mov"])
@pytest.mark.parametrize("sound", [False, True])
def test_whole_files_miss_nothing(tmp_path: Path, suffix: str, sound: bool) -> None:
    codec = {".webm": "libvpx-vp9", ".avi": "mpeg4"}.get(suffix, "libx264")
    if suffix == ".webm" and sound:
        pytest.skip("WebM holds no AAC")
    path = make_clip(tmp_path / f"in{suffix}", count=30, codec=codec, sound=sound, options={"g": "10"})
    report = convert(path, tmp_path / "out.mkv")
    assert (report.exit_code, report.facts["frames_written"]) == (0, 30)


def remuxed(source: Path, path: Path, shift: float = 0.0, **options: str) -> Path:
    """The same packets in another file, `shift` seconds later."""
    with av.open(str(source)) as given, av.open(str(path), "w", options=options) as out:
        streams = {s.index: out.add_stream_from_template(s, opaque=True) for s in given.streams}
        for packet in given.demux():
            if packet.dts is not None:
                steps = round(shift / packet.time_base)
                packet.pts, packet.dts = packet.pts + steps, packet.dts + steps
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    return path


def test_a_file_trimmed_by_its_edit_list_is_whole(tmp_path: Path) -> None:
    """As `ffmpeg -ss 0.5 -c copy` makes them: frames before the start are stored, and not shown."""
    source = make_clip(tmp_path / "whole.mp4", count=50, options={"g": "50", "bf": "0"})
    path = remuxed(source, tmp_path / "in.mp4", -0.52)
    report = convert(path, tmp_path / "out.mp4")
    assert (report.facts["missing"], report.exit_code) == (0, 0)


def test_a_clock_that_starts_late_starts_at_nought(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "whole.mkv", sound=True)
    path = remuxed(source, tmp_path / "in.mkv", 3000.0)
    report = convert(path, tmp_path / "out.mkv")
    assert [float(t) for t in times(tmp_path / "out.mkv")] == pytest.approx(
        [i / 25 for i in range(12)], abs=0.03
    )
    assert report.seconds[0] == pytest.approx(0, abs=0.03)
    part = convert(path, tmp_path / "part.mkv", start=0.2, end=0.4)
    assert part.facts["frames_written"] == 5


def test_joined_recordings_go_on_where_the_clock_starts_again(tmp_path: Path) -> None:
    first = make_clip(tmp_path / "a.ts", count=25)
    path = tmp_path / "in.ts"
    path.write_bytes(first.read_bytes() * 2)
    report = convert(path, tmp_path / "out.mp4")
    shown = times(tmp_path / "out.mp4")
    assert report.facts["frames_written"] == len(shown) >= 49
    assert float(shown[-1]) == pytest.approx(49 / 25, abs=0.1)
    assert np.diff([float(t) for t in shown]).max() < 0.1


def test_an_end_keeps_sound_that_lies_behind_the_pictures(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "in.mp4", count=100, sound=True)  # writes all of the sound last
    convert(path, tmp_path / "out.mp4", end=1.0)
    with av.open(str(tmp_path / "out.mp4")) as container:
        sound = [p.pts * p.time_base for p in container.demux(audio=0) if p.pts is not None]
    assert 0.9 < max(sound) < 1.0


def test_a_colon_in_a_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_clip(tmp_path / "12:30 drive.mp4")
    monkeypatch.chdir(tmp_path)
    with FFmpegReader("12:30 drive.mp4", lambda h, w: (h, w)) as reader:
        assert sum(isinstance(item, Frame) for item in reader) == 12
    with pytest.raises(MediaError, match="empty"):
        FFmpegReader("", lambda h, w: (h, w))


def test_motion_jpeg_keeps_its_colours(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / "in.avi", codec="mjpeg", pixel_format="yuvj420p", options={"qmin": "1", "qmax": "2"}
    )
    expected = pictures(12, 48, 64)[0].astype(float)
    for codec in ("h264", "mjpeg"):
        out = tmp_path / f"{codec}.mkv"
        convert(path, out, codec=codec, opacity=0.0, crf=1 if codec == "h264" else None)
        with av.open(str(out)) as container:
            shown = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(float)
        top = np.s_[:16]  # without road
        assert abs(shown[top].mean() - expected[top].mean()) < 3, codec
        assert abs(shown[top].std() - expected[top].std()) < 6, codec


def test_pixels_that_are_not_square_stay_so(tmp_path: Path) -> None:
    path = tmp_path / "in.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for picture in pictures(5, 48, 64):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        out.mux(stream.encode(None))
    for suffix in (".mp4", ".mkv"):
        convert(path, tmp_path / f"out{suffix[1:]}{suffix}")
        with av.open(str(tmp_path / f"out{suffix[1:]}{suffix}")) as container:
            assert next(container.decode(video=0)).width == 64
            assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


def test_the_last_frame_of_vp9_in_mp4_is_there(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "in.mp4", count=40, codec="libvpx-vp9", options={"g": "10"})
    with FFmpegReader(str(path), lambda h, w: fit_size(h, w, 64), Cut()) as reader:
        assert sum(isinstance(item, Frame) for item in reader) == 40
        assert reader.missing == 0
    report = convert(path, tmp_path / "out.mp4", codec="vp9")
    assert json.loads((tmp_path / "out.json").read_text())["frames_written"] == 40
    assert report.exit_code == 0


def test_title_language_and_chapters_are_kept_and_moved_with_the_frames(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.mkv", count=50, sound=True)
    with av.open(str(whole)) as given, av.open(str(tmp_path / "in.mkv"), "w") as out:
        out.metadata["title"] = "To the sea"
        go = {"id": 1, "start": 3000, "end": 3001, "time_base": Fraction(1), "metadata": {"title": "Go"}}
        out.set_chapters([go])
        streams = {s.index: out.add_stream_from_template(s, opaque=True) for s in given.streams}
        streams[1].metadata["language"] = "fra"
        for packet in given.demux():
            if packet.dts is not None:
                steps = round(3000 / packet.time_base)
                packet.pts, packet.dts = packet.pts + steps, packet.dts + steps
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    convert(tmp_path / "in.mkv", tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as made:
        assert made.metadata["title"] == "To the sea"
        assert made.streams.audio[0].language == "fra"
        (chapter,) = made.chapters()
        assert chapter["metadata"] == {"title": "Go"}
        assert float(chapter["start"] * chapter["time_base"]) == pytest.approx(0, abs=0.03)
    convert(tmp_path / "in.mkv", tmp_path / "part.mkv", start=1.0)
    with av.open(str(tmp_path / "part.mkv")) as made:
        assert not made.chapters()


def test_subtitles_that_do_not_fit_are_left_out_and_told_of(
    tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rich_clip(tmp_path / "in.mkv", texts="subrip")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["video", "in.mkv", "-w", str(tiny_weights)])
    assert result.exit_code == 0
    assert "subtitles in subrip (eng) are left out" in " ".join(result.stderr.split())
    assert "subrip" in json.loads((tmp_path / "in.roadseg.json").read_text())["left_out"][0]


# ---------------------------------------------------------------- parts, colours, and who owns what


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".ts", "libx264"), (".mpg", "mpeg2video"), (".h264", "libx264")]
)
def test_a_part_has_every_frame_from_its_start_on(tmp_path: Path, suffix: str, codec: str) -> None:
    path = make_clip(tmp_path / f"in{suffix}", count=100, codec=codec, options={"g": "50", "bf": "0"})
    report = convert(path, tmp_path / "out.mp4", start=1.32, end=2.52)
    assert report.facts["frames_written"] == pytest.approx(30, abs=1)
    assert float(times(tmp_path / "out.mp4")[0]) == pytest.approx(0, abs=0.041)


def test_a_part_keeps_pictures_and_sound_together(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "in.mp4", count=50, sound=True)  # 1/25 s a step
    convert(path, tmp_path / "out.mp4", start=0.5, end=1.5)
    assert times(tmp_path / "out.mp4")[0] == Fraction(1, 50)  # the first one from 0.5 on is at 0.52
    assert len(times(tmp_path / "out.mp4")) == 25
    with av.open(str(path)) as given:
        later = [p.pts * p.time_base for p in given.demux(audio=0) if p.pts is not None]
    with av.open(str(tmp_path / "out.mp4")) as made:
        first = next(p.pts * p.time_base for p in made.demux(audio=0))
    assert float(first) == pytest.approx(float(min(t for t in later if t >= 0.5) - Fraction(1, 2)), abs=0.001)


def test_the_last_frame_is_shown_as_long_as_it_was(tmp_path: Path) -> None:
    pts = [*range(9), 250]
    path = make_clip(tmp_path / "in.mp4", count=10, pts=pts, options={"bf": "0", "preset": "ultrafast"})
    convert(path, tmp_path / "out.mp4")
    with av.open(str(path)) as given, av.open(str(tmp_path / "out.mp4")) as made:
        assert made.duration == pytest.approx(given.duration, abs=50_000)


def test_matroska_from_a_late_time_on_misses_nothing(tmp_path: Path) -> None:
    path = remuxed(make_clip(tmp_path / "whole.mkv", count=75), tmp_path / "in.mkv", 60.0)
    report = convert(path, tmp_path / "out.mp4")
    assert (report.exit_code, report.facts["frames_written"]) == (0, 75)


@pytest.mark.parametrize("sound", [False, True])
def test_a_time_lapse_in_matroska_misses_nothing(tmp_path: Path, sound: bool) -> None:
    """FFmpeg has no start of such a stream, and while it decodes it guesses a wrong one."""
    options = {"g": "10", "bf": "0"}
    path = make_clip(tmp_path / "in.mkv", count=40, rate=Fraction(1), options=options, sound=sound)
    report = convert(path, tmp_path / "out.mkv")
    assert (report.facts["missing"], report.facts["frames_written"]) == (0, 40)


def test_nut_from_a_late_time_on_misses_nothing(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.mp4", count=75, options={"bf": "0"})
    report = convert(remuxed(whole, tmp_path / "in.nut", 5.0), tmp_path / "out.mp4")
    assert (report.facts["missing"], report.facts["frames_written"]) == (0, 75)


@pytest.mark.parametrize("stamps", [[1000 * i for i in range(12)], [*range(50), *range(60, 110)]])
def test_avi_s_empty_packets_are_no_missing_frames(tmp_path: Path, stamps: list[int]) -> None:
    """They show the frame before again, and FFmpeg writes them into gaps, and behind a last long frame."""
    made = make_clip(tmp_path / "made.avi", count=len(stamps), pts=stamps, codec="mpeg4")
    with av.open(str(made)) as given, av.open(str(tmp_path / "in.avi"), "w") as out:
        stream = out.add_stream_from_template(given.streams.video[0], opaque=True)
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream, packet.duration = stream, 1000 if packet.pts == stamps[-1] else 1
                out.mux(packet)
    report = convert(tmp_path / "in.avi", tmp_path / "out.mp4")
    assert (report.facts["missing"], report.facts["frames_written"]) == (0, len(stamps))
    report = convert(cut_off(tmp_path / "in.avi", 0.4), tmp_path / "short.mp4")
    assert report.facts["missing"] > 2


def test_an_avi_without_the_index_at_its_end_misses_frames(tmp_path: Path) -> None:
    """FFmpeg makes up an index of the key frames that it looks at first: here of all that are left."""
    path = make_clip(tmp_path / "in.avi", count=100, options={"g": "1"})
    report = convert(cut_off(path, 0.2), tmp_path / "out.mp4")
    assert report.facts["missing"] + report.facts["damaged"] + report.facts["frames_written"] >= 99


@pytest.mark.parametrize("codec", ["h264", "mpeg4", "ffv1", "mjpeg"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_colours_mean_the_same_in_every_codec(tmp_path: Path, codec: str, suffix: str) -> None:
    path = tmp_path / "in.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        context = stream.codec_context
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = 2, 1, 1, 1
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), (200, 60, 20), np.uint8), "rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="JPEG")
        for i in range(5):
            frame.pts = i
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    convert(path, tmp_path / f"out{suffix}", codec=codec, opacity=0.0)
    with av.open(str(tmp_path / f"out{suffix}")) as made:
        shown = next(made.decode(video=0))
        rgb = shown.to_ndarray(format="rgb24")[:16].reshape(-1, 3).mean(0)
        np.testing.assert_allclose(rgb, (200, 60, 20), atol=6)
        assert int(shown.color_primaries) == int(shown.color_trc) == 1


def test_what_a_video_does_not_say_of_its_colours_is_not_made_up(tmp_path: Path) -> None:
    convert(make_clip(tmp_path / "in.mp4"), tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as made:
        shown = next(made.decode(video=0))
        assert (int(shown.colorspace), int(shown.color_primaries), int(shown.color_trc)) == (2, 2, 2)


def test_masks_are_one_run_s_alone(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4")
    shared = {"masks": str(tmp_path / "masks"), "mask_video": str(tmp_path / "masks.mkv")}
    for name, place in shared.items():
        with another_run(Path(place)), pytest.raises(OutputError, match="another run"):
            convert(source, tmp_path / "b.mp4", **{name: place})
    for suffix in (".mp4", ".mkv"):  # whose table is one
        with another_run(tmp_path / "q"), pytest.raises(OutputError, match="another run"):
            convert(source, tmp_path / f"q{suffix}")


@pytest.mark.parametrize("name", ["out.partial.mp4", "out.indexed.partial.mp4"])
def test_a_partial_file_of_somebody_elses_is_left_alone(tmp_path: Path, name: str) -> None:
    source = make_clip(tmp_path / "in.mp4")
    (tmp_path / name).write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="move it away"):
            convert(source, tmp_path / "out.mp4", overwrite=overwrite)
    assert (tmp_path / name).read_text() == "precious"


def test_results_are_known_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_clip(tmp_path / "in.mp4")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    convert(source, Path("sub/out.mp4"))
    monkeypatch.chdir(tmp_path / "sub")
    convert(source, Path("out.mp4"), overwrite=True)


def test_results_do_not_lie_among_the_pictures(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), pictures(1, 48, 64)[0])
    for settings in (
        {"out": tmp_path / "out.mp4"},
        {"out": tmp_path.parent / "o.mp4", "masks": f"{tmp_path}/m"},
    ):
        with pytest.raises(OutputError, match="among the pictures"):
            convert(tmp_path, **settings)


def test_a_second_camera_is_not_dropped_without_a_word(tmp_path: Path) -> None:
    with (
        av.open(str(make_clip(tmp_path / "one.mkv"))) as given,
        av.open(str(tmp_path / "in.mkv"), "w") as out,
    ):
        both = [out.add_stream_from_template(given.streams.video[0], opaque=True) for _ in range(2)]
        for packet in given.demux():
            if packet.dts is not None:
                times_ = packet.pts, packet.dts
                for stream in both:
                    packet.pts, packet.dts = times_
                    packet.stream = stream
                    out.mux(packet)
    report = convert(tmp_path / "in.mkv", tmp_path / "out.mp4")
    assert report.exit_code == 0
    assert "video stream 1 is left out" in report.facts["left_out"][0]


def test_an_overwriting_run_that_was_killed_can_be_run_again(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4")
    convert(source, tmp_path / "out.mp4")
    VideoReport(settings={}).announce(tmp_path / "out.json", {"video": str(tmp_path / "out.mp4")})
    (tmp_path / "out.partial.mp4").write_bytes(b"half")  # as `kill -9` leaves it
    with pytest.raises(OutputError, match="--overwrite"):
        convert(source, tmp_path / "out.mp4")
    convert(source, tmp_path / "out.mp4", overwrite=True)
    assert not (tmp_path / "out.partial.mp4").exists()


def test_odd_names_for_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_clip(tmp_path / "in.mp4")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    for settings in ({"out": Path(".")}, {"out": Path("a.mp4"), "mask_video": "."}):
        with pytest.raises(OutputError, match="no name for a video"):
            convert(source, **settings)  # type: ignore[arg-type]
    convert(source, tmp_path / "out.mp4", masks=".")
    assert (tmp_path / "empty" / "000011.png").exists()


def test_pixels_in_another_order_keep_their_matrix(tmp_path: Path) -> None:
    for name, matrix in (("nv12", 1), ("yuv420p", 1), ("rgb24", 6), ("gray", 1)):
        frame = av.VideoFrame(64, 48, name)
        frame.colorspace = 1
        assert _color_of(frame).matrix == matrix, name
