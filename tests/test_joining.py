"""A network's classes joined into fewer: as likely as its own together, in every command."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import trees
from conftest import street, tiny_checkpoint, write_png
from test_cli import run

from roadseg.config import InferConfig
from roadseg.engine.joining import make_joining
from roadseg.engine.predict import Predictor
from roadseg.engine.tiles import make_predictor
from roadseg.errors import ConfigError, DatasetError
from roadseg.labels import SCHEMES
from roadseg.model.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture
def weights19(tmp_path: Path) -> Path:
    """An untrained network of Cityscapes' 19 classes whose mind differs from pixel to pixel."""
    torch.manual_seed(4)
    checkpoint = tiny_checkpoint("cityscapes19")
    with torch.no_grad():
        for parameter in checkpoint.model.parameters():
            parameter.mul_(3)
    save_checkpoint(checkpoint, tmp_path / "classes.pt")
    return tmp_path / "classes.pt"


def test_a_joined_class_is_as_likely_as_its_members_together() -> None:
    """0.4 of one class lose to 0.35 + 0.25 of two others that are one."""
    joining = make_joining(SCHEMES["cityscapes19"], "idd7")
    probability_K = torch.full((19,), 1e-9)
    names = SCHEMES["cityscapes19"].classes
    probability_K[names.index("road")] = 0.40
    probability_K[names.index("sidewalk")] = 0.35
    probability_K[names.index("terrain")] = 0.25
    joined_G = joining.join(probability_K.log()[None, :, None, None])[0, :, 0, 0].softmax(0)
    assert joined_G[:2].tolist() == pytest.approx([0.40, 0.60], abs=1e-5)
    assert int(joined_G.argmax()) == SCHEMES["idd7"].classes.index("non-drivable")


def test_own_classes_stay_as_they_are() -> None:
    logits_BKhw = torch.randn(1, 19, 2, 3)
    for wanted in (None, "cityscapes19"):
        joining = make_joining(SCHEMES["cityscapes19"], wanted)
        assert joining.scheme is SCHEMES["cityscapes19"]
        assert torch.equal(joining.join(logits_BKhw), logits_BKhw)


def test_classes_that_cannot_be_joined() -> None:
    with pytest.raises(ConfigError, match="can be joined into: road, cityscapes19"):
        make_joining(SCHEMES["road"], "moon")
    with pytest.raises(DatasetError, match="cannot be made from road network's labels: their 'background'"):
        make_joining(SCHEMES["road"], "idd7")


@pytest.mark.parametrize("tile", [None, 128])
def test_road_of_many_classes_is_that_of_two(weights19: Path, tile: int | None) -> None:
    """The mask is where the road's share of the softmax reaches the threshold, and the probability is it."""
    checkpoint = load_checkpoint(weights19)
    rgb_HWC = street(0)[0]
    joined = make_predictor(checkpoint, InferConfig(device="cpu", classes="road", threshold=0.06, tile=tile))
    assert joined.scheme == SCHEMES["road"]
    ((mask_HW, road_HW),) = joined.predict_with_probabilities([rgb_HWC])
    assert set(np.unique(mask_HW)) == {0, 1}
    np.testing.assert_array_equal(mask_HW, road_HW >= 0.06)
    if tile is None:
        ((_, expected_HW),) = Predictor(checkpoint, InferConfig(device="cpu")).predict_with_road([rgb_HWC])
        np.testing.assert_allclose(road_HW, expected_HW, atol=1e-6)


def test_eval_scores_the_road_of_many_classes(weights19: Path, tmp_path: Path) -> None:
    """On labels that have no 19 classes, but a road."""
    idd = trees.make_idd(tmp_path / "idd")
    given = ("eval", "--data", idd, "-w", weights19, "--no-html")
    refused = run(*given, "--out", tmp_path / "own")
    assert refused.exit_code == 1
    done = run(*given, "--classes", "road", "--out", tmp_path / "road")
    assert done.exit_code == 0, done.output
    document = json.loads((tmp_path / "road/scores.json").read_text())
    assert document["label_scheme"]["classes"] == ["background", "road"]
    assert document["settings"]["classes"] == "road"
    assert document["road"]["scores"]["ece"] is not None


def test_segment_writes_masks_of_the_road(weights19: Path, tmp_path: Path) -> None:
    write_png(tmp_path / "in/a.png", street(0)[0])
    given = ("segment", tmp_path / "in", "--out", tmp_path / "out", "-w", weights19, "--threshold", "0.06")
    assert run(*given, "--classes", "road").exit_code == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["classes"] == ["background", "road"]
    again = run(*given, "--skip-existing")
    assert again.exit_code == 1
    assert "other classes" in again.stderr
