"""The polygons of pictures that were labelled by hand, and what the bundled model makes of those pictures."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import real_data
from hand_labelled import drawn, labelled

from roadseg.config import InferConfig
from roadseg.dataset.samples import find_samples
from roadseg.engine.evaluate import evaluate
from roadseg.engine.predict import Predictor
from roadseg.labels import VOID
from roadseg.model.checkpoint import load_checkpoint

SETS = labelled()


def test_later_polygons_are_drawn_over_earlier_ones_with_void_along_the_edge_of_the_road() -> None:
    square = [[0, 20], [59, 20], [59, 39], [0, 39]]
    car = [[20, 20], [29, 20], [29, 29], [20, 29]]
    unsure = [[50, 20], [59, 20], [59, 39], [50, 39]]
    label = drawn({"road": [square], "other": [car], "void": [unsure]}, 40, 60)
    assert label[30, 10] == 1
    assert label[24, 25] == 0
    assert label[30, 55] == VOID
    assert label[10, 30] == 0
    assert set(label[17:23, 10].tolist()) == {0, VOID, 1}
    assert label[20, 10] == label[19, 10] == VOID  # where road begins
    assert label[24, 20] == VOID  # where the car does


@pytest.mark.parametrize("name", SETS)
def test_each_label_is_a_road_below_the_horizon(name: str) -> None:
    for picture, polygons in SETS[name].items():
        assert polygons["road"], picture
        points = np.concatenate([np.array(one) for one in polygons["road"]])
        height, width = (720, 1280) if points[:, 0].max() >= 960 else (540, 960)
        if name in ("windscreen", "dusk"):
            height, width = 360, 640
        assert points.min() >= -width // 4, picture
        label = drawn(polygons, height, width)
        assert 0.15 < np.mean(label == 1) < 0.6, picture
        assert np.mean(label == VOID) < 0.1, picture
        assert not (label[: height // 3] == 1).any(), picture


@pytest.mark.realdata
@pytest.mark.parametrize("name", SETS)
def test_the_bundled_model_finds_these_roads(name: str, tmp_path: Path) -> None:
    pictures = real_data()
    if not (pictures / "unlabelled").is_dir():
        pytest.skip("the folder of real data has no unlabelled/")
    script = Path(__file__).with_name("hand_labelled.py")
    command = [sys.executable, script, "--pictures", pictures, "--out", tmp_path]
    subprocess.run(command, check=True)
    samples = find_samples(tmp_path / name, "val", "folder:road-index")
    predictor = Predictor(load_checkpoint(), InferConfig(device="cpu"))
    iou = evaluate(predictor, samples, predictor.scheme, batch_size=2, workers=2).scores.iou[1]
    print(f"{name}: {iou:.4f}")
    assert len(samples) == len(SETS[name])
    assert iou > 0.75
