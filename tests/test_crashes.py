"""A decoder that kills the process: the next run names the file, and does the rest."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from conftest import make_cityscapes, street, tiny_checkpoint

from roadseg.dataset.check import check_dataset
from roadseg.errors import MediaError
from roadseg.media import crashes
from roadseg.media.crashes import Journal
from roadseg.model.checkpoint import save_checkpoint

# Loaded by every Python that has its folder on the path, children of ours included.
DEADLY = """
import signal
import cv2
from pathlib import Path
from PIL import Image
decode, read = cv2.imdecode, Image.open
def die(data):
    if b"DEADLY" in data:
        signal.raise_signal(signal.{signal})  # in this thread, as a fault would be
def deadly_decode(data, flags):
    die(data.tobytes())
    return decode(data, flags)
def deadly_read(file, **more):
    die(file.read_bytes() if isinstance(file, Path) else file.getvalue())
    return read(file, **more)
cv2.imdecode, Image.open = deadly_decode, deadly_read
"""


def write_jpeg(path: Path, seed: int, deadly: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".jpg", street(seed)[0])
    path.write_bytes(data.tobytes() + b"DEADLY" * deadly)


def lay_trap(folder: Path, kind: str) -> Path:
    """The folder to have on the path."""
    (folder / "patch").mkdir()
    (folder / "patch" / "sitecustomize.py").write_text(DEADLY.format(signal=kind))
    return folder / "patch"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["SIGSEGV", "SIGABRT"])
def test_a_decoder_that_crashes_the_process(tmp_path: Path, kind: str) -> None:
    frames, out = tmp_path / "frames", tmp_path / "out"
    for i in range(12):
        write_jpeg(frames / f"{i:02d}.jpg", i, deadly=i in (5, 9))
    save_checkpoint(tiny_checkpoint(), tmp_path / "net.pt")
    path = os.pathsep.join([str(lay_trap(tmp_path, kind)), str(Path(__file__).parents[1])])
    environment = {**os.environ, "PYTHONPATH": path}
    command = [
        sys.executable,
        "-c",
        "from roadseg.cli.app import main; main()",
        "segment",
        frames,
        "--out",
        out,
    ]
    command += ["-w", tmp_path / "net.pt", "--device", "cpu", "--batch-size", "1", "--workers", "1"]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        words = [str(word) for word in [*command, *more]]
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)

    assert run().returncode == -getattr(signal, kind)
    assert run("--skip-existing").returncode == -getattr(signal, kind)  # the second deadly one
    for _ in range(2):  # what is known stays known
        done = run("--skip-existing", "--json")
        assert done.returncode == 3, done.stderr
        rows = {row["input"]: row for row in json.loads(done.stdout)["rows"]}
        failed = {name: row["error"] for name, row in rows.items() if row["status"] == "failed"}
        assert set(failed) == {"05.jpg", "09.jpg"}
        assert all(f"kills its decoder ({kind})" in error for error in failed.values())
        assert len(list((out / "masks").iterdir())) == 10
    for name in failed:
        (frames / name).unlink()
    assert run("--skip-existing").returncode == 0
    assert not list(out.glob(".*"))


def test_download_check_names_the_files_that_kill_their_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_cityscapes(tmp_path / "city", train=20, val=1)
    images = sorted(root.glob("leftImg8bit/train/*/*.png"))
    labels = sorted(root.glob("gtFine/train/*/*labelIds.png"))
    deadly = [images[3], images[12], labels[19]]
    for path in deadly:
        path.write_bytes(path.read_bytes() + b"DEADLY")
    monkeypatch.setenv("PYTHONPATH", str(lay_trap(tmp_path, "SIGSEGV")), prepend=os.pathsep)
    check = check_dataset(root, deep=True)
    assert check.exit_code == 1
    found = {note.path: note.why for problem in check.problems for note in problem.files}
    assert found.keys() == set(deadly)
    assert [found[path] for path in deadly] == [
        "kills its decoder (SIGSEGV); fetch or make it again",
        "kills its decoder (SIGSEGV); fetch or make it again",
        "kills its decoder; fetch or make it again",
    ]


def test_an_orderly_run_leaves_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "out" / ".report.reading"
    with pytest.raises(KeyError), Journal(path) as journal, journal.reading(tmp_path / "a.jpg"):
        raise KeyError
    assert not path.exists()


def test_what_was_being_read_is_suspected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".report.reading"
    names = [tmp_path / name for name in ("a.jpg", "b\nc.jpg", os.fsdecode(b"\xff.jpg"), "\U0001f600.png")]
    died = Journal(path)
    with died.reading(tmp_path / "before.jpg"):
        pass
    with died.reading(*names):
        left = path.read_bytes()
    died.__exit__()
    path.write_bytes(left)
    tried: list[Path] = []

    def try_apart(file: Path) -> None:
        tried.append(file)
        if file.name == "a.jpg":
            raise MediaError("kills its decoder")

    monkeypatch.setattr(crashes, "try_apart", try_apart)
    for known in (set(names), {names[0]}):  # of those only one is guilty
        with Journal(path) as journal:
            assert journal.suspects == {os.fsencode(name) for name in known}
            for name in (*names, tmp_path / "before.jpg"):
                try:
                    with journal.reading(name):
                        assert name.name != "a.jpg"
                except MediaError:
                    assert name.name == "a.jpg"
        assert set(tried) == known
        tried.clear()


def test_a_child_tells_whether_a_file_is_deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_jpeg(tmp_path / "a.jpg", 0)
    crashes.try_apart(tmp_path / "a.jpg")
    crashes.try_apart(tmp_path / "missing.jpg")  # is told by whoever reads it
    monkeypatch.chdir(tmp_path)
    (tmp_path / "signal.py").write_text("1 / 0")  # somebody's own, where the command is run
    crashes.try_apart(tmp_path / "a.jpg")
    monkeypatch.setattr(crashes, "_SECONDS", 0.01)
    with pytest.raises(MediaError, match="does not end"):
        crashes.try_apart(tmp_path / "a.jpg")
