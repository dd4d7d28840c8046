"""The command line of train, eval and download-check: what they refuse, and what they leave alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trees
from conftest import make_cityscapes, street, write_png
from typer.testing import CliRunner, Result

from roadseg.cli import evaluating
from roadseg.cli.app import app
from roadseg.dataset.samples import find_samples
from roadseg.model.checkpoint import load_checkpoint, save_checkpoint

TRAIN = ("--model", "nano", "--imgsz", 64, "--batch-size", 3, "--workers", 0, "--device", "cpu", "-q")


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception  # a bug of ours: show it
    return result


def make_sequences(root: Path, count: int = 8, frames: int = 2) -> Path:
    """Toy streets in plain folders, a sequence each, without a val."""
    for i in range(count):
        for n in range(frames):
            rgb_HWC, label_HW = street(10 * i + n)
            write_png(root / f"images/seq{i}/{n}.png", rgb_HWC)
            write_png(root / f"masks/seq{i}/{n}.png", np.where(label_HW == 7, 255, 0).astype(np.uint8))
    return root


# ---------------------------------------------------------------- eval


def test_eval_scores_what_training_held_out(tmp_path: Path) -> None:
    """Whatever seed and share it trained with: no picture of train is scored."""
    data, runs = make_sequences(tmp_path / "data"), tmp_path / "runs"
    own = ("--seed", 5, "--val-fraction", 0.4, "--epochs", 1, "--runs", runs, "--name", "a")
    trained = run("train", "--data", data, *TRAIN, *own)
    assert trained.exit_code == 0, trained.output
    best = runs / "a" / "best.pt"
    scored = run("eval", "--data", data, "-w", best, "--out", tmp_path / "e", "--device", "cpu", "-q")
    assert scored.exit_code == 0, scored.output
    keys = [
        row.split(",")[0]
        for row in (tmp_path / "e" / "per_image.csv").read_text(encoding="utf-8-sig").splitlines()[1:]
    ]
    assert keys == [sample.key for sample in find_samples(data, "val", val_fraction=0.4)]
    assert len(keys) == 6
    report = json.loads((tmp_path / "e" / "scores.json").read_text())
    seen = load_checkpoint(best).scores["data_road_iou"]
    assert report["scores"]["per_class"]["road"]["iou"] == pytest.approx(seen)


def test_eval_keeps_data_sets_of_one_name_apart(tiny_weights: Path, tmp_path: Path) -> None:
    roots = [make_cityscapes(tmp_path / place / "cid", train=1, val=n) for place, n in (("x", 1), ("y", 2))]
    both = [part for root in roots for part in ("--data", root)]
    result = run(
        "eval", *both, "-w", tiny_weights, "--out", tmp_path / "e", "--save-predictions", tmp_path / "p",
        "--device", "cpu", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    reports = [entry["report"] for entry in json.loads(result.stdout)["evaluations"]]
    assert reports == [str(tmp_path / "e" / name / "scores.json") for name in ("cid", "cid-2")]
    counts = [len(list((tmp_path / "p" / name).rglob("*_labelIds.png"))) for name in ("cid", "cid-2")]
    assert counts == [1, 2]


def test_evals_at_once_have_folders_of_their_own(
    cityscapes: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one begins while the first one scores; what fails leaves no folder."""
    monkeypatch.chdir(tmp_path)
    words = ("eval", "--data", cityscapes, "-w", tiny_weights, "--device", "cpu", "--json", "--no-html")
    real, inner = evaluating.evaluate, []

    def first(*given: Any, **more: Any) -> Any:
        monkeypatch.setattr(evaluating, "evaluate", real)
        inner.append(run(*words))
        return real(*given, **more)

    monkeypatch.setattr(evaluating, "evaluate", first)
    reports = [json.loads(done.stdout)["evaluations"][0]["report"] for done in (run(*words), *inner)]
    assert reports == [f"runs/eval/{name}/scores.json" for name in ("cityscapes", "cityscapes-2")]
    next((cityscapes / "leftImg8bit/val").rglob("*.png")).write_bytes(b"")
    assert run(*words).exit_code == 1
    assert sorted(path.name for path in (tmp_path / "runs/eval").iterdir()) == ["cityscapes", "cityscapes-2"]


def test_more_parts_than_pictures_are_refused(cityscapes: Path, tiny_weights: Path, tmp_path: Path) -> None:
    """Each of them, so that no job runs that cannot be put together."""
    words = ("eval", "--data", cityscapes, "-w", tiny_weights, "--device", "cpu", "--out", tmp_path / "e")
    for part in ("1/3", "3/3"):
        done = run(*words, "--shard", part)
        assert done.exit_code == 2
        assert f"shard is {part}, but {cityscapes} has 2 pictures in val" in done.stderr
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize("taken", ["e/scores.json", "e/per_image.csv", "p/cityscapes/ulm/{key}_labelIds.png"])
def test_eval_replaces_nothing_unless_told(
    cityscapes: Path, tiny_weights: Path, tmp_path: Path, taken: str
) -> None:
    path = tmp_path / taken.format(key="ulm_000001_000019")
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    arguments = (
        "eval", "--data", cityscapes, "-w", tiny_weights, "--out", tmp_path / "e", "--device", "cpu",
        "--save-predictions", tmp_path / "p", "-q",
    )  # fmt: skip
    before = sorted(tmp_path.rglob("*"))
    refused = run(*arguments)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert f"{path}: is there already" in refused.stderr
    assert "--overwrite" in refused.stderr
    assert path.read_text() == "mine"
    assert sorted(tmp_path.rglob("*")) == before
    done = run(*arguments, "--overwrite")
    assert done.exit_code == 0, done.output
    assert path.read_bytes() != b"mine"


# ---------------------------------------------------------------- train


def test_train_leaves_folders_that_are_no_runs_alone(cityscapes: Path, tmp_path: Path) -> None:
    mine = tmp_path / "runs" / "user"
    mine.mkdir(parents=True)
    (mine / "config.json").write_text("mine")
    result = run("train", "--data", cityscapes, *TRAIN, "--runs", tmp_path / "runs", "--name", "user")
    assert result.exit_code == 1
    assert f"{mine}: is not empty" in result.stderr
    assert [p.name for p in mine.iterdir()] == ["config.json"]
    assert (mine / "config.json").read_text() == "mine"


def test_train_finds_its_data_in_the_environment(
    cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITYSCAPES_DATASET", str(cityscapes))
    result = run("train", *TRAIN, "--epochs", 1, "--runs", tmp_path, "--name", "a")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "a" / "config.json").read_text())["data"] == [str(cityscapes)]


def test_the_start_that_is_given_replaces_the_recipes(
    cityscapes: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"encoder_weights": "imagenet"}))
    arguments = ("train", "--data", cityscapes, "--recipe", recipe, *TRAIN[2:], "--runs", tmp_path)
    result = run(*arguments, "--epochs", 1, "--name", "a", "--weights", tiny_weights)
    assert result.exit_code == 0, result.output
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert config["weights"] == str(tiny_weights)
    assert config["encoder_weights"] is None
    recipe.write_text(json.dumps({"weights": "road-small"}))
    result = run(*arguments, "--name", "b", "--encoder-weights", tmp_path / "none.pth")
    assert "none.pth" in result.stderr, "the encoder's weights are looked for, and no rival is named"
    assert "left out, for what is given in its place: weights road-small." in result.stderr
    recipe.write_text(json.dumps({"weights": "road-base"}))
    result = run(*arguments, "--epochs", 1, "--encoder", "resnet18", "--name", "c")
    assert result.exit_code == 0, result.output
    config = json.loads((tmp_path / "c" / "config.json").read_text())
    assert (config["model"], config["encoder"], config["weights"]) == ("base", "resnet18", None)


def test_train_resumes_from_another_folder_and_by_its_own_recipe_alone(
    cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    entries = [{"name": n, "color": [9, 9, 9], "values": v} for n, v in (("rest", [22, 23]), ("road", [7]))]
    (here / "mine.json").write_text(json.dumps({"classes": entries, "void": [0]}))
    monkeypatch.chdir(here)
    first = run("train", "--data", cityscapes, *TRAIN, "--epochs", 1, "--runs", "runs", "--name", "first")
    assert first.exit_code == 0, first.output
    done = run(
        "train", "--data", cityscapes, *TRAIN, "--epochs", 1, "--runs", "runs", "--name", "a",
        "--classes", "mine.json", "--weights", "runs/first/best.pt",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    config = json.loads((here / "runs/a/config.json").read_text())
    assert config["classes"] == str(here / "mine.json")
    assert config["weights"] == str(here / "runs/first/best.pt")
    monkeypatch.chdir(there)
    (here / "runs/first/best.pt").unlink()
    last = here / "runs/a/last.pt"
    resumed = run("train", "--resume", last, "--device", "cpu", "--workers", 0, "-q")
    assert resumed.exit_code == 0, resumed.output
    assert list(there.iterdir()) == []
    refused = run("train", "--resume", last.parent, "--epochs", 1, "-w", "x.pt", "--no-amp", "--workers", 0)
    assert refused.exit_code == 2
    assert "leave out --weights, --epochs, --amp, or start" in refused.stderr


LONG = "x" * 300  # more than a file's name may have
MISTAKES: list[tuple[tuple[str, ...], int, str]] = [
    (("train", "--data", "{data}", "--name", ""), 2, "name is ''"),
    (("train", "--data", "{data}", "--name", "cache"), 2, "the picture cache has that folder"),
    (("train", "--data", "{data}", "--name", "../x"), 2, "must be a name, not a path"),
    (("train", "--data", "{tmp}/file"), 1, "file: this is a file; give the folder"),
    *((("train", "--data", "{data}", *words), code, message) for words, code, message in (
        (("--name", LONG), 2, "name has 300 letters"),
        (("--classes", LONG), 2, "unknown classes 'xxx"),
        (("--recipe", LONG), 2, "must be a JSON file, or one of"),
        (("--weights", LONG), 1, "there is no such weights file"),
        (("--model", "small", "--encoder-weights", LONG), 1, "no such file of encoder weights"),
        (("--recipe", "{tmp}/odd.json"), 2, "odd.json: weights is 5, but must be a text or null."),
    )),
    (("train", "--data", LONG), 1, "no such folder"),
    (("train", "--resume", LONG), 1, "nothing to resume"),
    (("train", "--recipe", "{tmp}/letters.json"), 2, "letters.json: data is 'cs', but must be a list"),
    (("eval", "--data", "{data}", "--weights", LONG), 1, "there is no such weights file"),
    (("train",), 2, "No data set was named"),
    (("eval",), 2, "No data set was named"),
    (("download-check",), 2, "No data set was named"),
    (("eval", "--data", "{data}", "--workers", "-5"), 2, "workers is -5"),
    (("eval", "--data", "{tmp}/file"), 1, "file: this is a file; give the folder"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "message"), MISTAKES, ids=lambda v: str(v)[:60])
def test_mistakes_are_one_clear_line(
    cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...], code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CITYSCAPES_DATASET", raising=False)
    (tmp_path / "file").touch()
    (tmp_path / "odd.json").write_text('{"weights": 5}')
    (tmp_path / "letters.json").write_text('{"data": "cs"}')
    before = sorted(tmp_path.rglob("*"))
    result = run(*(a.format(tmp=tmp_path, data=cityscapes) for a in arguments))
    assert result.exit_code == code
    assert message in result.stderr
    assert sorted(tmp_path.rglob("*")) == before, "nothing is written"


def test_a_checkpoint_without_a_recipe_is_scored_with_the_usual_share(
    tiny_weights: Path, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(tiny_weights)
    checkpoint.recipe = {"val_fraction": 0.0}  # of a set that has a val
    save_checkpoint(checkpoint, tiny_weights)
    data = make_sequences(tmp_path / "data", 4)
    result = run("eval", "--data", data, "-w", tiny_weights, "--out", tmp_path / "e", "--device", "cpu")
    assert result.exit_code == 0, result.output


# ---------------------------------------------------------------- download-check


def test_no_verdict_of_completeness_without_official_counts(tmp_path: Path) -> None:
    shown = run("download-check", "--data", trees.make_comma10k(tmp_path / "comma"), "-q")
    assert shown.exit_code == 0
    assert "Usable; no official counts are known for this set." in shown.stdout
    assert "Complete" not in shown.stdout
    shown = run("download-check", "--data", trees.make_idd(tmp_path / "idd"), "-q")
    assert shown.exit_code == 3
    assert "of the official 1403 pairs, 1400 are missing" in shown.stdout


def test_groups_are_listed_only_where_there_are_some(tmp_path: Path) -> None:
    names = ("train/1", "train/2", "val/3")
    one = run("download-check", "--data", trees.make_folder(tmp_path / "a", names, "{kind}/{split}/{name}"))
    rows = [line.split()[0] for line in one.stdout.splitlines() if line.rstrip().endswith(("1", "2"))]
    assert rows == ["all", "all"]
    trees.make_folder(tmp_path / "a", ("train/seq/4",), "{kind}/{split}/{name}")
    two = run("download-check", "--data", tmp_path / "a")
    rows = [line.split()[0] for line in two.stdout.splitlines() if line.rstrip().endswith(("1", "2", "3"))]
    assert rows == ["–", "seq", "all", "all"]


def test_a_mistyped_path_is_not_told_how_to_get_cityscapes(tmp_path: Path) -> None:
    for lost in (tmp_path / "nowhere", trees.write_photo(tmp_path / "photos/a.png").parent):
        shown = run("download-check", "--data", lost)
        assert shown.exit_code == 1
        assert "How to get" not in shown.stdout
    trees.make_cityscapes(tmp_path / "part", {"train": {"ulm": 1}})
    (tmp_path / "empty").mkdir()  # for what is about to be fetched
    for wanted in (tmp_path / "part", tmp_path / "empty"):
        assert "How to get" in run("download-check", "--data", wanted).stdout
