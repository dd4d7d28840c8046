"""`--ray`: a cluster of two workers, one of which is killed, leaves what one machine leaves, to the byte."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import make_clip
from conftest import make_cityscapes, street, tiny_checkpoint, write_png
from typer.testing import CliRunner

from roadseg.cli.app import app
from roadseg.engine import remote
from roadseg.media.images import allow_pixels
from roadseg.model.checkpoint import save_checkpoint

# A cluster of a head and two nodes with a core each. A picture or video called `fatal` kills the first worker
# that has it, `poison` each, and `blackout` the first one's whole node.
DRIVER = """
import os, sys
from pathlib import Path
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
for _ in range(2):
    cluster.add_node(num_cpus=1)
from roadseg.cli.app import app
sys.argv = ["roadseg", *sys.argv[1:], "--ray", cluster.address]
try:
    app()
finally:
    cluster.shutdown()
"""
# Put on the path of every process: Python imports it at its start.
SITE = """
import os, pathlib, sys
class Killer:
    def find_spec(self, name, path=None, target=None):
        if name == "roadseg.engine.remote":
            sys.meta_path.remove(self)  # once is enough
            import roadseg.engine.results as results
            import roadseg.engine.video_output as video_output
            mark = pathlib.Path(os.environ["ROADSEG_TEST_MARK"])
            def die(name):
                if "poison" in name:
                    os.kill(os.getpid(), 9)
                if mark.exists():
                    return
                if "fatal" in name:
                    mark.write_text("")
                    os.kill(os.getpid(), 9)
                if "blackout" in name:
                    mark.write_text("")
                    os.kill(os.getppid(), 9)  # the raylet, which is the node
                    os.kill(os.getpid(), 9)
            write, finish = results.ResultWriter.write, video_output.VideoOutput.finish
            def dying_write(self, picture, *rest):
                die(picture.name)
                return write(self, picture, *rest)
            def dying_finish(self):
                die(self.config.out)
                return finish(self)
            results.ResultWriter.write = dying_write
            video_output.VideoOutput.finish = dying_finish
        return None
if os.environ.get("ROADSEG_TEST_MARK"):
    sys.meta_path.insert(0, Killer())
"""


def on_cluster(place: Path, *words: object, **env: str) -> subprocess.CompletedProcess[str]:
    (place / "driver.py").write_text(DRIVER)
    root = str(Path(__file__).parents[1])
    return subprocess.run(
        [sys.executable, str(place / "driver.py"), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
        cwd=place,
        # Ray would make its workers nicer than the test that waits for them
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(place / "site"), root]),
            "RAY_worker_niceness": "0",
            **env,
        },
    )


def run(*words: object) -> int:
    return CliRunner().invoke(app, [str(word) for word in words]).exit_code


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.suffix in (".png", ".jpg")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows(folder: Path) -> list[dict[str, Any]]:
    report = json.loads((folder / "report.json").read_text())
    return [{**row, "seconds": None} for row in report["rows"]]


class InProcess:
    """A cluster without processes: what would travel is pickled, and chunks come back in another order."""

    def __init__(self, address: str, *, gpus: bool) -> None:
        assert (address, gpus) == ("here", False)

    def close(self) -> None:
        pass

    def work(self, make: Any, items: Sequence[Any], most: int) -> Iterator[tuple[list[int], Any]]:
        do = pickle.loads(pickle.dumps(make))()
        size = min(3, most)
        chunks = [list(range(i, min(i + size, len(items)))) for i in range(0, len(items), size)]
        for chunk in reversed(chunks):
            sent = pickle.loads(pickle.dumps([items[i] for i in chunk]))
            with allow_pixels(100):  # a process of its own would not know what this one allows
                done = pickle.dumps(do(sent))
            yield chunk, pickle.loads(done)


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(remote, "Cluster", InProcess)
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Twelve labelled pictures, one of them damaged, one that kills the first worker that has it."""
    save_checkpoint(tiny_checkpoint(), tmp_path / "tiny.pt")
    for i in range(12):
        rgb_HWC, label_HW = street(i, height=40 + 2 * i)
        name = f"{'sub/' if i % 2 else ''}{'fatal' if i == 5 else ''}{i}.png"
        write_png(tmp_path / "in" / name, rgb_HWC)
        write_png(tmp_path / "labels" / name, np.where(label_HW == 7, 255, 0).astype(np.uint8))
    (tmp_path / "in" / "2.png").write_bytes((tmp_path / "in" / "2.png").read_bytes()[:200])
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    return tmp_path


def documents(place: Path, name: str) -> list[dict[str, Any]]:
    """Of the run alone, and of the one on a cluster, without what they must differ in."""
    found = [json.loads((place / folder / name).read_text()) for folder in ("alone", "cluster")]
    for document in found:
        for part in ("settings", "totals", "started", "finished"):
            document.pop(part, None)
        for row in document.get("rows", []):
            row["seconds"] = None
    return found


def test_segment_in_chunks_is_segment(here: Path) -> None:
    words = ("segment", "in", "-w", "tiny.pt", "--labels", "labels", "--device", "cpu", "-q", "--save-probs")
    assert run(*words, "--out", "alone") == 3
    assert run(*words, "--out", "cluster", "--ray", "here") == 3
    assert digests(here / "cluster") == digests(here / "alone") != {}
    alone, cluster = documents(here, "report.json")
    assert cluster == alone
    assert (here / "cluster" / "report.html").read_text().count("data:image/jpeg") > 11
    assert run(*words, "--out", "cluster", "--ray", "here", "--skip-existing") == 3
    rows_again = json.loads((here / "cluster" / "report.json").read_text())["rows"]
    assert [row["status"] for row in rows_again].count("skipped") == 11


def test_eval_in_chunks_is_eval(here: Path) -> None:
    make_cityscapes(here / "city", train=1, val=4)
    words = ("eval", "--data", "city", "-w", "tiny.pt", "--device", "cpu", "-q")
    assert run(*words, "--out", "alone", "--save-predictions", "p1") == 0
    assert run(*words, "--out", "cluster", "--save-predictions", "p2", "--ray", "here") == 0
    alone, cluster = documents(here, "scores.json")
    assert cluster == alone
    assert digests(here / "p1") == digests(here / "p2") != {}


def test_videos_one_by_one_are_videos(here: Path) -> None:
    sources = [make_clip(here / f"{i}.mp4", count=4 + i) for i in range(2)]
    # Without loss: of the same frames, x264 does not always make the same bytes where it may lose some.
    words = ("video", *sources, "-w", "tiny.pt", "--device", "cpu", "-q", "--no-html", "--crf", "0")
    assert run(*words, "--out", "alone") == 0
    assert run(*words, "--out", "cluster", "--ray", "here") == 0
    alone, cluster = documents(here, "report.json")
    assert cluster == alone
    for name in ("0.mp4", "1.mp4", "0.csv", "1.csv"):
        assert (here / "cluster" / name).read_bytes() == (here / "alone" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_segment_on_a_cluster_that_loses_a_worker(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    words = ("segment", "in", "-w", "tiny.pt", "--labels", "labels", "--device", "cpu")
    assert run(*words, "--out", "alone", "-q") == 3
    mark = place / "mark"
    done = on_cluster(place, *words, "--out", "cluster", ROADSEG_TEST_MARK=str(mark))
    assert done.returncode == 3, done.stderr
    assert mark.exists()  # a worker did die
    assert digests(place / "cluster") == digests(place / "alone")
    assert len(digests(place / "cluster")) >= 22
    assert rows(place / "cluster") == rows(place / "alone")
    alone, cluster = (json.loads((place / name / "report.json").read_text()) for name in ("alone", "cluster"))
    assert cluster["scores"] == alone["scores"]
    assert cluster["counts"] == alone["counts"]
    assert "12/12" not in done.stdout
    assert "11 ok, 1 failed" in done.stdout
    assert not list(place.rglob("*.partial"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_segment_on_a_cluster_that_loses_a_node(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    (place / "in" / "sub" / "fatal5.png").rename(place / "in" / "sub" / "blackout5.png")
    words = ("segment", "in", "-w", "tiny.pt", "--device", "cpu", "--no-html", "-q")
    assert run(*words, "--out", "alone") == 3
    mark = place / "mark"
    done = on_cluster(place, *words, "--out", "cluster", ROADSEG_TEST_MARK=str(mark))
    assert done.returncode == 3, done.stderr
    assert mark.exists()  # a node did die
    assert digests(place / "cluster") == digests(place / "alone")
    assert len(digests(place / "cluster")) == 22
    assert rows(place / "cluster") == rows(place / "alone")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("harm", ["fatal", "blackout"])
def test_videos_on_a_cluster_that_loses_a_worker_or_its_node(
    place: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    monkeypatch.chdir(place)
    for i in range(3):
        make_clip(place / f"{harm if i == 1 else ''}{i}.mp4", count=6 + i)
    videos = ("0.mp4", f"{harm}1.mp4", "2.mp4")
    words = ("video", *videos, "-w", "tiny.pt", "--device", "cpu", "-q", "--no-html", "--crf", "0")
    assert run(*words, "--out", "alone") == 0
    mark = place / "mark"
    done = on_cluster(place, *words, "--out", "cluster", ROADSEG_TEST_MARK=str(mark))
    assert done.returncode == 0, done.stderr
    assert mark.exists()
    alone, cluster = documents(place, "report.json")
    assert cluster == alone
    names = sorted(path.name for path in (place / "alone").iterdir())
    assert sorted(path.name for path in (place / "cluster").iterdir()) == names
    for name in names:
        if name.endswith((".mp4", ".csv")) and name != "report.csv":
            assert (place / "cluster" / name).read_bytes() == (place / "alone" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_picture_that_kills_every_worker_fails_alone(place: Path) -> None:
    write_png(place / "in" / "poison.png", street(1)[0])
    words = ("segment", "in", "-w", "tiny.pt", "--device", "cpu", "--no-html", "--out", "out", "-q")
    done = on_cluster(place, *words, ROADSEG_TEST_MARK=str(place / "mark"))
    assert done.returncode == 3, done.stderr
    failed = [row["input"] for row in rows(place / "out") if row["status"] == "failed"]
    assert failed == ["2.png", "poison.png"]
    assert "3 workers died of it" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_eval_on_a_cluster(place: Path) -> None:
    make_cityscapes(place / "city", train=1, val=5)
    words = ("eval", "--data", place / "city", "-w", place / "tiny.pt", "--device", "cpu", "--no-html", "-q")
    words += ("--batch-size", 1)  # batches of another size round otherwise
    assert run(*words, "--out", place / "alone", "--save-predictions", place / "p1") == 0
    done = on_cluster(place, *words, "--out", place / "cluster", "--save-predictions", place / "p2")
    assert done.returncode == 0, done.stderr
    alone, cluster = (json.loads((place / name / "scores.json").read_text()) for name in ("alone", "cluster"))
    del alone["settings"], cluster["settings"]
    assert cluster == alone
    assert digests(place / "p1") == digests(place / "p2") != {}


def test_without_ray_the_command_to_install_it_is_told(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    write_png(tmp_path / "in" / "a.png", street(0)[0])
    words = ["segment", str(tmp_path / "in"), "-w", str(tiny_weights), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*words, "--ray", "local"])
    assert done.exit_code == 1
    assert "pip install 'roadseg[ray]'" in done.stderr


@pytest.mark.parametrize(
    ("address", "code", "said"),
    [
        ("", 2, "HOST:PORT"),
        ("nonsense", 2, "HOST:PORT"),
        ("nonsense:99999", 2, "HOST:PORT"),
        ("127.0.0.1:1", 1, "cannot be reached"),
    ],
)
@pytest.mark.timeout(60)
def test_an_address_where_nobody_is_is_told_at_once(
    tiny_weights: Path, tmp_path: Path, address: str, code: int, said: str
) -> None:
    pytest.importorskip("ray")
    write_png(tmp_path / "in" / "a.png", street(0)[0])
    words = ["segment", str(tmp_path / "in"), "-w", str(tiny_weights), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*words, "--ray", address])
    assert done.exit_code == code, done.output
    first, then = done.stderr.strip().splitlines()[-2:]
    assert said in first
    assert "0 of 1 pictures" in then
    assert "\\n" not in done.stderr
