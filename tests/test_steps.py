"""Steps that are not finite are left out and counted; too many end the training, with what was good kept."""

import csv
import math
import os
import signal
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from test_train import recipe, same_bits
from torch import nn
from torch.utils.data import DataLoader, Dataset

from roadseg.engine.listener import TrainListener
from roadseg.engine.losses import SegmentationLoss
from roadseg.engine.runs import resume_training, start_training
from roadseg.engine.steps import StepGuard, batches, deterministic
from roadseg.errors import MediaError, RoadsegError
from roadseg.model.checkpoint import load_checkpoint

NAN, INF = torch.tensor(math.nan), torch.tensor(math.inf)
FINE = torch.tensor(1.0)


class Notes(TrainListener):
    def __init__(self) -> None:
        self.told: list[str] = []

    def message(self, text: str) -> None:
        self.told.append(text)


def inject(monkeypatch: pytest.MonkeyPatch, bad: dict[int, float]) -> None:
    """The loss of the so manieth step (from 1) times a number."""
    real, step = SegmentationLoss.forward, [0]

    def forward(*arguments: Any) -> torch.Tensor:
        step[0] += 1
        loss: torch.Tensor = real(*arguments)
        return loss * bad.get(step[0], 1.0)

    monkeypatch.setattr(SegmentationLoss, "forward", forward)


def test_a_bad_step_is_left_out_counted_and_told(
    cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inject(monkeypatch, {3: math.nan, 6: math.inf})  # of two steps an epoch
    notes, folder = Notes(), tmp_path / "run"
    start_training(recipe(cityscapes, epochs=3), folder, notes)
    rows = list(csv.DictReader((folder / "results.csv").read_text().splitlines()))
    assert [row["skipped"] for row in rows] == ["0", "1", "1"]
    assert all(math.isfinite(float(row["loss"])) for row in rows)
    assert [text for text in notes.told if "left out" in text] == [
        f"Epoch {epoch}: 1 of 2 steps were left out: their loss or gradient was NaN or infinite."
        for epoch in (2, 3)
    ]
    weights = load_checkpoint(folder / "last.pt")
    assert weights.training
    for state in (weights.model.state_dict(), weights.training["model"]):
        assert all(bool(value.isfinite().all()) for value in state.values())


def test_too_many_in_a_row_stop_it_with_the_last_good_checkpoint(
    cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = recipe(cityscapes, epochs=2, batch_size=2, max_bad_steps=1)  # three steps an epoch
    start_training(config, tmp_path / "whole", TrainListener())
    with monkeypatch.context() as patch:
        inject(patch, {5: math.nan, 6: math.nan})
        with pytest.raises(RoadsegError, match=r"2 steps in a row.*--lr"):
            start_training(config, tmp_path / "run", TrainListener())
    assert len(load_checkpoint(tmp_path / "run" / "last.pt").training["history"]) == 1  # type: ignore[index]
    resume_training(tmp_path / "run", TrainListener(), device="cpu", workers=0)
    same_bits(tmp_path / "whole", tmp_path / "run")


def test_a_forward_pass_of_nan_spoils_no_statistics() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    guard = StepGuard(model, most=1)
    model(torch.ones(2, 3, 4, 4))
    assert guard.passes(FINE, FINE)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(torch.full((2, 3, 4, 4), math.nan))
    assert model[1].running_mean.isnan().all()
    assert not guard.passes(NAN, NAN)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(("loss", "norm"), [(NAN, FINE), (FINE, NAN), (INF, FINE), (FINE, INF)])
def test_a_good_step_ends_a_row_of_bad_ones(loss: torch.Tensor, norm: torch.Tensor) -> None:
    guard = StepGuard(nn.Linear(1, 1), most=1)
    for _ in range(3):
        assert not guard.passes(loss, norm)
        assert guard.passes(FINE, FINE)
    assert guard.end(6) == "3 of 6 steps were left out: their loss or gradient was NaN or infinite."
    assert not guard.passes(loss, norm)
    with pytest.raises(RoadsegError, match="2 steps in a row"):
        guard.passes(loss, norm)


def test_an_epoch_that_leaves_nothing_good_is_not_saved() -> None:
    model = nn.Linear(1, 1)
    guard = StepGuard(model, most=9)
    assert not guard.passes(NAN, NAN)
    with pytest.raises(RoadsegError, match="every step"):
        guard.end(1)
    assert guard.passes(FINE, FINE)
    with torch.no_grad():
        model.weight.fill_(math.inf)  # as an optimizer's step may, of finite gradients
    with pytest.raises(RoadsegError, match="weights"):
        guard.end(2)


class Vanished(Dataset[int]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        raise MediaError("a: b.png: no such file; check the name")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_a_worker_is_one_line(workers: int) -> None:
    with pytest.raises(MediaError) as caught:
        list(batches(DataLoader(Vanished(), num_workers=workers)))
    assert str(caught.value) == "a: b.png: no such file; check the name"


class Deadly(Vanished):
    def __getitem__(self, i: int) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGSEGV)
        return super().__getitem__(i)


class Odd(Vanished):
    def __getitem__(self, i: int) -> torch.Tensor:
        raise RuntimeError("a bug of ours")


def test_an_error_in_a_worker_is_no_death() -> None:
    with pytest.raises(RuntimeError, match="a bug of ours"):
        list(batches(DataLoader(Odd(), num_workers=1)))


def test_a_worker_that_dies_is_one_line() -> None:
    with pytest.raises(MediaError, match=r"has died.*download-check --deep"):
        list(batches(DataLoader(Deadly(), num_workers=1)))


def test_deterministic_says_what_it_cannot_promise() -> None:
    told: list[str] = []
    with deterministic(True, torch.device("cpu"), told.append):
        assert torch.are_deterministic_algorithms_enabled()
        for _ in range(2):  # as torch says it, once for each call
            warnings.warn("sum_cuda does not have a deterministic implementation, but ...", stacklevel=1)
        with pytest.warns(UserWarning, match="something else"):
            warnings.warn("something else", stacklevel=1)
    assert not torch.are_deterministic_algorithms_enabled()
    assert len(told) == 2
    assert "the same bits again" in told[0]
    assert "sum_cuda" in told[1]
    with deterministic(True, torch.device("cuda"), told.append):
        assert "as far as torch is on cuda" in told[2]
    with deterministic(False, torch.device("cpu"), told.append):
        assert not torch.are_deterministic_algorithms_enabled()
    assert len(told) == 3


def test_deterministic_training_runs(cityscapes: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        start_training(recipe(cityscapes, epochs=1, deterministic=True), tmp_path / name, TrainListener())
    same_bits(tmp_path / "a", tmp_path / "b")
