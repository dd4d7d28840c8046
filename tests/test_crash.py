"""Killed, interrupted, out of disk: nothing half-done under a final name, and a rerun makes it whole."""

import csv
import errno
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from clips import decoded, make_clip
from conftest import make_cityscapes, street, tiny_checkpoint, write_png
from kills import Command
from test_train import same_bits

from roadseg.media.images import read_rgb
from roadseg.media.output import atomic_write, scratch_name, sweep
from roadseg.media.video_writer import count_frames
from roadseg.model.checkpoint import load_checkpoint, save_checkpoint

KILLS = 50
PICTURES = 12


class Job:
    """A command that leaves its results in `out`."""

    name = ""
    again: tuple[str, ...] = ()
    """What a rerun gets in addition."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def begin(self, out: Path, *more: str, **fault: int) -> Command:
        out.parent.mkdir(parents=True, exist_ok=True)
        return Command(*self.words(out), *more, log=out.with_name(f"{out.name}.log"), **fault)

    def words(self, out: Path) -> list[object]:
        raise NotImplementedError

    def rerun(self, out: Path) -> Command:
        return self.begin(out, *self.again)

    def done(self, out: Path) -> bool:
        """Whether it was killed after its last word, so that a rerun would refuse to replace it."""
        return False

    def same(self, out: Path, whole: Path) -> None:
        """Assert that both have the same results."""
        raise NotImplementedError


class Train(Job):
    name = "train"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.data = make_cityscapes(home / "cityscapes")

    def words(self, out: Path) -> list[object]:
        return [
            "train", "--data", self.data, "--model", "nano", "--imgsz", 64, "--epochs", 3, "--batch-size", 3,
            "--workers", 0, "--device", "cpu", "--ema", 0.9, "--cache", "disk", "--runs", out,
            "--name", "run",
        ]  # fmt: skip

    def rerun(self, out: Path) -> Command:
        if not (out / "run" / "config.json").exists():  # it did not come as far as a run
            return self.begin(out)
        words = ("train", "--resume", out / "run", "--device", "cpu", "--workers", 0)
        return Command(*words, log=out.with_name(f"{out.name}.log"))

    def same(self, out: Path, whole: Path) -> None:
        same_bits(out / "run", whole / "run")
        one, other = (load_checkpoint(folder / "run" / "best.pt").digest() for folder in (out, whole))
        assert one == other
        # one that was killed between best.pt and last.pt has written best.pt twice
        left, wanted = (
            {name for name in names(place) if name != "run/best.previous.pt"} for place in (out, whole)
        )
        assert left == wanted
        tables = [_rows(place / "run" / "results.csv") for place in (out, whole)]
        assert tables[0] == tables[1]
        assert json.loads((out / "run" / "report.json").read_text())["finished"] is True


class Segment(Job):
    name = "segment"
    again = ("--skip-existing",)

    def __init__(self, home: Path, count: int = PICTURES, labels: bool = True) -> None:
        super().__init__(home)
        self.frames, self.labels = home / "frames", home / "labels"
        for i in range(count):
            rgb_HWC, label_HW = street(i)
            write_png(self.frames / f"{i % 3}" / f"{i:03d}.png", rgb_HWC)
            write_png(self.labels / f"{i % 3}" / f"{i:03d}.png", ((label_HW == 7) * 255).astype("uint8"))
        self.weights = home / "tiny.pt"
        self.scored = ["--labels", self.labels] if labels else []
        torch.manual_seed(0)
        save_checkpoint(tiny_checkpoint(), self.weights)

    def words(self, out: Path) -> list[object]:
        usual = ["--weights", self.weights, "--device", "cpu", "--batch-size", 2, "--workers", 2]
        return ["segment", self.frames, "--out", out, *usual, *self.scored, "--save-probs"]

    def same(self, out: Path, whole: Path) -> None:
        assert names(out) == names(whole)
        for name in names(whole):
            if name.startswith(("masks/", "overlays/", "probs/")):
                assert (out / name).read_bytes() == (whole / name).read_bytes(), name
        one, other = (json.loads((place / "report.json").read_text()) for place in (out, whole))
        for key in ("counts", "scores", "classes", "stopped_by"):
            assert one[key] == other[key], key
        for document in (one, other):
            totals = document["totals"]
            totals["done"] = totals.pop("ok") + totals.pop("skipped")
            for facts in (totals, *document["rows"]):
                facts["seconds"] = facts["status"] = None
        assert one["totals"] == other["totals"]
        assert one["rows"] == other["rows"]


class Unscored(Segment):
    """Without labels, what was done before the kill is known from its masks alone."""

    name = "segment-unscored"

    def __init__(self, home: Path) -> None:
        super().__init__(home, labels=False)


class Video(Job):
    name = "video"

    def __init__(self, home: Path, count: int = 30) -> None:
        super().__init__(home)
        home.mkdir(parents=True, exist_ok=True)
        self.source = make_clip(home / "in.mp4", count=count, sound=True)
        self.weights = home / "tiny.pt"
        torch.manual_seed(0)
        save_checkpoint(tiny_checkpoint(), self.weights)

    def words(self, out: Path) -> list[object]:
        outputs = ["--out", out / "out.mp4", "--masks", out / "masks", "--mask-video", out / "masks.mkv"]
        # without loss: else x264 does not always make the same of the same frames
        return ["video", self.source, "--weights", self.weights, "--device", "cpu", "--crf", 0, *outputs]

    def done(self, out: Path) -> bool:
        report = out / "out.json"
        return report.exists() and json.loads(report.read_text())["finished"] is True

    def same(self, out: Path, whole: Path) -> None:
        locks = {name for name in names(out) if name.endswith(".lock")} if self.done(out) else set()
        assert names(out) - locks == names(whole)  # a rerun takes its locks away again
        for name in names(whole):
            if name.startswith("masks/") or name == "out.csv":
                assert (out / name).read_bytes() == (whole / name).read_bytes(), name
        for name in ("out.mp4", "masks.mkv"):
            for a, b in zip(decoded(out / name), decoded(whole / name), strict=True):
                assert (a == b).all()
        one, other = (json.loads((place / "out.json").read_text()) for place in (out, whole))
        for document in (one, other):
            for key in ("seconds", "settings", "outputs"):
                document.pop(key)
        assert one == other


JOBS: list[type[Job]] = [Train, Segment, Unscored, Video]
each_job = pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)


def names(folder: Path) -> set[str]:
    """Every file, hidden ones too, by its path below `folder`; not those of the cache, which has a key."""
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {"cache" if name.startswith("cache/") and ".partial" not in name else name for name in files}


def _rows(path: Path) -> list[dict[str, Any]]:
    return [{**row, "seconds": None} for row in csv.DictReader(path.read_text().splitlines())]


def all_whole(folder: Path) -> None:
    """Assert that whatever has a final name is a whole file."""
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if path.is_dir() or any(part.startswith(".") for part in relative.parts) or ".partial." in path.name:
            continue
        if path.suffix in (".png", ".jpg"):
            read_rgb(path)
        elif path.suffix == ".pt":
            load_checkpoint(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".csv":
            rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
            assert {len(row) for row in rows} == {len(rows[0])}, path
        elif path.suffix in (".mp4", ".mkv"):
            assert count_frames(path) == len(decoded(path)) > 0
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>")
        else:
            assert path.suffix == ".bin", path


Finished = Callable[[type[Job]], tuple[Job, Path, float]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A job, what it leaves undisturbed, and in how many seconds; each is run once."""

    @cache
    def run(kind: type[Job]) -> tuple[Job, Path, float]:
        home = tmp_path_factory.mktemp(kind.name)
        job, whole = kind(home), home / "whole"
        assert Command("--version", log=home / "log").ended() == 0  # the first one waits for all imports
        start = time.perf_counter()
        command = job.begin(whole)
        assert command.ended() == 0, command.said
        return job, whole, time.perf_counter() - start

    return run


def made_whole(job: Job, out: Path, whole: Path) -> None:
    """After a kill: what is there is whole, and a rerun makes it all."""
    all_whole(out)
    if not job.done(out):
        command = job.rerun(out)
        assert command.ended() == 0, command.said
    job.same(out, whole)


# ---------------------------------------------------------------- kill -9


# Of a video, 1 is its announcement, 2 to 31 are masks, 32 to 61 the same coming to their place, 62 and 63
# the videos; of a training, 4 is the first sheet of predictions, 10 the first best.pt, 11 the first last.pt.
@pytest.mark.parametrize(
    ("job", "rename"),
    [
        (Train, 11), (Segment, 9), (Unscored, 34), (Video, 9), (Video, 63),
        *(
            pytest.param(*point, marks=pytest.mark.slow)
            for point in [
                (Train, 1), (Train, 4), (Train, 9), (Train, 13), (Train, 20), (Segment, 1), (Segment, 38),
                (Unscored, 4), (Video, 1), (Video, 40), (Video, 62), (Video, 65),
            ]
        ),
    ],
)  # fmt: skip
def test_killed_before_a_file_gets_its_name(
    tmp_path: Path, finished: Finished, job: type[Job], rename: int
) -> None:
    (task, whole, _), out = finished(job), tmp_path / "out"
    command = task.begin(out, rename=rename)
    assert command.ended() == -signal.SIGKILL, command.said
    assert any(".partial" in name for name in names(out)), "it was killed with a file in work"
    made_whole(task, out, whole)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@each_job
def test_killed_at_50_random_moments(tmp_path: Path, finished: Finished, job: type[Job]) -> None:
    task, whole, seconds = finished(job)
    rng, killed = random.Random(7), 0
    for trial in range(3 * KILLS):
        out = tmp_path / f"out{trial}"
        start = time.perf_counter()
        command = task.begin(out)
        if command.kill((killed + rng.random()) / KILLS * seconds):  # one in each part of the run
            killed += 1
            if out.exists():
                made_whole(task, out, whole)
        else:  # it was over before: the machine has become faster
            assert command.process.exitcode == 0, command.said
            seconds = min(seconds, time.perf_counter() - start)
        shutil.rmtree(out, ignore_errors=True)
        if killed == KILLS:
            return
    raise AssertionError(f"only {killed} of {KILLS} runs were killed: the others were over before")


def test_only_what_the_dead_have_left_is_removed(tmp_path: Path) -> None:
    dead, mine = scratch_name(tmp_path), tmp_path / ".mine.partial"
    dead.write_bytes(b"half")
    mine.write_bytes(b"somebody's")
    living = scratch_name(tmp_path)
    with living.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        sweep(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {mine.name, living.name}
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [mine]
    dead.write_bytes(b"half")
    atomic_write(tmp_path / "a.txt", b"whole")  # the first to write there cleans up
    assert names(tmp_path) == {mine.name, "a.txt"}


def test_a_mask_that_is_damaged_is_made_again(tmp_path: Path, finished: Finished) -> None:
    (task, whole, _), out = finished(Unscored), tmp_path / "out"
    shutil.copytree(whole, out)
    report = json.loads((out / "report.json").read_text())
    (out / "report.json").write_text(json.dumps({**report, "rows": []}))  # as if the run had been killed
    mask = out / "masks" / "0" / "003.png"
    mask.write_bytes(mask.read_bytes()[:-30])
    command = task.rerun(out)
    assert command.ended() == 0, command.said
    task.same(out, whole)


# ---------------------------------------------------------------- signals


def wait_for(seen: Callable[[], bool], command: Command) -> None:
    """Until it is seen, or the command is over."""
    while not seen() and command.process.is_alive():
        time.sleep(0.005)


def many_pictures(home: Path, count: int = 400) -> Segment:
    """A job that is not over in a moment."""
    task = Segment(home, count=1, labels=False)
    (first,) = task.frames.rglob("*.png")
    for i in range(count - 1):
        os.link(first, task.frames / f"{i:04d}.png")
    return task


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_segment_in_order(tmp_path: Path, number: int) -> None:
    task, out = many_pictures(tmp_path), tmp_path / "out"
    command = task.begin(out)
    wait_for(lambda: len(list(out.glob("masks/*.png"))) > 4, command)
    command.send(number)
    assert command.ended() == 130, command.said
    report = json.loads((out / "report.json").read_text())
    done, masks = report["totals"]["ok"], len(list(out.rglob("masks/**/*.png")))
    assert 4 < done <= masks <= done + 1 < 400, "a picture may have been handed over, and not yet be counted"
    assert f"{done} of 400 pictures are done" in command.said
    assert "--skip-existing" in command.said
    assert "Traceback" not in command.said
    assert not [name for name in names(out) if ".partial" in name]
    assert report["stopped_by"] == "Ctrl-C"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_train_in_order(tmp_path: Path, number: int) -> None:
    task, out = Train(tmp_path), tmp_path / "out"
    command = task.begin(out, "--epochs", "400")
    wait_for((out / "run" / "last.pt").exists, command)
    command.send(number)
    assert command.ended() == 130, command.said
    done = len(load_checkpoint(out / "run" / "last.pt").training["history"])  # type: ignore[index]
    assert f"keeps {done} of 400 epochs: roadseg train --resume {out / 'run'} goes on" in command.said
    assert "Traceback" not in command.said
    all_whole(out)
    assert not [name for name in names(out) if ".partial" in name]


def test_a_signal_to_all_of_its_processes_ends_train_in_order(tmp_path: Path) -> None:
    """As a scheduler sends it, and a terminal: the processes that read pictures get it, too."""
    task, out = Train(tmp_path), tmp_path / "out"
    words = [*task.words(out), "--epochs", 400, "--workers", 2]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "roadseg", *map(str, words)],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        while not (out / "run" / "last.pt").exists() and process.poll() is None:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(60) == 130
    said = (tmp_path / "log").read_text()
    assert "of 400 epochs: roadseg train --resume" in said
    assert "Traceback" not in said


def test_a_run_stopped_before_its_first_epoch_begins_again(tmp_path: Path) -> None:
    task, out = Train(tmp_path), tmp_path / "out"
    command = task.begin(out, rename=4)  # pixels.bin, index.json, config.json, the first sheet
    assert command.ended() == -signal.SIGKILL
    again = task.begin(out)
    assert again.ended() == 1
    assert "--resume" in again.said
    command = task.rerun(out)
    assert command.ended() == 0, command.said
    assert "begins again" in command.said


# ---------------------------------------------------------------- disks and inputs


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A function that mounts (or mounts again) a tmpfs with these options; skipped where that may not be."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> Path:
        again = "remount," if place.is_mount() else ""
        words = ["mount", "-t", "tmpfs", "-o", again + options, "tmpfs", str(place)]
        if os.name != "posix" or subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("only root can mount a small disk")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize(
    ("job", "small"),
    [
        (Segment, "100k"),
        pytest.param(Train, "5m", marks=pytest.mark.slow),
        pytest.param(Video, "60k", marks=pytest.mark.slow),
    ],
)
def test_a_full_disk_is_told_of_and_a_rerun_completes(
    tmp_path: Path, finished: Finished, small_disk: Callable[[str], Path], job: type[Job], small: str
) -> None:
    task, whole, _ = finished(job)
    out = small_disk(f"size={small}") / "out"
    command = Command(*task.words(out), log=tmp_path / "log")
    assert command.ended() == 1, command.said
    assert os.strerror(errno.ENOSPC) in command.said
    assert "Traceback" not in command.said
    all_whole(out)
    assert not [name for name in names(out) if ".partial" in name]
    small_disk("size=64m")
    made_whole(task, out, whole)


@pytest.mark.parametrize(("job", "largest"), [(Segment, 2500), (Video, 4000)])
def test_a_limit_on_file_sizes(tmp_path: Path, finished: Finished, job: type[Job], largest: int) -> None:
    """As a full disk, where nobody may mount one: the log is within the limit, too."""
    (task, whole, _), out = finished(job), tmp_path / "out"
    command = task.begin(out, largest=largest)
    assert command.ended() == 1, command.said
    assert os.strerror(errno.EFBIG) in command.said
    assert "Traceback" not in command.said
    made_whole(task, out, whole)


@pytest.mark.parametrize("job", [Train, Segment, Video])
def test_a_folder_that_may_not_be_written_to(
    tmp_path: Path, finished: Finished, small_disk: Callable[[str], Path], job: type[Job]
) -> None:
    task, _, _ = finished(job)
    if os.geteuid():
        place = tmp_path / "locked"
        place.mkdir(mode=0o555)
    else:
        place = small_disk("ro")
    command = Command(*task.words(place / "out"), log=tmp_path / "log")
    assert command.ended() == 1, command.said
    assert "cannot" in command.said
    assert "Traceback" not in command.said
    assert not list(place.iterdir())


def test_inputs_that_vanish_are_failed_and_the_rest_is_done(tmp_path: Path) -> None:
    task, out = many_pictures(tmp_path), tmp_path / "out"
    command = task.begin(out)
    wait_for(lambda: len(list(out.glob("masks/*.png"))) > 4, command)
    shutil.rmtree(task.frames)
    assert command.ended() == 3, command.said
    totals = json.loads((out / "report.json").read_text())["totals"]
    assert totals["ok"] == len(list(out.rglob("masks/**/*.png")))
    assert totals["ok"] + totals["failed"] == 400
    assert "no such file" in command.said
    assert "Traceback" not in command.said


@pytest.mark.parametrize("workers", ["0", pytest.param("1", marks=pytest.mark.slow)])
def test_pictures_that_vanish_in_a_training_end_it_in_one_line(tmp_path: Path, workers: str) -> None:
    task, out = Train(tmp_path), tmp_path / "out"
    command = task.begin(out, "--epochs", "400", "--cache", "none", "--workers", workers)
    wait_for((out / "run" / "last.pt").exists, command)
    shutil.rmtree(task.data / "leftImg8bit" / "train")
    assert command.ended() == 1, command.said
    assert "no such file" in command.said
    assert f"roadseg train --resume {out / 'run'} goes on" in command.said
    assert "Traceback" not in command.said
    load_checkpoint(out / "run" / "last.pt")
