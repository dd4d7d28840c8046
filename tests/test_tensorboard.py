"""What `train --tensorboard` logs, read back from its event file by TensorBoard itself."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from roadseg.cli.app import app

TRAIN = ("--model", "nano", "--imgsz", "64", "--batch-size", "3", "--workers", "0", "--device", "cpu", "-q")


def train(data: Path, runs: Path, *more: object) -> Result:
    common = ("train", "--data", data, "--runs", runs, "--name", "a", "--val-every", 2, *TRAIN, *more)
    return CliRunner().invoke(app, [*map(str, common)])


def events(folder: Path) -> Any:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(folder))
    found.Reload()
    return found


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found = events(folder)
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_every_number_of_every_epoch_and_the_samples(cityscapes: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    done = train(cityscapes, tmp_path, "--tensorboard", "--epochs", 3)
    assert done.exit_code == 0, done.output
    history = json.loads((tmp_path / "a" / "report.json").read_text())["history"]
    logged = scalars(tmp_path / "a")
    assert set(logged) == {
        "train/loss", "train/lr", "train/seconds", "train/skipped",
        "val/score", "val/cityscapes_road_iou", "val/cityscapes_pixel_accuracy",
    }  # fmt: skip
    for tag, values in logged.items():
        name = tag.split("/")[1]
        told = [(row["epoch"], row[name]) for row in history if row.get(name) is not None]
        assert [step for step, _ in values] == [epoch for epoch, _ in told]
        assert [value for _, value in values] == pytest.approx([value for _, value in told])
    assert [step for step, _ in logged["train/loss"]] == [1, 2, 3]
    assert [step for step, _ in logged["val/score"]] == [2, 3]
    images = events(tmp_path / "a").Images("samples")
    assert [image.step for image in images] == [2, 3]
    assert images[0].width == 3 * 480


def test_a_resumed_run_goes_on_in_the_same_curves(cityscapes: Path, tmp_path: Path) -> None:
    """What was logged after the checkpoint, by a run that was killed, is forgotten."""
    pytest.importorskip("tensorboard")
    from roadseg.engine.tensorboard import Board

    folder = tmp_path / "a"
    with Board(folder, 0) as board:
        for epoch in (1, 2, 3):
            board.epoch({"epoch": epoch, "loss": 100.0 + epoch, "score": None}, folder / "none.jpg")
    with Board(folder, 2) as board:  # resumed after epoch 2
        board.epoch({"epoch": 3, "loss": 3.0, "score": 0.5}, folder / "none.jpg")
    assert scalars(folder) == {"train/loss": [(1, 101.0), (2, 102.0), (3, 3.0)], "val/score": [(3, 0.5)]}


def test_without_the_extra_it_says_how_to_get_it(
    cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    done = train(cityscapes, tmp_path / "runs", "--tensorboard", "--epochs", 1)
    assert done.exit_code == 2
    assert "pip install 'roadseg[tensorboard]'" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_without_the_option_nothing_is_logged(cityscapes: Path, tmp_path: Path) -> None:
    assert train(cityscapes, tmp_path, "--epochs", 1).exit_code == 0
    assert not list((tmp_path / "a").glob("events*"))
