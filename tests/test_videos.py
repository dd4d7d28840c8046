"""Several videos in one run: a report of all, shards that add up, and what is done is not done again."""

import json
import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from clips import make_clip
from conftest import another_run, tiny_checkpoint
from typer.testing import CliRunner, Result

from roadseg.cli.app import app
from roadseg.engine.videos import find_videos
from roadseg.errors import MediaError
from roadseg.media.video_writer import VideoWriter
from roadseg.model.checkpoint import save_checkpoint


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of different lengths, two of one name, a damaged one, and all of them in one run."""
    place = tmp_path_factory.mktemp("videos")
    save_checkpoint(tiny_checkpoint(), place / "tiny.pt")
    (place / "in" / "b").mkdir(parents=True)
    make_clip(place / "in" / "x.mp4", count=6)
    make_clip(place / "in" / "b" / "x.mp4", count=14)
    (place / "in" / "bad.mp4").write_bytes(b"no video")
    done = run("video", *inputs(place), *common(place), "--out", place / "whole")
    assert done.exit_code == 3, done.output
    return place


def inputs(place: Path) -> list[Path]:
    return [place / "in" / name for name in ("x.mp4", "bad.mp4", "b/x.mp4")]


def common(place: Path) -> list[object]:
    # Without loss: where x264 may lose some, its macroblock tree (with AVX-512) makes other bytes each time.
    return ["-w", place / "tiny.pt", "--crf", 0, "--device", "cpu", "--no-html", "-q"]


def report(folder: Path, name: str = "report.json") -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / name).read_text())
    return document


def rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**row, "seconds": None} for row in document["rows"]]


def test_each_has_its_own_files_and_a_row(place: Path) -> None:
    found = rows(report(place / "whole"))
    assert [(row["input"], row["status"]) for row in found] == [
        ("b/x.mp4", "ok"), ("x.mp4", "ok"), ("bad.mp4", "failed"),
    ]  # fmt: skip
    for row in found[:2]:
        assert all((place / "whole" / path).is_file() for path in row["outputs"].values())
        assert row["road_fraction"] is not None
    assert "bad.mp4" in found[2]["error"]


def test_shards_are_the_whole(place: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\n".join(map(str, inputs(place))))
    for i in (2, 1):
        done = run(
            "video", tmp_path / "list.txt", *common(place), "--out", tmp_path / "parts", "--shard", f"{i}/2"
        )
        assert done.exit_code in (0, 3), done.output
    assert run("report", tmp_path / "parts", "--out", tmp_path / "m.json").exit_code == 0
    merged, whole = report(tmp_path, "m.json"), report(place / "whole")
    assert [row["status"] for row in merged["rows"]] == [row["status"] for row in whole["rows"]]
    assert [row["road_fraction"] for row in merged["rows"]] == [r["road_fraction"] for r in whole["rows"]]
    videos = [row["outputs"]["video"] for row in whole["rows"] if row["outputs"]]
    for part, one in zip([row["outputs"]["video"] for row in merged["rows"][:2]], videos, strict=True):
        assert (tmp_path / "parts" / part).read_bytes() == (place / "whole" / one).read_bytes()


def test_what_is_done_is_not_done_again(place: Path, tmp_path: Path) -> None:
    words = ("video", *inputs(place), *common(place), "--out", tmp_path)
    run(*words)
    first, before = tmp_path / "b" / "x.mp4", report(tmp_path)
    stamp = first.stat().st_mtime_ns
    assert "is there already" in run(*words).stderr
    (tmp_path / "x.mp4").unlink()  # lost half-way
    assert run(*words, "--skip-existing").exit_code == 3
    again = report(tmp_path)
    assert [row["status"] for row in again["rows"]] == ["skipped", "ok", "failed"]
    assert [row["road_fraction"] for row in again["rows"]] == [r["road_fraction"] for r in before["rows"]]
    assert first.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--threshold", "0.9"], "threshold 0.5, this one has 0.9"),
        (["--end", "0.1"], "end None, this one has 0.1"),
        (["-w", "other.pt"], "other weights"),
    ],
)
def test_what_was_made_with_other_settings_is_not_skipped(
    place: Path, tmp_path: Path, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_checkpoint(tiny_checkpoint(depths=(1, 2)), tmp_path / "other.pt")
    whole = ("video", inputs(place)[0], inputs(place)[2], *common(place), "--out", tmp_path / "out")
    run(*whole)
    before = report(tmp_path / "out")
    done = run(*whole, *words, "--skip-existing")
    assert done.exit_code == 1
    assert said in done.stderr
    assert report(tmp_path / "out") == before


def test_a_part_that_runs_twice_at_once_waits_and_skips(place: Path, tmp_path: Path) -> None:
    words = ("video", *inputs(place)[::2], *common(place), "--out", tmp_path)
    assert run(*words).exit_code == 0
    document = (tmp_path / "x.json").read_text()
    begun = {**json.loads(document), "finished": False, "fresh": True}
    (tmp_path / "x.json").write_text(json.dumps(begun))  # as while another run makes it, and has its lock
    with ExitStack() as other:
        other.enter_context(another_run(tmp_path / "x"))

        def finish() -> None:
            (tmp_path / "x.json").write_text(document)
            other.close()

        timer = threading.Timer(3, finish)
        timer.start()
        done = run(*words, "--skip-existing")
        timer.join()
    assert done.exit_code == 0, done.stderr
    assert [row["status"] for row in report(tmp_path)["rows"]] == ["skipped", "skipped"]


def test_a_video_called_like_the_report_has_its_own(place: Path, tmp_path: Path) -> None:
    for name in ("Report.mp4", "report-of-monday.mp4", "video-report.mp4", "x.mp4"):
        make_clip(tmp_path / "in" / name, count=2)
    words = ("video", *sorted((tmp_path / "in").iterdir()), *common(place), "--out", tmp_path / "out")
    for i in (1, 2):
        assert run(*words, "--shard", f"{i}/2").exit_code == 0
    assert run("report", tmp_path / "out", "--out", tmp_path / "merged.json").exit_code == 0
    merged = report(tmp_path, "merged.json")["rows"]
    stems = {row["input"]: row["outputs"]["video"] for row in merged}
    assert stems == {
        "Report.mp4": "video-video-Report.mp4", "report-of-monday.mp4": "video-report-of-monday.mp4",
        "video-report.mp4": "video-report.mp4", "x.mp4": "x.mp4",
    }  # fmt: skip
    assert run(*words).exit_code == 1  # each has its report; the run's is not theirs
    for _ in range(2):
        assert run(*words, "--skip-existing").exit_code == 0
        assert [row["status"] for row in report(tmp_path / "out")["rows"]] == ["skipped"] * 4


def test_a_video_of_the_same_name_from_elsewhere_is_not_done(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("A", "B"):
        for number in (1, 2):
            make_clip(tmp_path / name / f"{number}.mp4", count=2)
    monkeypatch.chdir(tmp_path / "A")
    words = ("video", "1.mp4", "2.mp4", *common(place), "--out", tmp_path / "out")
    assert run(*words).exit_code == 0
    monkeypatch.chdir(tmp_path)
    there = run("video", "A/1.mp4", "A/2.mp4", *words[3:], "--skip-existing")
    assert (there.exit_code, [row["status"] for row in report(tmp_path / "out")["rows"]]) == (
        0,
        ["skipped"] * 2,
    )
    monkeypatch.chdir(tmp_path / "B")
    done = run(*words, "--skip-existing")
    assert done.exit_code == 1
    for row in report(tmp_path / "out")["rows"]:
        assert (row["status"], row["outputs"]) == ("failed", {})
        assert f"of another video, {tmp_path / 'A' / row['input']}" in row["error"]
    # an older report has its input alone, as it was given: a relative path may be of any folder
    for name, given in (("1", "1.mp4"), ("2", str(tmp_path / "A" / "2.mp4"))):
        document = report(tmp_path / "out", f"{name}.json")
        document["settings"]["input"] = given
        del document["source"]
        (tmp_path / "out" / f"{name}.json").write_text(json.dumps(document))
    assert run(*words, "--skip-existing").exit_code == 3
    assert [row["status"] for row in report(tmp_path / "out")["rows"]] == ["skipped", "failed"]


def test_ctrl_c_says_how_far_it_came(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("video", *inputs(place)[::2], *common(place), "--out", tmp_path)
    write, seen = VideoWriter.write, list[int]()

    def written(self: VideoWriter, *frame: Any) -> None:
        seen.append(1)
        if len(seen) == 14 + 3:  # in the second, shorter one
            signal.raise_signal(signal.SIGINT)
        write(self, *frame)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job would ignore it
    try:
        with monkeypatch.context() as patch:
            patch.setattr(VideoWriter, "write", written)
            done = run(*words)
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.exit_code == 130
    assert "1 of 2 videos are done" in " ".join(done.stderr.split())
    assert run(*words, "--skip-existing").exit_code == 0
    assert [row["status"] for row in report(tmp_path)["rows"]] == ["skipped", "ok"]


@pytest.mark.parametrize("words", [["--skip-existing"], ["--shard", "1/2"], ["another.mp4"]])
def test_several_go_into_a_folder(place: Path, tmp_path: Path, words: list[str]) -> None:
    done = run("video", inputs(place)[0], *words, *common(place), "--out", tmp_path / "x.mp4")
    assert done.exit_code == 2
    assert "is the name of a video" in done.stderr
    assert not list(tmp_path.iterdir())


def test_what_several_cannot_have(place: Path, tmp_path: Path) -> None:
    done = run("video", *inputs(place), *common(place), "--masks", tmp_path / "m", "--out", tmp_path)
    assert done.exit_code == 2
    assert "for one video" in done.stderr
    assert "i/n" in run("video", *inputs(place), "--shard", "3/2").stderr
    with pytest.raises(MediaError, match="is a folder"):
        find_videos([str(place), str(inputs(place)[0])])
