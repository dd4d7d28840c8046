"""Training end to end on toy streets: it learns, resumes to the same bits, and stops when it should."""

import csv
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trees
from conftest import another_run, make_cityscapes, tiny_checkpoint, write_png
from typer.testing import CliRunner

from roadseg.cli.app import app
from roadseg.config import MODELS, InferConfig, SegmentConfig, TrainConfig, UNetConfig
from roadseg.engine import runs
from roadseg.engine import train as train_module
from roadseg.engine.distributed import Group
from roadseg.engine.gradients import Gradients
from roadseg.engine.initial import initial_model
from roadseg.engine.listener import TrainListener
from roadseg.engine.losses import SegmentationLoss
from roadseg.engine.runs import (
    named_folder,
    new_folder,
    read_recipe,
    resume_training,
    start_training,
    unnamed_folder,
)
from roadseg.engine.sources import find_sources, unique_names
from roadseg.errors import (
    CheckpointError,
    ConfigError,
    DatasetError,
    MemoryLimitError,
    OutputError,
    RoadsegError,
)
from roadseg.model.checkpoint import load_checkpoint, previous_of, save_checkpoint
from roadseg.model.encoder import LiteEncoder


def recipe(root: Path, **settings: Any) -> TrainConfig:
    """A run of seconds: nano at 64 pixels, in this process."""
    usual: dict[str, Any] = {
        "model": "nano",
        "epochs": 4,
        "batch_size": 3,
        "imgsz": 96,
        "workers": 0,
        "lr": 5e-3,
        "device": "cpu",
        "ema": 0.9,
    }
    return TrainConfig(data=(str(root),), **{**usual, **settings})


def same_bits(a: Path, b: Path) -> None:
    """Weights, state of optimizer and schedule, and history of two `last.pt` are equal to the bit."""
    one, other = load_checkpoint(a / "last.pt"), load_checkpoint(b / "last.pt")

    def compare(x: Any, y: Any, where: str) -> None:
        assert type(x) is type(y), where
        if isinstance(x, torch.Tensor):
            assert torch.equal(x, y), where
        elif isinstance(x, dict):
            assert x.keys() == y.keys(), where
            for key in x.keys() - {"seconds"}:
                compare(x[key], y[key], f"{where}.{key}")
        elif isinstance(x, list | tuple):
            assert len(x) == len(y), where
            for i, (p, q) in enumerate(zip(x, y, strict=True)):
                compare(p, q, f"{where}[{i}]")
        else:
            assert x == y, where

    compare(dict(one.model.state_dict()), dict(other.model.state_dict()), "weights")
    compare(one.training, other.training, "training")


class Killed(Exception):
    """Stands for the end of the process."""


class KillAfter(TrainListener):
    """Ends the run in the middle of the epoch after `epoch`."""

    def __init__(self, epoch: int) -> None:
        self.last = epoch

    def step(self, epoch: int, step: int, steps: int, loss: float, lr: float) -> None:
        if epoch > self.last:
            raise Killed


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "sgd", "schedule": "poly", "workers": 2, "loss": "ohem+dice"},
        {"schedule": "plateau", "ema": 0.0, "optimizer": "adam", "cache": "none", "loss": "ce+lovasz"},
    ],
    ids=["default", "sgd-poly", "plateau"],
)
def test_resumed_equals_uninterrupted_to_the_bit(
    cityscapes: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    config = recipe(cityscapes, **settings)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    start_training(config, whole, TrainListener())
    with pytest.raises(Killed):
        start_training(config, parts, KillAfter(2))
    assert len(load_checkpoint(parts / "last.pt").training["history"]) == 2  # type: ignore[index]
    resume_training(parts, TrainListener(), device="cpu", workers=config.workers)
    same_bits(whole, parts)


def test_one_process_trains_at_a_time(cityscapes: Path, tmp_path: Path) -> None:
    """A second `--resume` of a run that is going on stops before it touches anything."""
    config = recipe(cityscapes, epochs=2)
    with pytest.raises(Killed):
        start_training(config, tmp_path / "run", KillAfter(1))
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    command = ["train", "--resume", str(tmp_path / "run"), "--device", "cpu", "--workers", "0", "--no-html"]
    with another_run(tmp_path / "run"):
        other = CliRunner().invoke(app, command)
    assert other.exit_code == 1
    assert "another run of roadseg is writing" in " ".join(other.output.split())
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()} == before
    assert CliRunner().invoke(app, command).exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_the_number_of_workers_changes_no_bit(cityscapes: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        config = recipe(cityscapes, workers=workers, epochs=2)
        start_training(config, tmp_path / str(workers), TrainListener())
    same_bits(tmp_path / "0", tmp_path / "2")


def test_it_learns_the_road_and_leaves_what_it_promises(tmp_path: Path) -> None:
    root = make_cityscapes(tmp_path / "data", train=4, val=2)
    folder = tmp_path / "run"
    config = recipe(root, epochs=60, batch_size=4, augment="light", val_every=30, lr=1e-2)
    result = start_training(config, folder, TrainListener())
    assert result.best_score > 0.8  # 0.93 with this seed, 0.85 to 0.93 with others
    assert {p.name for p in folder.iterdir()} >= {
        "last.pt", "last.previous.pt", "best.pt", "results.csv", "report.json", "config.json",
        "curves.png", "samples",
    }  # fmt: skip
    assert not list(folder.rglob("*.partial"))
    with (folder / "results.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == [str(i + 1) for i in range(60)]
    assert [row["epoch"] for row in rows if row["score"]] == ["30", "60"]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"]) / 2
    assert TrainConfig.from_dict(json.loads((folder / "config.json").read_text())) == config
    assert len(list((folder / "samples").glob("*.jpg"))) == 2
    best = load_checkpoint(folder / "best.pt")
    assert best.training is None
    assert best.scores["score"] == pytest.approx(result.best_score)
    assert best.recipe["lr"] == 1e-2


def test_early_stopping_counts_validations_without_progress(
    cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.1, 0.5, 0.4, 0.5, 0.3, 0.9])
    monkeypatch.setattr(train_module, "primary_score", lambda *_: next(scores))
    result = start_training(recipe(cityscapes, epochs=6, patience=3), tmp_path / "run", TrainListener())
    assert (result.epochs, result.best_epoch, result.best_score, result.stopped_early) == (5, 2, 0.5, True)


@pytest.mark.parametrize(
    ("schedule", "falls"), [("cosine", True), ("poly", True), ("plateau", False)], ids=lambda v: str(v)
)
def test_the_learning_rate_warms_up_and_falls(
    cityscapes: Path, tmp_path: Path, schedule: Any, falls: bool
) -> None:
    rates: list[float] = []

    class Listener(TrainListener):
        def step(self, epoch: int, step: int, steps: int, loss: float, lr: float) -> None:
            rates.append(lr)

    config = recipe(cityscapes, schedule=schedule, epochs=6, warmup_epochs=2, batch_size=3)
    start_training(config, tmp_path / "run", Listener())
    # steps 2, 4, ... of 12 are reported; the warm-up has 4 steps
    assert rates[0] == pytest.approx(0.5 * config.lr, rel=0.1)
    assert max(rates) <= config.lr * 1.0001
    assert (rates[-1] < 0.2 * config.lr) == falls


def test_plateau_halves_the_rate(cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_module, "primary_score", lambda *_: 0.5)
    config = recipe(cityscapes, schedule="plateau", epochs=8, patience=0, warmup_epochs=1)
    start_training(config, tmp_path / "run", TrainListener())
    history = load_checkpoint(tmp_path / "run" / "last.pt").training["history"]  # type: ignore[index]
    assert history[5]["lr"] == pytest.approx(config.lr)
    assert history[-1]["lr"] == pytest.approx(config.lr / 2)


def test_a_damaged_last_checkpoint_falls_back_to_the_one_before(cityscapes: Path, tmp_path: Path) -> None:
    config = recipe(cityscapes, epochs=3)
    whole, hurt = tmp_path / "whole", tmp_path / "hurt"
    start_training(config, whole, TrainListener())
    start_training(config, hurt, TrainListener())
    data = (hurt / "last.pt").read_bytes()
    (hurt / "last.pt").write_bytes(data[: len(data) // 2])
    said: list[str] = []

    class Listener(TrainListener):
        def message(self, text: str) -> None:
            said.append(text)

    resume_training(hurt, Listener(), device="cpu", workers=0)
    assert "last.previous.pt" in said[0]
    same_bits(whole, hurt)


@pytest.mark.parametrize("hurt", ["damaged", "gone"])
def test_a_lost_last_checkpoint_costs_an_epoch_however_often_it_is_killed(
    cityscapes: Path, tmp_path: Path, hurt: str
) -> None:
    """The one before takes its place at once, and no damaged file takes the place of the one before."""
    config = recipe(cityscapes, epochs=3)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    start_training(config, whole, TrainListener())
    with pytest.raises(Killed):
        start_training(config, parts, KillAfter(2))
    last = parts / "last.pt"
    if hurt == "gone":
        last.unlink()
    else:
        last.write_bytes(last.read_bytes()[:9000])
    with pytest.raises(OutputError, match="holds a run already"):
        start_training(config, parts, TrainListener())
    with pytest.raises(Killed):
        resume_training(parts, KillAfter(0), device="cpu", workers=0)
    assert len(load_checkpoint(last).training["history"]) == 1  # type: ignore[index]
    previous_of(last).unlink()  # which was one file with it
    with pytest.raises(Killed):
        resume_training(parts, KillAfter(2), device="cpu", workers=0)
    assert len(load_checkpoint(previous_of(last)).training["history"]) == 1  # type: ignore[index]
    said = Said()
    resume_training(parts, said, device="cpu", workers=0)
    assert said.lines == [f"Resumed {parts} after epoch 2 of 3."]
    same_bits(whole, parts)
    assert not list(parts.glob(".*"))


def test_a_run_with_a_best_never_begins_again(cityscapes: Path, tmp_path: Path) -> None:
    folder, config = tmp_path / "run", recipe(cityscapes, epochs=1)
    start_training(config, folder, TrainListener())
    (folder / "last.pt").unlink()
    best = (folder / "best.pt").read_bytes()
    (folder / "report.json").unlink()
    restarted = Group(elastic=True)  # by torchrun
    for begin in (
        lambda: resume_training(folder, TrainListener(), device="cpu", workers=0),
        lambda: start_training(config, folder, TrainListener()),
        lambda: start_training(config, folder, TrainListener(), restarted),
    ):
        with pytest.raises(CheckpointError, match=r"no last.pt.*--weights .*best.pt"):
            begin()
    assert (folder / "best.pt").read_bytes() == best


def test_a_run_that_could_not_keep_its_first_epoch_begins_again(
    cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """best.pt comes first, and is of that epoch."""
    real = train_module.save_checkpoint

    def full(checkpoint: Any, path: Path, **more: Any) -> None:
        if path.name == "last.pt":
            raise OutputError("the disk is full")
        real(checkpoint, path, **more)

    folder, config = tmp_path / "run", recipe(cityscapes, epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "save_checkpoint", full)
        with pytest.raises(OutputError, match="the disk is full"):
            start_training(config, folder, TrainListener())
    assert (folder / "best.pt").exists()
    assert not (folder / "last.pt").exists()
    assert resume_training(folder, TrainListener(), device="cpu", workers=0).epochs == 1


def test_new_run_from_weights(cityscapes: Path, tmp_path: Path) -> None:
    start_training(recipe(cityscapes, epochs=1), tmp_path / "road", TrainListener())
    weights = str(tmp_path / "road" / "best.pt")
    config = recipe(cityscapes, weights=weights)
    road = load_checkpoint(Path(weights)).model.state_dict()
    again = initial_model(config, load_checkpoint(Path(weights)).scheme).state_dict()
    assert all(torch.equal(road[name], again[name]) for name in road)
    # other classes: all but the head is taken over
    custom = tmp_path / "mine.json"
    custom.write_text(
        json.dumps(
            {
                "classes": [
                    {"name": "ground", "color": [1, 2, 3], "values": [7, 22]},
                    {"name": "sky", "color": [4, 5, 6], "values": [23]},
                    {"name": "nothing", "color": [7, 8, 9], "values": [0]},
                ]
            }
        )
    )
    config = replace(config, classes=str(custom), epochs=1, lr=1e-9)
    start_training(config, tmp_path / "custom", TrainListener())
    other = load_checkpoint(tmp_path / "custom" / "last.pt").model
    assert other.num_classes == 3
    stem = "stem.1.conv.weight"
    torch.testing.assert_close(other.state_dict()[stem], road[stem], atol=1e-4, rtol=0)


def test_wrong_uses_are_refused_before_anything_is_written(cityscapes: Path, tmp_path: Path) -> None:
    quiet = TrainListener()
    start_training(recipe(cityscapes, epochs=1), tmp_path / "run", quiet)
    before = (tmp_path / "run" / "last.pt").read_bytes()
    with pytest.raises(OutputError, match="--resume"):
        start_training(recipe(cityscapes), tmp_path / "run", quiet)
    assert (tmp_path / "run" / "last.pt").read_bytes() == before
    new = tmp_path / "new"
    with pytest.raises(ConfigError, match=r"class_weights has 3 values.*2 classes"):
        start_training(recipe(cityscapes, class_weights=(1.0, 1.0, 1.0)), new, quiet)
    save_checkpoint(tiny_checkpoint(), tmp_path / "tiny.pt")
    with pytest.raises(CheckpointError, match="holds another network"):
        start_training(recipe(cityscapes, weights=str(tmp_path / "tiny.pt")), new, quiet)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "results.csv").write_text("my own")
    with pytest.raises(OutputError, match="is not empty, and holds no run"):
        start_training(recipe(cityscapes), mine, quiet)
    assert [(path.name, path.read_text()) for path in mine.iterdir()] == [("results.csv", "my own")]
    with pytest.raises(OutputError, match="is not empty"):
        start_training(recipe(cityscapes), mine / "results.csv", quiet)
    with pytest.raises(CheckpointError, match="nothing to resume"):
        resume_training(new, quiet, device="cpu", workers=0)
    (tmp_path / "x").mkdir()
    (tmp_path / "run" / "best.pt").rename(tmp_path / "x" / "last.pt")
    with pytest.raises(CheckpointError, match="no state of a training"):
        resume_training(tmp_path / "x", quiet, device="cpu", workers=0)
    assert not new.exists()


@pytest.mark.parametrize("cache", ["ram", "disk", "none"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_an_unknown_label_value_is_named_before_the_first_step(
    cityscapes: Path, tmp_path: Path, cache: Any, split: str
) -> None:
    label = sorted((cityscapes / "gtFine" / split).rglob("*_labelIds.png"))[-1]
    write_png(label, np.full((48, 96), 77, np.uint8))

    class Listener(TrainListener):
        def step(self, *_: Any) -> None:
            raise AssertionError("trained on bad labels")

    with pytest.raises(DatasetError, match=rf"{label.name}.*77"):
        start_training(recipe(cityscapes, cache=cache, batch_size=1), tmp_path / "run", Listener())


@pytest.mark.parametrize(("split", "cache"), [("val", "ram"), ("train", "none")])
def test_a_damaged_picture_is_named_before_the_first_step(
    cityscapes: Path, tmp_path: Path, cache: Any, split: str
) -> None:
    """Its header and its end are whole."""
    picture = sorted((cityscapes / "leftImg8bit" / split).rglob("*.png"))[-1]
    data = bytearray(picture.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 100] = bytes(100)
    picture.write_bytes(data)

    class Listener(TrainListener):
        def step(self, *_: Any) -> None:
            raise AssertionError("trained on a damaged picture")

    with pytest.raises(DatasetError, match=rf"{picture.name}.*download-check --deep"):
        start_training(recipe(cityscapes, cache=cache), tmp_path / "run", Listener())


def test_a_single_pixel_that_cannot_be_normalised_is_told(cityscapes: Path, tmp_path: Path) -> None:
    tiny = {"imgsz": 32, "crop": 32, "batch_size": 1, "epochs": 1}
    with pytest.raises(ConfigError, match="larger --crop or --batch-size"):
        start_training(recipe(cityscapes, **tiny), tmp_path / "run", TrainListener())


def test_a_picture_in_both_parts_is_seen_by_whatever_name(cityscapes: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    trees.make_folder(linked, ("train/1", "train/2"), "{kind}/{split}/{name}")
    for kind in ("images", "masks"):
        (linked / kind / "val").symlink_to(linked / kind / "train")
    with pytest.raises(DatasetError, match=r"val/1.jpg: the picture is in val and in train \(there as"):
        find_sources(recipe(linked))
    other = make_cityscapes(tmp_path / "other")
    for kind in ("leftImg8bit", "gtFine"):
        shutil.rmtree(other / kind / "train")
        (other / kind / "train").symlink_to(cityscapes / kind / "val")
    assert find_sources(recipe(other))
    with pytest.raises(DatasetError, match="the picture is in val and in train"):
        find_sources(replace(recipe(cityscapes), data=(str(cityscapes), str(other))))


def test_divergence_stops_with_the_last_good_epoch(
    cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = SegmentationLoss.forward

    class Listener(TrainListener):
        def epoch(self, row: dict[str, Any], best: bool) -> None:
            monkeypatch.setattr(SegmentationLoss, "forward", lambda *a: real(*a) * math.nan, raising=True)

    with pytest.raises(RoadsegError, match="diverged"):
        start_training(recipe(cityscapes), tmp_path / "run", Listener())
    assert len(load_checkpoint(tmp_path / "run" / "last.pt").training["history"]) == 1  # type: ignore[index]
    assert not previous_of(tmp_path / "run" / "last.pt").exists()


FULL = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


def room_for(pictures: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss for which memory has room for so many pictures at once."""
    real = SegmentationLoss.forward

    def loss(self: SegmentationLoss, logits_BKHW: torch.Tensor, label_BHW: torch.Tensor) -> torch.Tensor:
        if len(label_BHW) > pictures:
            raise FULL
        return real(self, logits_BKHW, label_BHW)

    monkeypatch.setattr(SegmentationLoss, "forward", loss)


class Said(TrainListener):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


def test_a_training_keeps_its_memory(
    cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(train_module, "keep_freed_memory", lambda: asked.append(True))
    start_training(recipe(cityscapes, epochs=1), tmp_path / "run", TrainListener())
    assert asked == [True]


def test_a_run_of_an_older_version_goes_on_with_todays_optimizer(
    cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its state says that the optimizer is not fused."""
    kinds: list[Any] = []
    real = train_module.Trainer._train_epoch

    def note(self: train_module.Trainer, epoch: int) -> Any:
        kinds.extend(group["fused"] for group in self.optimizer.param_groups)
        return real(self, epoch)

    start_training(recipe(cityscapes, epochs=1), tmp_path / "run", TrainListener())
    last = tmp_path / "run" / "last.pt"
    checkpoint = load_checkpoint(last)
    assert checkpoint.training is not None
    for group in checkpoint.training["optimizer"]["param_groups"]:
        group["fused"] = None
    checkpoint.recipe["epochs"] = 2
    save_checkpoint(checkpoint, last)
    monkeypatch.setattr(train_module.Trainer, "_train_epoch", note)
    resume_training(tmp_path / "run", TrainListener(), device="cpu", workers=0)
    assert set(kinds) == {True}


def test_batches_that_do_not_fit_are_halved_and_the_steps_stay(
    cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "group.pt"
    save_checkpoint(tiny_checkpoint(norm="group"), weights)  # for it the parts are the whole
    config = recipe(cityscapes, batch_size=4, loss="ce", weights=str(weights), model=None, epochs=2)
    start_training(config, tmp_path / "whole", TrainListener())
    room_for(1, monkeypatch)
    said = Said()
    start_training(config, tmp_path / "parts", said)
    assert [line for line in said.lines if "memory" in line] == [
        f"Out of memory: from here on the network sees {n} at once, in steps as before." for n in (2, 1)
    ]
    whole, parts = (
        [float(row["loss"]) for row in json.loads((tmp_path / name / "report.json").read_text())["history"]]
        for name in ("whole", "parts")
    )
    assert parts == pytest.approx(whole, rel=1e-5)


def test_a_picture_that_does_not_fit_ends_it(
    cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_for(0, monkeypatch)
    with pytest.raises(MemoryLimitError, match="a single picture; give a smaller --crop"):
        start_training(recipe(cityscapes), tmp_path / "run", TrainListener())


def test_memory_that_runs_out_elsewhere_says_what_to_ask_for(
    cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise FULL

    monkeypatch.setattr(Gradients, "add", full)
    with pytest.raises(MemoryLimitError, match="--cache disk"):
        start_training(recipe(cityscapes), tmp_path / "run", TrainListener())
    with pytest.raises(MemoryLimitError, match="--batch-size 2 --accumulate 2"):
        raise runs._too_large(recipe(cityscapes, batch_size=4), 2)  # in a group, whose batches stay


def test_resume_needs_neither_the_classes_file_nor_the_first_weights(
    cityscapes: Path, tmp_path: Path
) -> None:
    start_training(recipe(cityscapes, epochs=1), tmp_path / "first", TrainListener())
    classes, weights = tmp_path / "mine.json", tmp_path / "first" / "best.pt"
    entries = [{"name": n, "color": [9, 9, 9], "values": v} for n, v in (("rest", [22, 23]), ("road", [7]))]
    classes.write_text(json.dumps({"classes": entries, "void": [0]}))
    config = recipe(cityscapes, epochs=2, classes=str(classes), weights=str(weights))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    start_training(config, whole, TrainListener())
    with pytest.raises(Killed):
        start_training(config, parts, KillAfter(1))
    classes.unlink()
    weights.unlink()
    resume_training(parts / "last.pt", TrainListener(), device="cpu", workers=0)  # as good as its folder
    same_bits(whole, parts)
    assert load_checkpoint(parts / "last.pt").recipe["weights"] == str(weights)  # where it came from


def test_the_held_out_pictures_do_not_depend_on_the_seed(tmp_path: Path) -> None:
    trees.make_folder(tmp_path, tuple(f"seq{i}/{n:03}" for i in range(9) for n in range(3)))
    first, second = (find_sources(recipe(tmp_path, seed=seed))[0] for seed in (0, 7))
    assert first == second
    (larger,) = find_sources(recipe(tmp_path, val_fraction=0.4))
    assert len(larger.val) > len(first.val)


def test_data_sets_of_one_name_are_told_apart(tmp_path: Path) -> None:
    names = ("a/cid-2", "a/cid", "b/cid", "c/cid", "a/x,y")
    assert unique_names([tmp_path / name for name in names]) == ["cid-2", "cid", "cid-3", "cid-4", "x_y"]
    assert unique_names([Path("/"), Path("/")]) == ["data", "data-2"]


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a/", "/tmp/a", "cache", "Cache"])
def test_a_name_is_no_path_and_not_that_of_the_cache(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="name is"):
        named_folder(tmp_path, name)
    assert named_folder(tmp_path, "a.b c") == tmp_path / "a.b c"


def test_new_folder_counts_up(tmp_path: Path) -> None:
    for expected in ("a", "a-2", "a-3"):
        with new_folder(tmp_path, "a") as folder:
            assert folder.name == expected
            (folder / "x").touch()
    (tmp_path / "b").symlink_to(tmp_path / "nowhere")
    with new_folder(tmp_path, "b") as folder:
        assert folder.name == "b-2"


def test_new_folders_are_nobody_elses_and_go_if_they_stay_empty(tmp_path: Path) -> None:
    with new_folder(tmp_path / "x/y", "a") as one, new_folder(tmp_path / "x/y", "a") as two:
        assert (one.name, two.name) == ("a", "a-2")
        assert two.is_dir()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    for parent, name in (("file", "a"), ("lost", "a"), ("x", "a" * 300)):
        with pytest.raises(OutputError, match="cannot be written"), new_folder(tmp_path / parent, name):
            pass


def test_processes_of_a_group_share_the_folder_that_the_first_one_makes(
    cityscapes: Path, tmp_path: Path
) -> None:
    config = recipe(cityscapes)
    with unnamed_folder(tmp_path, "a", config, Group(0, 1, elastic=True)) as folder:
        assert folder.is_dir()
        with unnamed_folder(tmp_path, "a", config, Group(1, 1, elastic=True)) as other:
            assert other == folder
        (folder / "config.json").write_text(json.dumps(config.to_dict()))
    with unnamed_folder(tmp_path, "a", config, Group(0, 1, elastic=True)) as again:
        assert again == folder, "torchrun started the command again"
    with unnamed_folder(tmp_path, "a", config, Group()) as new:
        assert new.name == "a-2"


def test_a_teacher_is_learnt_from(cityscapes: Path, tmp_path: Path) -> None:
    """With the teacher alone (share 1) the student ends up with the teacher's view, not the labels'."""
    contrary = tiny_checkpoint()
    with torch.no_grad():
        contrary.model.head.weight.zero_()
        contrary.model.head.bias.copy_(torch.tensor([-3.0, 3.0]).repeat_interleave(16))  # all is road
    save_checkpoint(contrary, tmp_path / "teacher.pt")
    config = recipe(cityscapes, teacher=str(tmp_path / "teacher.pt"), teacher_share=1.0, epochs=12, lr=0.02)
    start_training(config, tmp_path / "run", TrainListener())
    model = load_checkpoint(tmp_path / "run" / "last.pt").model
    road = model(torch.rand(1, 3, 48, 96) * 255).softmax(1)[:, 1]
    assert road.mean() > 0.8


def test_a_teacher_of_other_classes_is_refused(cityscapes: Path, tmp_path: Path) -> None:
    save_checkpoint(tiny_checkpoint("cityscapes19"), tmp_path / "teacher.pt")
    with pytest.raises(CheckpointError, match=r"knows the classes of cityscapes19, not of road"):
        start_training(
            recipe(cityscapes, teacher=str(tmp_path / "teacher.pt")), tmp_path / "run", TrainListener()
        )
    assert not (tmp_path / "run").exists()


def test_an_encoder_starts_from_its_weights_at_its_own_rate(cityscapes: Path, tmp_path: Path) -> None:
    monkey = {"small": UNetConfig(encoder="efficientnet_lite0", stem_stride=4, widths=(8, 8), depths=(1, 1))}
    given = LiteEncoder("efficientnet_lite0", (9,) * 5)
    torch.save(given.state_dict(), tmp_path / "given.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "small", monkey["small"])
        config = recipe(
            cityscapes,
            model="small",
            encoder_weights=str(tmp_path / "given.pth"),
            encoder_lr=0.0,
            ema=0.0,
            epochs=2,
            weight_decay=0.0,
        )
        start_training(config, tmp_path / "run", TrainListener())
        resume_training(tmp_path / "run", TrainListener(), device="cpu", workers=0)
    trained = load_checkpoint(tmp_path / "run" / "last.pt").model.state_dict()
    name = "levels.1.0.body.0.conv.weight"
    assert torch.equal(trained[f"encoder.{name}"], given.state_dict()[name])  # its rate is 0
    assert trained["head.bias"].any()  # the rest has learnt
    with pytest.raises(ConfigError, match="model nano has no encoder"):
        recipe(cityscapes, encoder_weights="imagenet")


def test_a_share_of_no_teacher_is_refused() -> None:
    with pytest.raises(ConfigError, match="no teacher"):
        TrainConfig(teacher_share=0.3)


def test_a_recipe_is_a_start_that_options_override(cityscapes: Path, tmp_path: Path) -> None:
    for name, model in (("cityscapes19-small", "small"), ("cityscapes19-base-512", "base")):
        assert TrainConfig.from_dict(read_recipe(name)).model == model
    for name, imgsz in (("road-small", 640), ("road-base", 512)):
        assert TrainConfig.from_dict(read_recipe(name)).imgsz == imgsz
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps(recipe(cityscapes, epochs=1, loss="ohem", workers=0).to_dict()))
    command = ["train", "--recipe", str(mine), "--runs", str(tmp_path), "--name", "run", "--loss", "ce"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    config = load_checkpoint(tmp_path / "run" / "last.pt").recipe
    assert (config["loss"], config["epochs"], config["data"]) == ("ce", 1, [str(cityscapes)])
    with pytest.raises(ConfigError, match=r"must be a JSON file, or one of: .*road-small"):
        read_recipe("road-tiny")
    for text, wrong in (("[1]", "no JSON object"), ("{", "is not JSON")):
        mine.write_text(text)
        with pytest.raises(ConfigError, match=wrong):
            read_recipe(str(mine))
    with pytest.raises(ConfigError, match=r"There is no setting epoch .did you mean epochs"):
        TrainConfig.from_dict({"epoch": 1})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": "high"}, "lr is 'high', but must be a number."),
        ({"data": None}, "data is None, but must be a list (each a text)."),
        ({"data": 5}, "data is 5, but must be a list (each a text)."),
        ({"data": "cs"}, "data is 'cs', but must be a list (each a text)."),
        ({"data": ["cs", 5]}, "data is ['cs', 5], but must be a list (each a text)."),
        ({"weights": 5}, "weights is 5, but must be a text or null."),
        ({"encoder": 5}, "encoder is 5, but must be a text or null."),
        ({"classes": 5}, "classes is 5, but must be a text."),
        ({"batch_size": 2.5}, "batch_size is 2.5, but must be a whole number."),
        ({"epochs": True}, "epochs is True, but must be a whole number."),
        ({"crop": 64.5}, "crop is 64.5, but must be a whole number or null."),
        ({"deterministic": "yes"}, "deterministic is 'yes', but must be true or false."),
        ({"loss": "mse"}, "loss is 'mse', but must be one of: ce, "),
        ({"batch_size": 5000}, "batch_size is 5000, but must lie between 1 and 4096."),
    ],
    ids=str,
)
def test_settings_of_another_type_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig.from_dict(settings)
    assert str(caught.value).startswith(message)


def test_settings_of_the_right_types_come_back() -> None:
    """As JSON has them: a whole number is a float, too, and tuples are lists."""
    own = {"data": ["x"], "lr": 1, "class_weights": [1, 2.5], "crop": 64, "encoder": "resnet18"}
    config = TrainConfig.from_dict(own)
    assert config == TrainConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert config.class_weights == (1, 2.5)
    for settings in (*MODELS.values(), SegmentConfig(out="x", shard=(1, 2)), InferConfig(imgsz=64)):
        assert type(settings).from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    for wrong in ([1], [1, 2, 3], [1, 2.5]):
        with pytest.raises(ConfigError, match=r"shard is .* a list \(each a whole number\)"):
            SegmentConfig.from_dict({"out": "x", "shard": wrong})
