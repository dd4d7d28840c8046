"""Test-time augmentation: the mean of what the network says of a picture, its mirror and a larger one."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import street, write_png
from test_predict import ready
from typer.testing import CliRunner, Result

from roadseg.cli.app import app
from roadseg.config import InferConfig
from roadseg.engine.predict import Predictor
from roadseg.engine.tiles import make_predictor
from roadseg.errors import ConfigError
from roadseg.model.checkpoint import save_checkpoint


@pytest.mark.parametrize("scheme", ["road", "cityscapes19"])
def test_it_is_the_mean_of_three_views(scheme: str) -> None:
    checkpoint = ready(scheme)
    plain, larger = (Predictor(checkpoint, InferConfig(device="cpu", imgsz=side)) for side in (160, 192))
    views = make_predictor(checkpoint, InferConfig(device="cpu", imgsz=160, tta=True))
    images = [street(i, *size)[0] for i, size in enumerate([(96, 192), (64, 64), (50, 120)])]
    for image, found in zip(images, views.logits(images), strict=True):
        first, third = plain.logits([image])[0], larger.logits([image])[0]
        second = plain.logits([image[:, ::-1].copy()])[0].flip(-1)
        assert third.shape[-1] > first.shape[-1]
        third = F.interpolate(third[None], first.shape[-2:], mode="bilinear", align_corners=False)[0]
        torch.testing.assert_close(found, torch.stack([first, second, third]).mean(0), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(found, first, atol=1e-2)
    masks = views.predict(images)
    assert [mask.shape for mask in masks] == [image.shape[:2] for image in images]
    assert views.imgsz == 160
    assert views.predict([street(0, 40, 1)[0]])[0].shape == (40, 1)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_segment_and_eval_with_it(cityscapes: Path, tmp_path: Path) -> None:
    save_checkpoint(ready(), tmp_path / "net.pt")
    write_png(tmp_path / "in/a.png", street(1)[0])
    common = ("-w", tmp_path / "net.pt", "--device", "cpu", "--no-html")
    done = run("segment", tmp_path / "in", "--out", tmp_path / "out", "--tta", "--json", *common)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["settings"]["tta"] is True
    other = run("segment", tmp_path / "in", "--out", tmp_path / "out", "--skip-existing", *common)
    assert other.exit_code == 1
    assert "with tta True, this one has None" in " ".join(other.output.split())
    for options, said in (((), None), (("--tta",), True)):
        out = tmp_path / f"eval {said}"
        done = run("eval", "--data", cityscapes, "--out", out, *options, *common)
        assert done.exit_code == 0, done.output
        assert json.loads((out / "scores.json").read_text())["settings"]["tta"] is said
    scores = [
        json.loads((tmp_path / f"eval {said}/scores.json").read_text())["counts"] for said in (None, True)
    ]
    assert np.sum(scores[0]) == np.sum(scores[1])
    assert scores[0] != scores[1]


def test_a_tile_is_seen_once() -> None:
    with pytest.raises(ConfigError, match="tile and tta are given"):
        InferConfig(tile=512, tta=True)
