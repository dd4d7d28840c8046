"""A network's classes joined into fewer: as likely as its own together, in every command."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trees
from conftest import street, tiny_checkpoint, write_png
from test_cli import run
from test_unet import lively

from roadseg.config import InferConfig
from roadseg.engine.joining import join_classes, make_joining
from roadseg.engine.predict import Predictor
from roadseg.engine.tiles import make_predictor
from roadseg.errors import CheckpointError, ConfigError
from roadseg.labels import SCHEMES, LabelScheme
from roadseg.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint


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
    may = r"--classes is 'moon', .* joined into: road, cityscapes19, cityscapes-category7, idd7, drivable\."
    with pytest.raises(ConfigError, match=may):
        make_joining(SCHEMES["cityscapes19"], "moon")
    with pytest.raises(ConfigError, match=r"'idd7', .* \(road\) can be joined into: road, drivable\."):
        make_joining(SCHEMES["road"], "idd7")
    own = LabelScheme("road", ("car", "tree"), ((1, 1, 1), (2, 2, 2)))
    with pytest.raises(ConfigError, match="cannot be joined"):
        make_joining(own, "idd7")


def test_a_name_is_not_taken_for_the_classes() -> None:
    """A user's own three classes that are called `road` are not the two of that scheme."""
    own = LabelScheme("road", ("other", "car", "road"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
    assert make_joining(own, "road").groups == ((0, 1), (2,))


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
    given = ("segment", tmp_path / "in", "--out", tmp_path / "out", "-w", weights19)
    assert run(*given, "--classes", "road", "--threshold", "0.06").exit_code == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["classes"] == ["background", "road"]
    again = run(*given, "--skip-existing")
    assert again.exit_code == 1
    assert "other classes" in again.stderr
    refused = run(*given[:3], tmp_path / "many", *given[4:], "--threshold", "0.06")
    assert refused.exit_code == 2
    assert "of 19 classes the likeliest is shown" in refused.stderr


# ---------------------------------------------------------------- once and for all


SHAPES: dict[str, dict[str, Any]] = {
    "efficient": {},
    "stem 2": {"stem_stride": 2},
    "classic": {"architecture": "classic", "skip": "concat"},
    "EfficientNet-Lite": {"encoder": "efficientnet_lite0", "depths": (1, 1)},
}


def checkpoint19(shape: str, scheme: str = "cityscapes19") -> Checkpoint:
    torch.manual_seed(1)
    checkpoint = tiny_checkpoint(scheme, **SHAPES[shape])
    lively(checkpoint.model)
    return checkpoint


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("wanted", ["road", "idd7"])
def test_a_joined_network_says_the_largest_of_its_members(shape: str, wanted: str) -> None:
    checkpoint = checkpoint19(shape)
    joined = join_classes(checkpoint, wanted)
    assert joined.scheme == SCHEMES[wanted]
    groups = make_joining(checkpoint.scheme, wanted).groups
    assert groups is not None
    image_BCHW = torch.randint(0, 256, (2, 3, 40, 56), dtype=torch.uint8)
    with torch.inference_mode():
        before_BKHW, after_BGHW = checkpoint.model(image_BCHW), joined.model(image_BCHW)
    expected_BGHW = torch.stack([before_BKHW[:, list(group)].amax(1) for group in groups], 1)
    torch.testing.assert_close(after_BGHW, expected_BGHW)


def test_a_joined_network_is_an_ordinary_one(cityscapes: Path, tmp_path: Path) -> None:
    """It is released, calibrated, scored, exported, pruned and trained further as any road network is."""
    save_checkpoint(checkpoint19("EfficientNet-Lite", "idd7"), tmp_path / "idd7.pt")
    out = tmp_path / "road.safetensors"
    done = run("release", tmp_path / "idd7.pt", "--classes", "road", "--data", cityscapes, "--out", out)
    assert done.exit_code == 0, done.output
    joined = load_checkpoint(out)
    assert joined.scheme == SCHEMES["road"]
    assert joined.model.config.members == (6, 1)
    given = ("--data", cityscapes, "--no-html")
    assert run("eval", *given, "-w", out, "--out", tmp_path / "eval").exit_code == 0
    exported = run("export", "-w", out, "--out", tmp_path / "road.onnx")
    assert exported.exit_code == 0, exported.output
    quick = ("--epochs", "1", "--batch-size", "2", "--imgsz", "64", "--crop", "64", "--workers", "0")
    pruned = run("prune", "-w", out, *given[:2], "--keep", "0.8", *quick, "--out", tmp_path / "pruned")
    assert pruned.exit_code == 0, pruned.output
    trained = run("train", *given, "-w", out, *quick, "--runs", tmp_path, "--name", "further")
    assert trained.exit_code == 0, trained.output
    assert load_checkpoint(tmp_path / "further/last.pt").model.config.members == (6, 1)


def test_other_classes_get_an_ordinary_head() -> None:
    joined = join_classes(checkpoint19("efficient"), "road")
    joined.model.renew_head(19)
    assert joined.model.config.members == ()
    assert joined.model(torch.zeros(1, 3, 32, 32)).shape == (1, 19, 32, 32)


def test_the_bias_of_the_road_moves_the_road_alone() -> None:
    joined = join_classes(checkpoint19("efficient"), "road")
    image_BCHW = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        before_BKHW = joined.model(image_BCHW)
        assert joined.model.head.bias is not None
        joined.model.head.bias[joined.model.outputs_of(1)] += 2.0
        after_BKHW = joined.model(image_BCHW)
    torch.testing.assert_close(
        after_BKHW - before_BKHW, torch.tensor([0.0, 2.0])[:, None, None].expand(1, 2, 32, 32)
    )


def test_members_that_are_not_one_number_a_class_are_refused(tmp_path: Path) -> None:
    joined = join_classes(checkpoint19("efficient"), "road")
    joined.model.config = replace(joined.model.config, members=(17, 1, 1))
    save_checkpoint(joined, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match="members"):
        load_checkpoint(tmp_path / "odd.pt")


def test_what_is_joined_is_not_joined_again() -> None:
    joined = join_classes(checkpoint19("efficient"), "idd7")
    with pytest.raises(ConfigError, match="joined before"):
        join_classes(joined, "road")
    assert join_classes(joined, "idd7") is joined


def test_a_video_of_classes_without_a_road_has_no_share_of_it(weights19: Path, tmp_path: Path) -> None:
    for i in range(3):
        write_png(tmp_path / f"in/{i}.png", street(i)[0])
    out = tmp_path / "v.mp4"
    given = ("video", tmp_path / "in", "-w", weights19, "--out", out, "--device", "cpu")
    done = run(*given, "--classes", "cityscapes-category7")
    assert done.exit_code == 0, done.output
    assert "road:" not in done.output
    assert json.loads(out.with_suffix(".json").read_text())["mean_road_percent"] is None
    with out.with_suffix(".csv").open(encoding="utf-8-sig", newline="") as file:
        assert [row["road_percent"] for row in csv.DictReader(file)] == [""] * 3
    assert "Road, on average" not in out.with_suffix(".html").read_text(encoding="utf-8")
