"""`roadseg video` from file to file: times, sound, sizes, damage, interruption; nothing broken is left."""

import csv
import json
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Any
from unittest.mock import patch

import av
import cv2
import numpy as np
import pytest
import torch
from clips import decoded, make_clip, packets, texture, times, turn
from conftest import another_run
from torch import Tensor
from typer.testing import CliRunner

from roadseg.cli.app import app
from roadseg.config import VideoConfig
from roadseg.engine.video import segment_video
from roadseg.engine.video_output import _consistency
from roadseg.errors import MediaError, OutputError, RoadsegError
from roadseg.labels import UInt8Array, get_scheme
from roadseg.media.output import alone_at
from roadseg.media.resize import fit_size
from roadseg.media.video import FFmpegReader
from roadseg.media.video_frame import Frame
from roadseg.media.video_writer import VideoWriter, count_frames
from roadseg.report.video import Thumbnails, VideoReport


class LowerHalf:
    """Stands in for a Predictor: the lower half is road, whatever the picture."""

    scheme = get_scheme("road")
    device = torch.device("cpu")
    batch_size = 2
    calls_ahead = 3

    def facts(self) -> dict[str, Any]:
        return {"runtime": "none"}

    def threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(2)

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        return fit_size(height, width, 64)

    def logits(self, images: Sequence[UInt8Array]) -> list[Tensor]:
        results = []
        for rgb_HWC in images:
            logits_1hw = torch.full((1, *rgb_HWC.shape[:2]), -4.0)
            logits_1hw[:, rgb_HWC.shape[0] // 2 :] = 4.0
            results.append(logits_1hw)
        return results

    def mask(self, logits_Khw: Tensor, size: tuple[int, int]) -> UInt8Array:
        large_HW = cv2.resize(logits_Khw[0].numpy(), size[::-1], interpolation=cv2.INTER_NEAREST)
        return (large_HW >= 0).astype(np.uint8)


def convert(source: Path, out: Path, stop: Event | None = None, **settings: Any) -> VideoReport:
    report = VideoReport(settings={})
    predictor: Any = settings.pop("predictor", LowerHalf())
    config = VideoConfig(out=str(out), **{"html": False, **settings})
    segment_video(config, predictor, str(source), report, stop=stop)
    return report


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# ---------------------------------------------------------------- times


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(24000, 1001)])
def test_times_are_the_inputs_own(tmp_path: Path, rate: Fraction) -> None:
    source = make_clip(tmp_path / "in.mp4", rate=rate)
    report = convert(source, tmp_path / "out.mp4")
    assert times(tmp_path / "out.mp4") == times(source) == [i / rate for i in range(12)]
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].average_rate == rate
        assert container.duration == pytest.approx(12 / rate * av.time_base, abs=1)
    assert report.exit_code == 0


def test_a_variable_frame_rate_stays(tmp_path: Path) -> None:
    pts = [0, 40, 55, 140, 141, 200, 333, 500, 501, 502, 900, 1000]
    source = make_clip(tmp_path / "in.mp4", pts=pts, time_base=Fraction(1, 1000))
    convert(source, tmp_path / "out.mp4")
    assert times(tmp_path / "out.mp4") == times(source) == [Fraction(p, 1000) for p in pts]
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert [float(row["seconds"]) for row in rows] == [p / 1000 for p in pts]


@pytest.mark.parametrize(
    ("given", "made", "codec"),
    [(".mkv", ".mkv", "libx264"), (".avi", ".mp4", "mpeg4"), (".webm", ".webm", "libvpx-vp9"),
     (".mov", ".mov", "mjpeg"), (".ts", ".mp4", "mpeg2video")],
)  # fmt: skip
def test_containers(tmp_path: Path, given: str, made: str, codec: str) -> None:
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    source = make_clip(tmp_path / f"in{given}", codec=codec, pixel_format=pixels, options={"g": "6"})
    out = tmp_path / f"out{made}"
    convert(source, out, codec="vp9" if made == ".webm" else "h264")
    shown = [float(t - times(source)[0]) for t in times(source)]  # MPEG-TS begins at any time
    assert [float(t) for t in times(out)] == pytest.approx(shown, abs=0.001)


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9", "mpeg4", "mjpeg", "ffv1"])
def test_codecs(tmp_path: Path, codec: str, capfd: pytest.CaptureFixture[str]) -> None:
    source = make_clip(tmp_path / "in.mp4", size=(64, 128))
    out = tmp_path / "out.mkv"
    convert(source, out, codec=codec)
    assert len(decoded(out)) == 12
    assert "x265 [info]" not in capfd.readouterr().err


def test_a_part_and_a_stride(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", count=50, sound=True)
    convert(source, tmp_path / "out.mp4", start=0.5, end=1.5, stride=5)
    # frames 13 (0.52 s) to 37, every fifth; the times count from the start of the part
    assert times(tmp_path / "out.mp4") == [Fraction(i, 25) - Fraction(1, 2) for i in range(13, 38, 5)]
    sound = packets(tmp_path / "out.mp4", "audio")
    assert abs(len(sound) - 1.0 * 48000 / 1024) <= 2
    assert -0.05 < sound[0][0] < 0.05


# ---------------------------------------------------------------- what is kept


def test_sound_is_copied_to_the_byte(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", count=25, sound=True)
    convert(source, tmp_path / "out.mp4")
    assert packets(tmp_path / "out.mp4", "audio") == packets(source, "audio")
    convert(source, tmp_path / "silent.mp4", audio="none")
    with av.open(str(tmp_path / "silent.mp4")) as container:
        assert not container.streams.audio


def test_sound_that_does_not_fit_the_container_is_told_of(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", sound=True)
    with pytest.raises(RoadsegError, match="--audio none"):
        convert(source, tmp_path / "out.webm", codec="vp9")
    assert left(tmp_path) == {"in.mp4"}


@pytest.mark.parametrize("size", [(48, 64), (49, 64), (48, 65), (49, 65), (2, 2)])
def test_sizes_are_kept(tmp_path: Path, size: tuple[int, int]) -> None:
    source = make_clip(tmp_path / "in.mkv", size=size, pixel_format="yuv444p")
    convert(source, tmp_path / "out.mp4")
    frames = decoded(tmp_path / "out.mp4")
    assert {frame.shape for frame in frames} == {(*size, 3)}


def test_a_rotation_is_applied(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", size=(48, 64))
    upright = [np.rot90(frame, -1) for frame in decoded(source)]
    convert(turn(source), tmp_path / "out.mp4", view="contour", crf=5)
    frames = decoded(tmp_path / "out.mp4")
    assert frames[0].shape == (64, 48, 3)
    top = slice(0, 28)  # above the contour
    assert np.abs(frames[5][top].astype(int) - upright[5][top]).mean() < 6
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert next(container.decode(video=0)).rotation == 0


@pytest.mark.parametrize(("matrix", "full_range"), [(1, 1), (6, 1), (1, 2)])
def test_colour_matrix_and_range_are_kept(tmp_path: Path, matrix: int, full_range: int) -> None:
    with av.open(str(tmp_path / "in.mkv"), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.colorspace, video.codec_context.color_range = matrix, full_range
        frame = av.VideoFrame.from_ndarray(np.full((72, 64), 100, np.uint8), "yuv420p")
        out.mux(video.encode(frame))
        out.mux(video.encode(None))
    convert(tmp_path / "in.mkv", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (int(frame.colorspace), int(frame.color_range)) == (matrix, full_range)


def test_it_plays_while_it_loads(tmp_path: Path) -> None:
    convert(make_clip(tmp_path / "in.mp4"), tmp_path / "out.mp4")
    data = (tmp_path / "out.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    with av.open(str(tmp_path / "out.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")


# ---------------------------------------------------------------- outputs


def test_masks_table_report_and_mask_video_agree(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", size=(48, 64))
    convert(source, tmp_path / "out.mp4", mask_video=str(tmp_path / "m.mkv"), masks=str(tmp_path / "masks"))
    masks = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted((tmp_path / "masks").iterdir())]
    assert len(masks) == 12
    assert masks[0] is not None
    assert (masks[0][:24] == 0).all()
    assert (masks[0][24:] == 255).all()
    assert all((a[..., 0] == b).all() for a, b in zip(decoded(tmp_path / "m.mkv"), masks, strict=True))
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert [float(row["road_percent"]) for row in rows] == [50.0] * 12
    assert [float(row["changed_percent"]) for row in rows] == [0.0] * 12
    assert float(rows[0]["confidence"]) == pytest.approx(0.982, abs=0.001)  # the sigmoid of 4
    report = json.loads((tmp_path / "out.json").read_text())
    assert (report["frames_written"], report["frames_found_in_the_output"]) == (12, 12)
    assert report["exit_code"] == 0
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


class Blinks(LowerHalf):
    """Every second frame has road in the lower quarter alone (in batches of two)."""

    def logits(self, images: Sequence[UInt8Array]) -> list[Tensor]:
        results = super().logits(images)
        for logits_1hw in results[1::2]:
            logits_1hw[:, : logits_1hw.shape[1] * 3 // 4] = -4.0
        return results


@pytest.mark.parametrize(("predictor", "steady"), [(LowerHalf(), 1.0), (Blinks(), 0.5)])
def test_masks_that_flicker_are_told(tmp_path: Path, predictor: Any, steady: float) -> None:
    source, settings = make_clip(tmp_path / "in.mp4"), {"smooth": 0.0, "batch_size": 2}
    report = convert(source, tmp_path / "out.mp4", predictor=predictor, html=True, **settings)
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert rows[0]["consistency"] == ""
    each = [float(row["consistency"]) for row in rows[1:]]
    assert each == pytest.approx([steady] * 11, abs=0.06)  # the flow is not exact in so small a picture
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["mean_consistency"] == pytest.approx(sum(each) / 11, abs=1e-4)
    assert document["mean_consistency"] == report.to_dict()["mean_consistency"]
    page = (tmp_path / "out.html").read_text()
    assert f"<strong>{100 * document['mean_consistency']:.2f}</strong>" in page
    assert page.count("Temporal consistency") > 2  # a number, a curve, and what it means


def test_consistency_of_masks_as_shown_worked_by_hand() -> None:
    """Flow of 4x2 for masks of 8x4: columns 0-3 are road, then 0-5; then what was at x + 1 is at x."""
    masks = [np.zeros((4, 8), np.uint8) for _ in range(2)]
    masks[0][:, :4] = masks[1][:, :6] = 1
    still = np.dstack(np.meshgrid(np.arange(4), np.arange(2))).astype(np.float32)
    assert _consistency(*masks, 1, still) == 2 / 3
    moved = still + np.array([1, 0], np.float32)  # the last column came into view
    assert _consistency(*masks, 1, moved) == 1 / 3
    assert _consistency(*masks, 0, still) == 1 / 2


def test_a_page_to_look_at(tmp_path: Path) -> None:
    source, out = make_clip(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    convert(source, out, html=True)
    html = (tmp_path / "out.html").read_text()
    assert "Road, on average" in html
    assert ">50.0<" in html
    assert html.count('src="data:image/jpeg') == 8
    convert(source, out, html=True, overwrite=True)
    (tmp_path / "out.html").write_text("mine")
    with pytest.raises(OutputError, match=r"out\.html: is there already, and no report of roadseg's"):
        convert(source, out, html=True, overwrite=True)
    assert (tmp_path / "out.html").read_text() == "mine"
    assert out.exists()


@pytest.mark.parametrize(
    ("view", "width"), [("overlay", 64), ("contour", 64), ("mask", 64), ("side-by-side", 130)]
)
def test_views(tmp_path: Path, view: str, width: int) -> None:
    source = make_clip(tmp_path / "in.mp4", size=(48, 64))
    convert(source, tmp_path / "out.mp4", view=view, crf=4)
    was, frame = decoded(source)[3].astype(int), decoded(tmp_path / "out.mp4")[3].astype(int)
    assert frame.shape == (48, width, 3)
    above, below = frame[:20, :64], frame[30:, -64:]
    green = below[..., 1].mean() - below[..., [0, 2]].mean()
    if view == "mask":
        assert above.max() < 12
        assert below.min() > 243
    else:
        assert np.abs(above - was[:20]).mean() < 5
        assert (green > 30) == (view != "contour")


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(6):
        cv2.imwrite(str(folder / f"f{i}.png"), texture(48, 64, seed=i))
    report = convert(folder, tmp_path / "out.mp4", fps=10)
    assert times(tmp_path / "out.mp4") == [Fraction(i, 10) for i in range(6)]
    assert report.exit_code == 0
    (folder / "f3.png").write_bytes(b"junk")
    report = convert(folder, tmp_path / "out2.mp4", fps=10)
    assert "f3.png" in report.facts["passed_over"][0]
    assert times(tmp_path / "out2.mp4") == [Fraction(i, 10) for i in (0, 1, 2, 4, 5)]
    assert report.exit_code == 3
    assert report.facts["damaged"] == 1


def test_a_folder_of_pictures_keeps_its_colours(tmp_path: Path) -> None:
    bars = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (255, 255, 0)]
    rgb_HWC = np.repeat(np.array([bars], np.uint8), 64, axis=1).repeat(48, axis=0)
    (tmp_path / "frames").mkdir()
    for i in range(2):
        cv2.imwrite(str(tmp_path / "frames" / f"{i}.png"), rgb_HWC[..., ::-1])
    convert(tmp_path / "frames", tmp_path / "out.mp4", view="contour", crf=1)
    shown = decoded(tmp_path / "out.mp4")[0]
    for i, color in enumerate(bars):
        np.testing.assert_allclose(shown[8, 64 * i + 32], color, atol=3)
    with av.open(str(tmp_path / "out.mp4")) as made:
        frame = next(made.decode(video=0))
        assert (int(frame.colorspace), int(frame.color_primaries), int(frame.color_trc)) == (1, 1, 1)


@pytest.mark.parametrize(("part", "count"), [({"start": 0.28}, 17), ({"end": 0.28}, 7), ({"start": 0.3}, 16)])
def test_a_part_of_a_folder_of_pictures(tmp_path: Path, part: dict[str, float], count: int) -> None:
    """The picture at 0.28 s, 7 / 25, is the first from then on, and none before it: as no float has it."""
    (tmp_path / "frames").mkdir()
    for i in range(24):
        cv2.imwrite(str(tmp_path / "frames" / f"{i}.png"), texture(16, 16, seed=i))
    report = convert(tmp_path / "frames", tmp_path / "out.mp4", **part)
    assert report.facts["frames_written"] == count


def test_a_duration_ends_where_it_says(tmp_path: Path, tiny_weights: Path) -> None:
    (tmp_path / "frames").mkdir()
    for i in range(5):
        cv2.imwrite(str(tmp_path / "frames" / f"{i}.png"), texture(16, 16, seed=i))
    out = tmp_path / "out.mp4"
    cut = ["--fps", "10", "--start", "0.1", "--duration", "0.2"]
    command = [
        "video",
        str(tmp_path / "frames"),
        "--out",
        str(out),
        *cut,
        "-w",
        str(tiny_weights),
        "--no-html",
    ]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert json.loads(out.with_suffix(".json").read_text())["frames_written"] == 2


@pytest.mark.parametrize(
    ("given", "small"), [((2048, 16), (640, 5)), ((48, 64), (48, 64)), ((96, 1280), (48, 640))]
)
def test_thumbnails_are_small_whatever_the_shape(given: tuple[int, int], small: tuple[int, int]) -> None:
    thumbnails = Thumbnails()
    thumbnails.add(0.0, np.zeros((*given, 3), np.uint8))
    ((_, rgb_HWC),) = thumbnails.chosen()
    assert rgb_HWC.shape == (*small, 3)


def test_a_video_like_a_ribbon_has_a_page(tmp_path: Path) -> None:
    convert(make_clip(tmp_path / "in.mp4", count=2, size=(2048, 16)), tmp_path / "out.mp4", html=True)
    assert (tmp_path / "out.html").read_text().count('src="data:image/jpeg') == 2


# ---------------------------------------------------------------- damage


def test_a_video_that_is_cut_short(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", count=60)
    data = source.read_bytes()
    source.write_bytes(data[: len(data) * 6 // 10])
    report = convert(source, tmp_path / "out.mp4")
    assert report.exit_code == 3
    written = report.facts["frames_written"]
    assert 20 < written < 50
    assert 58 <= report.facts["missing"] + report.facts["damaged"] + written <= 61
    assert count_frames(tmp_path / "out.mp4") == written


def test_damage_in_the_middle_is_not_the_end(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", count=60)
    data = bytearray(source.read_bytes())
    middle = (data.index(b"mdat") + len(data)) // 2
    data[middle : middle + 1500] = np.random.default_rng(0).integers(0, 256, 1500, np.uint8).tobytes()
    source.write_bytes(data)
    report = convert(source, tmp_path / "out.mp4")
    assert report.exit_code == 3
    assert report.facts["damaged"] > 0
    assert times(tmp_path / "out.mp4")[-1] == Fraction(59, 25)
    assert report.facts["frames_written"] >= 50


def test_what_is_no_video_is_told_of_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "empty.mp4").write_bytes(b"")
    with av.open(str(tmp_path / "sound.m4a"), "w") as out:
        tone = out.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48000
        out.mux(tone.encode(frame))
        out.mux(tone.encode(None))
    whole = make_clip(tmp_path / "whole.mp4")
    (tmp_path / "headless.mp4").write_bytes(whole.read_bytes()[:400])
    before = left(tmp_path)
    for name, message in {
        "text.mp4": "cannot be|no video that can be opened",
        "empty.mp4": "no video that can be opened",
        "sound.m4a": "no video stream",
        "headless.mp4": "cut short|not one frame",
        "missing.mp4": "no such file",
    }.items():
        with pytest.raises(MediaError, match=message):
            convert(tmp_path / name, tmp_path / "out.mp4")
    assert left(tmp_path) == before


def test_one_frame(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", count=1)
    assert convert(source, tmp_path / "out.mp4").exit_code == 0
    assert len(decoded(tmp_path / "out.mp4")) == 1


# ---------------------------------------------------------------- nothing is lost


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4")
    data = source.read_bytes()
    with pytest.raises(OutputError, match="is the input"):
        convert(source, source, overwrite=True)
    convert(source, tmp_path / "out.mp4")
    with pytest.raises(OutputError, match="--overwrite"):
        convert(source, tmp_path / "out.mp4")
    (tmp_path / "new.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"new\.csv"):
        convert(source, tmp_path / "new.mp4")
    assert (tmp_path / "new.csv").read_text() == "mine"
    convert(source, tmp_path / "out.mp4", overwrite=True)
    (tmp_path / "out.json").write_text("{}")
    with pytest.raises(OutputError, match="somebody's own"):
        convert(source, tmp_path / "out.mp4", overwrite=True)
    assert source.read_bytes() == data


def test_nothing_of_somebody_elses_is_replaced(tmp_path: Path) -> None:
    """Not even by --overwrite, which is for what an earlier run wrote."""
    source = make_clip(tmp_path / "a.partial.mp4")
    data = source.read_bytes()
    with pytest.raises(OutputError, match="is the input"):
        convert(source, tmp_path / "a.mp4")
    convert(source, tmp_path / "out.mkv")
    (tmp_path / "precious.mkv").write_text("mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "000000.png").write_text("mine")
    for settings in ({"mask_video": str(tmp_path / "precious.mkv")}, {"masks": str(tmp_path / "mine")}):
        with pytest.raises(OutputError, match="somebody's own"):
            convert(source, tmp_path / "out.mkv", overwrite=True, **settings)
    # the second and third would take the place of a video that grows, and of one that gets its index
    for out, mask_video in (("b", "b"), ("b.partial", "b"), ("b", "b.indexed.partial")):
        with pytest.raises(OutputError, match="give them two names"):
            convert(source, tmp_path / f"{out}.mkv", mask_video=str(tmp_path / f"{mask_video}.mkv"))
    folder = tmp_path / "frames"
    folder.mkdir()
    cv2.imwrite(str(folder / "0.png"), texture(48, 64))
    with pytest.raises(OutputError, match="is the input"):
        convert(folder, tmp_path / "c.mkv", masks=str(folder), overwrite=True)
    with pytest.raises(OutputError, match="cannot be written"):
        convert(source, tmp_path / ("x" * 300 + ".mp4"))
    assert source.read_bytes() == data
    assert (tmp_path / "precious.mkv").read_text() == (tmp_path / "mine" / "000000.png").read_text() == "mine"
    # but what a run wrote, the next may replace
    both = {"mask_video": str(tmp_path / "m.mkv"), "masks": str(tmp_path / "m")}
    for overwrite in (False, True):
        convert(source, tmp_path / "d.mkv", overwrite=overwrite, **both)


def test_a_part_without_frames_is_told_of(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4")
    with pytest.raises(MediaError, match="no frame in the part"):
        convert(source, tmp_path / "out.mp4", start=100)
    with pytest.raises(RoadsegError, match=r"\.avi"):  # the video was begun already
        convert(source, tmp_path / "out.mp4", mask_video=str(tmp_path / "m.avi"))
    assert left(tmp_path) == {"in.mp4"}


def test_stopping_leaves_a_whole_video_of_what_is_done(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", count=60)
    stop, report = Event(), VideoReport(settings={})

    def ask(done: int, total: int) -> None:
        if done == 7:
            stop.set()

    config = VideoConfig(out=str(tmp_path / "out.mp4"), html=False)
    segment_video(config, LowerHalf(), str(source), report, ask, stop)  # type: ignore[arg-type]
    assert report.exit_code == 130
    assert count_frames(tmp_path / "out.mp4") == report.facts["frames_written"] == 7
    assert left(tmp_path) == {"in.mp4", "out.mp4", "out.csv", "out.json", "out.png"}


def test_stopping_before_the_first_frame_leaves_nothing(tmp_path: Path) -> None:
    source, stop = make_clip(tmp_path / "in.mp4"), Event()
    stop.set()
    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "out.mp4", stop=stop)
    assert left(tmp_path) == {"in.mp4"}


@pytest.mark.timeout(60)
def test_a_source_that_stalls_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, stop, over = make_clip(tmp_path / "in.mp4", count=30), Event(), Event()
    read = FFmpegReader.__iter__

    def stalling(self: FFmpegReader) -> Iterator[Frame | av.Packet]:
        yield from islice(read(self), 10)
        stop.set()  # the user's Ctrl-C, when nothing more comes
        over.wait()

    monkeypatch.setattr(FFmpegReader, "__iter__", stalling)
    report = convert(source, tmp_path / "out.mp4", stop=stop)
    over.set()
    assert report.exit_code == 130
    assert count_frames(tmp_path / "out.mp4") == report.facts["frames_written"] <= 10


# ---------------------------------------------------------------- runs that meet


def killed(folder: Path) -> None:
    """What `kill -9` leaves of a run: its announcement, a partial video and some masks."""
    report = VideoReport(settings={})
    outputs = {"video": str(folder / "out.mp4"), "masks": str(folder / "masks")}
    report.announce(folder / "out.json", outputs)
    (folder / "out.partial.mp4").write_bytes(b"half")
    (folder / "masks").mkdir()
    (folder / "masks" / "000099.png").write_bytes(b"half")


def test_a_run_that_was_killed_can_simply_be_run_again(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", count=5)
    killed(tmp_path)
    convert(source, tmp_path / "out.mp4", masks=str(tmp_path / "masks"))
    assert left(tmp_path) == {"in.mp4", "out.mp4", "out.csv", "out.json", "out.png", "masks"}
    assert left(tmp_path / "masks") == {f"{i:06d}.png" for i in range(5)}
    with pytest.raises(OutputError, match="--overwrite"):
        convert(source, tmp_path / "out.mp4", masks=str(tmp_path / "masks"))


def test_an_error_leaves_the_report_of_before(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", count=30)
    masks = str(tmp_path / "masks")
    convert(source, tmp_path / "out.mp4", masks=masks)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ZeroDivisionError):
        convert(source, tmp_path / "out.mp4", predictor=Broken(), overwrite=True, masks=masks)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_no_output_has_its_name_before_all_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_clip(tmp_path / "in.mp4", count=5)
    complete = VideoWriter.complete

    def fail_for_masks(self: VideoWriter) -> Path:
        if self.path.suffix == ".mkv":
            raise OutputError(f"{self.path}: the disk is full")
        return complete(self)

    monkeypatch.setattr(VideoWriter, "complete", fail_for_masks)
    with pytest.raises(OutputError, match="disk is full"):
        convert(source, tmp_path / "out.mp4", mask_video=str(tmp_path / "m.mkv"))
    assert left(tmp_path) == {"in.mp4"}


def test_a_run_killed_between_video_and_report_can_be_run_again(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", count=5)
    for fresh in (True, False):
        report = VideoReport(settings={})
        report.announce(tmp_path / "out.json", {"video": str(tmp_path / "out.mp4")}, fresh)
        (tmp_path / "out.mp4").write_bytes(b"the run's own, or, where it is not fresh, the one before")
        if fresh:
            convert(source, tmp_path / "out.mp4")
            assert count_frames(tmp_path / "out.mp4") == 5
        else:
            with pytest.raises(OutputError, match="--overwrite"):
                convert(source, tmp_path / "out.mp4")


def test_two_runs_do_not_write_one_video(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4")
    with another_run(tmp_path / "out"), pytest.raises(OutputError, match="another run"):
        convert(source, tmp_path / "out.mp4")
    convert(source, tmp_path / "out.mp4")


def test_masks_in_a_folder_of_the_video_s_name(tmp_path: Path) -> None:
    """One place has one lock: of two, the first to go would take the other along."""
    config = VideoConfig(out=str(tmp_path / "drive.mp4"), masks=str(tmp_path / "drive"))
    with patch("roadseg.engine.video_claim.alone_at", side_effect=alone_at) as locked:
        convert(make_clip(tmp_path / "in.mp4"), Path(config.out), masks=config.masks)
    assert locked.call_count == 1
    assert len(left(tmp_path / "drive")) == 12


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_it_in_order(
    tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    source = make_clip(tmp_path / "in.mp4", count=60)
    monkeypatch.chdir(tmp_path)
    write = VideoWriter.write
    seen: list[int] = []

    def written(self: VideoWriter, *frame: Any) -> None:
        seen.append(1)
        if len(seen) == 9:
            signal.raise_signal(number)
            signal.raise_signal(number)  # people press twice
        write(self, *frame)

    monkeypatch.setattr(VideoWriter, "write", written)
    before = signal.signal(number, signal.default_int_handler)  # a background job would ignore it
    try:
        result = CliRunner().invoke(app, ["video", str(source), "-w", str(tiny_weights)])
    finally:
        signal.signal(number, before)
    assert result.exit_code == 130
    assert "9 frames" in result.stderr
    assert len(decoded(tmp_path / "in.roadseg.mp4")) == 9


class Broken(LowerHalf):
    """Fails at the third batch."""

    def __init__(self) -> None:
        self.calls = 0

    def logits(self, images: Sequence[UInt8Array]) -> list[Tensor]:
        self.calls += 1
        if self.calls == 3:
            raise ZeroDivisionError("a bug")
        return super().logits(images)


@pytest.mark.timeout(60)
def test_an_error_in_any_stage_ends_the_run_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_clip(tmp_path / "in.mp4", count=60)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        convert(source, tmp_path / "out.mp4", predictor=Broken())
    for place in ("roadseg.engine.video_stages.draw_planes", "roadseg.media.video.read_planes"):
        with monkeypatch.context() as patch:
            patch.setattr(place, lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                convert(source, tmp_path / "out.mp4")
    assert left(tmp_path) == {"in.mp4"}


def test_the_partial_file_can_be_played_at_any_time(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", count=250, sound=True)
    frames: list[int] = []

    def look(done: int, total: int) -> None:
        partial = tmp_path / "out.partial.mp4"
        if done == 200:  # the encoder holds some seconds back
            copy = tmp_path / "copy.mp4"
            copy.write_bytes(partial.read_bytes())
            frames.append(len(decoded(copy)))
        assert total == 250

    report = VideoReport(settings={})
    segment_video(VideoConfig(out=str(tmp_path / "out.mp4")), LowerHalf(), str(source), report, look)  # type: ignore[arg-type]
    assert frames[0] >= 100
    assert not (tmp_path / "out.partial.mp4").exists()
