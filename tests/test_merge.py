"""Shards that are merged are the whole run again, to the last digit; what is no whole is refused."""

import csv
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import make_cityscapes, street, tiny_checkpoint, write_png
from typer.testing import CliRunner, Result

from roadseg.cli.app import app
from roadseg.engine.merge import merge, merged_settings
from roadseg.errors import MediaError, ReportError
from roadseg.model.checkpoint import save_checkpoint
from roadseg.report.run import Row, RunReport, Shard


def run(*arguments: object) -> Result:
    words = [str(a) for a in arguments]
    with pytest.MonkeyPatch.context() as patch:  # reports tell the command line
        patch.setattr("sys.argv", ["roadseg", *words])
        result = CliRunner().invoke(app, words)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven labelled pictures, one of them damaged, segmented in one run and in three shards.

    One by one: the network rounds a batch by its size, which moves a few pixels to the next level of the
    histogram of probabilities.
    """
    place = tmp_path_factory.mktemp("merge")
    save_checkpoint(tiny_checkpoint(), place / "tiny.pt")
    for i in range(7):
        rgb_HWC, label_HW = street(i, height=40 + 3 * i)
        name = f"{'sub/' if i % 2 else ''}{i}.png"
        write_png(place / "in" / name, rgb_HWC)
        write_png(place / "labels" / name, np.where(label_HW == 7, 255, 0).astype(np.uint8))
    (place / "in" / "2.png").write_bytes((place / "in" / "2.png").read_bytes()[:200])
    one_by_one = ("--device", "cpu", "--batch-size", 1, "-q")
    common = (place / "in", "-w", place / "tiny.pt", "--labels", place / "labels", *one_by_one)
    assert run("segment", *common, "--out", place / "whole").exit_code == 3
    for i in (1, 2, 3):
        run("segment", *common, "--out", place / "parts", "--shard", f"{i}/3")
    return place


def rows(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Without the time that each took."""
    return [{**row, "seconds": None} for row in data["rows"]]


@pytest.mark.parametrize("by_files", [False, True])
def test_merged_shards_are_the_whole_run(place: Path, tmp_path: Path, by_files: bool) -> None:
    shards = (
        sorted((place / "parts").glob("report-*of3.json"), reverse=True) if by_files else [place / "parts"]
    )
    outs = [tmp_path / f"m{suffix}" for suffix in (".json", ".csv", ".md", ".html")]
    done = run("report", *shards, *(part for out in outs for part in ("--out", out)), "--json")
    assert done.exit_code == 0, done.output
    merged = json.loads(outs[0].read_text())
    whole = json.loads((place / "whole" / "report.json").read_text())
    assert json.loads(done.stdout) == merged
    assert rows(merged) == rows(whole)
    lines = merged["settings"].pop("command_line")
    assert all(f"--shard {i}/3" in lines for i in (1, 2, 3))
    del whole["settings"]["command_line"]
    for name in ("counts", "scores", "boundary", "road", "classes", "settings", "stopped_by", "shard"):
        assert merged[name] == whole[name], name
    assert {**merged["totals"], "seconds": 0} == {**whole["totals"], "seconds": 0}
    assert merged["scores"]["global"]["pixels"] > 0
    assert merged["road"]["images"] == 6
    assert sum(map(sum, merged["road"]["counts"])) == merged["scores"]["global"]["pixels"]
    with outs[1].open(encoding="utf-8-sig", newline="") as file:
        assert [row["input"] for row in csv.DictReader(file)] == [row["input"] for row in whole["rows"]]
    assert "road IoU" in outs[2].read_text()
    assert "<td>road IoU</td>" in outs[3].read_text()


def test_merged_shards_compare_as_a_run(place: Path, tmp_path: Path) -> None:
    """The whole run against its own shards: no difference at all."""
    done = run("report", place / "whole", place / "parts", "--json")
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    assert [r["name"] for r in data["runs"]] == ["whole", "parts"]
    assert data["runs"][0]["headline"] == data["runs"][1]["headline"]
    (difference,) = data["differences"]
    assert (difference["higher"], difference["lower"], difference["same"]) == (0, 0, 6)
    assert all(values == {"difference": 0, "low": 0, "high": 0} for values in difference["measures"].values())
    shown = run("report", place / "whole", place / "parts", "--out", tmp_path / "c.html").stdout
    assert "disagree" not in shown + (tmp_path / "c.html").read_text()


def test_shards_that_ran_otherwise_are_of_one_run_all_the_same(place: Path, tmp_path: Path) -> None:
    """A batch that was halved for want of memory on one machine, seconds and command lines."""
    shards = []
    for i in (1, 2, 3):
        path = tmp_path / f"report-{i}of3.json"
        document = json.loads((place / "parts" / path.name).read_text())
        document["settings"]["engine"] |= {"batch_size": i, "out_of_memory": i == 2}
        document["settings"] |= {"seconds": 1.5, "pictures_per_second": i}
        path.write_text(json.dumps(document))
        shards.append((path, RunReport.from_dict(document)))
    settings = merge(shards).settings
    assert settings["seconds"] == 4.5
    assert settings["pictures_per_second"] == 2  # 1.5, 3 and 4.5 of them in 4.5 seconds
    many = merged_settings([{"command_line": f"roadseg {i}"} for i in range(1000)])
    assert many == {"command_line": "roadseg 0, roadseg 1, roadseg 2, ... (1000 in all)"}


def test_a_missing_shard_is_named(place: Path, tmp_path: Path) -> None:
    shards = [place / "parts" / f"report-{i}of3.json" for i in (1, 3)]
    done = run("report", *shards, "--out", tmp_path / "m.json")
    assert done.exit_code == 1
    assert "2/3 is missing" in done.stderr
    assert "--partial" in done.stderr
    assert not (tmp_path / "m.json").exists()
    done = run("report", *shards, "--out", tmp_path / "m.json", "--partial")
    assert done.exit_code == 3
    assert "shard 2/3 is missing" in done.stderr
    merged = json.loads((tmp_path / "m.json").read_text())
    whole = json.loads((place / "whole" / "report.json").read_text())
    assert rows(merged) == [row for i, row in enumerate(rows(whole)) if i % 3 != 1]
    assert merged["stopped_by"] == "shard 2/3 is missing"


def test_shards_are_merged_out_of_a_folder_with_a_report(place: Path, tmp_path: Path) -> None:
    """The natural place of the merged report is beside the shards; it is read from then on."""
    target = tmp_path / "parts"
    target.mkdir()
    for path in (place / "parts").glob("report-*of3.json"):
        (target / path.name).write_bytes(path.read_bytes())
    assert run("report", target, "--out", target / "report.json").exit_code == 0
    merged = json.loads((target / "report.json").read_text())
    assert run("report", target, "--json").stdout.count("roadseg/comparison") == 1
    again = run("report", target, "--merge", "--json")
    assert json.loads(again.stdout) == merged
    whole = run("report", place / "whole", "--merge")
    assert whole.exit_code == 1
    assert "is a whole run, no shard" in whole.stderr


def test_what_is_no_segmentation_is_not_merged(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"schema": "roadseg/train", "version": 1}')
    done = run("report", tmp_path / "x.json", "--merge")
    assert done.exit_code == 1
    assert "only what `--shard` left can be merged" in done.stderr


# ---------------------------------------------------------------- by hand


def shard(index: int, names: str, *, count: int = 2, inputs: int = 5, **facts: Any) -> tuple[Path, RunReport]:
    report = RunReport(
        command="segment",
        classes=("background", "road"),
        settings={"weights": f"w{index}.pt", "weights_sha256": "f00", "device": "cpu", "threshold": 0.5},
        rows=[Row(input=name, counts=[[1, 0, 0], [0, ord(name), 0]]) for name in names],
    )
    report.shard = Shard(index, count, inputs)
    report.finished = report.started
    for name, value in facts.items():
        setattr(report, name, value)
    return Path(f"report-{index}of{count}.json"), report


def test_order_counts_and_what_shards_may_have_of_their_own() -> None:
    one, two = shard(1, "ace"), shard(2, "bd")
    two[1].settings = {**two[1].settings, "device": "cuda:0"}
    merged = merge([two, one])
    assert [row.input for row in merged.rows] == list("abcde")
    assert merged.counts == [[5, 0, 0], [0, sum(map(ord, "abcde")), 0]]
    assert merged.settings["device"] == "cpu, cuda:0"
    assert merged.settings["weights"] == "w1.pt, w2.pt"
    assert (merged.shard, merged.stopped_by) == (None, None)


def test_a_shard_without_inputs() -> None:
    assert [r.input for r in merge([shard(1, "a", inputs=1), shard(2, "", inputs=1)]).rows] == ["a"]


@pytest.mark.parametrize(
    ("facts", "match"),
    [
        ({"settings": {"weights_sha256": "f00", "threshold": 0.4}}, r"threshold is 0\.4, there 0\.5"),
        ({"settings": {"weights_sha256": "bad", "threshold": 0.5}}, "weights_sha256 is bad, there f00"),
        ({"settings": {"weights_sha256": "f00", "threshold": 0.5, "ids": "x"}}, "ids is x, there None"),
        ({"classes": ("sky", "road")}, "classes is sky, road, there background, road"),
        ({"shard": Shard(2, 3, 5)}, "number of shards is 3, there 2"),
        ({"shard": Shard(2, 2, 4)}, "number of inputs is 4, there 5"),
        ({"shard": Shard(1, 2, 5)}, "is shard 1/2 again"),
        ({"shard": None}, "is a whole run"),
        ({"rows": []}, r"2/2 is unfinished \(0 of 2 inputs\)"),
        ({"stopped_by": "Ctrl-C"}, r"2/2 is unfinished \(2 of 2 inputs\)"),
        (
            {"rows": [Row(input="b"), Row(input="d"), Row(input="f")]},
            "has 3 inputs, but shard 2/2 of 5 has 2",
        ),
        ({"rows": [Row(input="b"), Row(input="c")]}, "c: is in two shards"),
    ],
)
def test_what_is_refused(facts: dict[str, Any], match: str) -> None:
    with pytest.raises(ReportError, match=match):
        merge([shard(1, "ace"), shard(2, "bd", **facts)])


def test_an_unfinished_shard_may_be_done_without() -> None:
    merged = merge([shard(1, "a", stopped_by="Ctrl-C"), shard(2, "bd")], partial=True)
    assert [row.input for row in merged.rows] == ["a", "b", "d"]
    assert merged.stopped_by == "shard 1/2 is unfinished (1 of 3 inputs)"


def test_rows_of_earlier_runs_are_counted_once() -> None:
    one, two = shard(1, "ace"), shard(2, "bd")
    old = [replace(row, earlier=True) for row in shard(1, "bx")[1].rows]
    one[1].rows += old  # b was in this shard once, and is in the other now
    merged = merge([one, two])
    assert [(row.input, row.earlier) for row in merged.rows] == [*((n, False) for n in "abcde"), ("x", True)]
    two[1].rows.append(old[1])
    with pytest.raises(ReportError, match="x: is in two shards"):
        merge([one, two])


def test_failures_keep_their_place() -> None:
    one, two = shard(1, "a", inputs=3), shard(2, "b", inputs=3)
    one[1].failed("c", MediaError("damaged"))
    merged = merge([one, two])
    assert [(row.input, row.status) for row in merged.rows] == [("a", "ok"), ("b", "ok"), ("c", "failed")]
    assert merged.exit_code == 3


# ---------------------------------------------------------------- eval


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures of Cityscapes' 19 classes, scored in one run and in two shards, one of them twice."""
    place = tmp_path_factory.mktemp("evaluated")
    save_checkpoint(tiny_checkpoint("cityscapes19"), place / "tiny.pt")
    make_cityscapes(place / "data", train=1, val=5)
    for label in (place / "data").rglob("*_labelIds.png"):
        ids = np.zeros((48, 96), np.uint16)
        ids[20:30, :40], ids[20:30, 50:] = 26000, 26001  # two cars
        cv2.imwrite(str(label).replace("labelIds", "instanceIds"), ids)
    common = ("--data", place / "data", "-w", place / "tiny.pt", "--device", "cpu", "-q", "--no-html")
    assert run("eval", *common, "--out", place / "whole").exit_code == 0
    for i, more in ((2, ()), (1, ()), (2, ("--overwrite",))):
        assert run("eval", *common, "--out", place / "parts", "--shard", f"{i}/2", *more).exit_code == 0
    return place


def test_merged_shards_of_an_evaluation_are_the_whole(evaluated: Path, tmp_path: Path) -> None:
    names = {path.name for path in (evaluated / "parts").iterdir()}
    assert names == {
        f"{kind}-{i}of2.{end}" for i in (1, 2) for kind, end in (("scores", "json"), ("per_image", "csv"))
    }
    done = run("report", evaluated / "parts", "--out", tmp_path / "m.json", "--out", tmp_path / "m.csv")
    assert done.exit_code == 0, done.output
    merged, whole = (
        json.loads(path.read_text()) for path in (tmp_path / "m.json", evaluated / "whole/scores.json")
    )
    assert merged["instances"]["counts"]
    assert merged["settings"].keys() == whole["settings"].keys()
    del merged["settings"], whole["settings"]
    assert merged == whole
    assert (tmp_path / "m.csv").read_bytes() == (evaluated / "whole/per_image.csv").read_bytes()


def test_a_shard_of_an_evaluation_that_lacks_is_named(evaluated: Path, tmp_path: Path) -> None:
    shard = evaluated / "parts" / "scores-2of2.json"
    done = run("report", shard, "--merge")
    assert done.exit_code == 1
    assert "1/2 is missing" in done.stderr
    done = run("report", shard, "--merge", "--partial", "--out", tmp_path / "m.json")
    assert done.exit_code == 3
    assert len(json.loads((tmp_path / "m.json").read_text())["images"]) == 2
    document = json.loads(shard.read_text())
    document["settings"]["threshold"] = 0.1
    (tmp_path / "other.json").write_text(json.dumps(document))
    done = run("report", evaluated / "parts" / "scores-1of2.json", tmp_path / "other.json", "--merge")
    assert done.exit_code == 1
    assert "threshold is 0.1, there 0.5" in done.stderr


def test_a_shard_of_an_evaluation_says_where_it_goes(evaluated: Path) -> None:
    words = ("eval", "--data", evaluated / "data", "-w", evaluated / "tiny.pt", "--shard")
    assert "--shard needs --out" in run(*words, "1/2").stderr
    assert "must be i/n" in run(*words, "3/2", "--out", evaluated / "x").stderr


# ---------------------------------------------------------------- under a scheduler


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("variable", "first"), [("SLURM_ARRAY_TASK_ID", 1), ("JOB_COMPLETION_INDEX", 0)])
def test_the_parts_of_an_array_job(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, first: int
) -> None:
    """The README's line in a shell, in two parts, each with the variable that its scheduler sets."""
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    ((line, rest),) = re.findall(rf"(roadseg segment frames [^'\n]*{variable}[^'\n]*)/100([^'\n]*)", readme)
    some_failed = 0 if "-eq 3" in rest else 3  # Kubernetes would run the part again
    line = f"{line}/2 -w {place / 'tiny.pt'} --labels {place / 'labels'} --device cpu -q{rest}"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "frames").symlink_to(place / "in")

    def part(task: int) -> int:
        command = ["sh", "-c", line.replace("roadseg", f"{sys.executable} -m roadseg", 1)]
        env = {**os.environ, variable: str(task), "PYTHONPATH": str(Path(__file__).parents[1])}
        return subprocess.run(command, env=env, check=False, timeout=250).returncode

    assert [part(first), part(first + 1)] == [0, some_failed]  # the damaged picture is in the second one
    last = tmp_path / "masks" / "masks" / "sub" / "3.png"
    last.unlink()  # as if it had died half-way, and comes again
    assert part(first + 1) == some_failed
    assert last.exists()
    assert run("report", "masks", "--out", "masks/report.json").exit_code == 0
    merged, whole = (
        json.loads((folder / "report.json").read_text()) for folder in (tmp_path / "masks", place / "whole")
    )
    assert merged["counts"] == whole["counts"]
    assert merged["scores"] == whole["scores"]
    assert [row["input"] for row in merged["rows"]] == [row["input"] for row in whole["rows"]]
    for mask in (place / "whole" / "masks").rglob("*.png"):
        assert mask.read_bytes() == (tmp_path / "masks" / mask.relative_to(place / "whole")).read_bytes()
