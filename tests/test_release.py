"""Released weights: the mean of checkpoints, and probabilities that come true."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_checkpoint, write_png
from typer.testing import CliRunner

from roadseg.cli.app import app
from roadseg.dataset.samples import find_samples
from roadseg.engine.release import calibrate, fit_calibration, mean_of
from roadseg.errors import CheckpointError, ConfigError, DatasetError
from roadseg.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint


def constant(value: float) -> Checkpoint:
    checkpoint = tiny_checkpoint()
    with torch.no_grad():
        for parameter in checkpoint.model.parameters():
            parameter.fill_(value)
    return checkpoint


def test_the_mean_by_hand() -> None:
    mean = mean_of([constant(1.0), constant(5.0)]).model
    assert all((p == 3).all() for p in mean.parameters())
    shared = mean_of([constant(1.0), constant(5.0)], [3, 1]).model
    assert all((p == 2).all() for p in shared.parameters())


def test_a_mean_says_what_it_was_made_of(tmp_path: Path) -> None:
    a, b, c = (constant(1.0) for _ in range(3))
    for checkpoint, folder in ((a, "x"), (b, "y"), (c, "z")):
        checkpoint.recipe = {"data": [f"/home/somebody/{folder}"]}
    save_checkpoint(mean_of([a, b], [3, 1]), tmp_path / "ab.safetensors")
    first = load_checkpoint(tmp_path / "ab.safetensors")
    mean = mean_of([first, c])
    assert [(part["share"], part["recipe"]["data"]) for part in mean.parts] == [
        (0.375, ["x"]), (0.125, ["y"]), (0.5, ["z"]),
    ]  # fmt: skip
    assert mean_of([c]).parts == []


def test_only_the_same_network_and_classes_can_be_averaged() -> None:
    with pytest.raises(CheckpointError, match="another network, or of other classes"):
        mean_of([tiny_checkpoint(), tiny_checkpoint("idd7")])
    with pytest.raises(CheckpointError, match="another network"):
        mean_of([tiny_checkpoint(), tiny_checkpoint(widths=(4, 8))])
    for shares in ([1.0], [1.0, 0.0], [1.0, math.nan], [math.inf, 1.0]):
        with pytest.raises(ConfigError, match="a positive number for each"):
            mean_of([tiny_checkpoint(), tiny_checkpoint()], shares)


@pytest.mark.parametrize(("temperature", "bias"), [(0.4, 0.0), (1.0, 0.0), (3.0, 0.7), (1.0, -0.7)])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_calibration_that_made_the_labels_is_found(temperature: float, bias: float, classes: int) -> None:
    chance = torch.Generator().manual_seed(1)
    logits = torch.randn(200_000, classes, generator=chance) * 2
    bias *= classes == 2  # for more, there is none
    truth = logits / temperature + bias * torch.arange(classes)
    labels = torch.multinomial(truth.softmax(1), 1, generator=chance).flatten()
    fitted = fit_calibration(logits, labels)
    assert fitted.temperature == pytest.approx(temperature, rel=0.03)
    assert fitted.bias == pytest.approx(bias, abs=0.03)


def test_a_calibration_stays_finite_where_little_is_to_be_learnt() -> None:
    right = torch.tensor([0, 1] * 500)
    sure = torch.stack([-right.double(), right.double()], 1) * 4  # told apart without a fault
    for logits in (sure, sure + torch.tensor([30.0, 0.0])):
        fitted = fit_calibration(logits, right)
        assert 0.2 < fitted.temperature < 2
        margin = (logits[:, 1] - logits[:, 0]) / fitted.temperature + fitted.bias
        assert torch.equal(margin > 0, right == 1)
        assert margin.abs().max() < 30
    assert 1 < fit_calibration(sure, 1 - right).temperature < math.inf, "always wrong: it can only doubt"
    assert fit_calibration(sure, torch.zeros(1000, dtype=torch.long)) == (1, 0), "one class alone"


def test_calibrating_two_classes_moves_their_border(cityscapes: Path) -> None:
    sure = tiny_checkpoint()
    torch.nn.init.normal_(sure.model.head.weight, std=3.0)
    samples = find_samples(cityscapes, "val")
    calm, (temperature, bias) = calibrate(sure, samples, device="cpu")
    assert temperature > 1.5  # a network that knows nothing, and says so loudly
    picture = torch.rand(1, 3, 48, 96) * 255
    expected = sure.model(picture) / temperature + bias * torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(calm.model(picture), expected, rtol=1e-4, atol=1e-4)
    again = calibrate(calm, samples, device="cpu")[1]
    assert again == pytest.approx((1, 0), abs=0.01)  # there is nothing left to mend
    with pytest.raises(DatasetError, match="no pictures to calibrate on"):
        calibrate(sure, [])


def test_a_val_part_of_nothing_but_void_changes_nothing(cityscapes: Path) -> None:
    samples = find_samples(cityscapes, "val")
    for sample in samples:
        write_png(sample.label, np.zeros((48, 96), np.uint8))
    sure = tiny_checkpoint()
    calm, fitted = calibrate(sure, samples, device="cpu")
    assert fitted == (1, 0)
    assert calm.digest() == sure.digest()


def test_calibrating_more_classes_leaves_the_masks(cityscapes: Path) -> None:
    sure = tiny_checkpoint("cityscapes19")
    calm, (temperature, bias) = calibrate(sure, find_samples(cityscapes, "val"), device="cpu")
    assert bias == 0
    picture = torch.rand(1, 3, 48, 96) * 255
    torch.testing.assert_close(calm.model(picture) * temperature, sure.model(picture), rtol=1e-4, atol=1e-4)


def test_the_command(cityscapes: Path, tmp_path: Path) -> None:
    for name, value in (("a.pt", 1.0), ("b.pt", 3.0)):
        save_checkpoint(constant(value), tmp_path / name)
    out = tmp_path / "mean.safetensors"
    command = ["release", str(tmp_path / "a.pt"), str(tmp_path / "b.pt"), "--out", str(out), "--imgsz", "96"]
    done = CliRunner().invoke(app, [*command, "--data", str(cityscapes), "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert "temperature" in done.stderr
    released = load_checkpoint(out)
    assert released.imgsz == 96
    assert (released.model.stages[0][0].body[0].conv.weight == 2).all()
    options = ("--data", str(cityscapes), "--dataset", "idd", "--out", str(tmp_path / "n.safetensors"))
    named = CliRunner().invoke(app, [*command[:3], *options])
    assert named.exit_code == 1, "--dataset is heeded: this is no IDD"
    before = out.read_bytes()
    again = CliRunner().invoke(app, command)
    assert isinstance(again.exception, SystemExit) or again.exit_code != 0
    assert out.read_bytes() == before
    wrong = CliRunner().invoke(app, [*command[:-4], "--out", str(tmp_path / "x.pt")])
    assert wrong.exit_code != 0
    assert not (tmp_path / "x.pt").exists()
