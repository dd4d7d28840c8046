"""The polygons of pictures that were labelled by hand, and what the bundled model makes of those pictures."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import real_data
from hand_labelled import drawings, labelled

from roadseg.config import InferConfig
from roadseg.dataset.samples import find_samples
from roadseg.engine.evaluate import evaluate
from roadseg.engine.predict import Predictor
from roadseg.labels import VOID
from roadseg.model.checkpoint import load_checkpoint

SETS = drawings()


def test_later_polygons_are_drawn_over_earlier_ones_with_void_along_the_edge_of_the_road() -> None:
    square = [[0, 20], [59, 20], [59, 39], [0, 39]]
    car = [[20, 20], [29, 20], [29, 29], [20, 29]]
    unsure = [[50, 20], [59, 20], [59, 39], [50, 39]]
    label = labelled({"size": (40, 60), "road": [square], "other": [car], "void": [unsure]})
    assert label[30, 10] == 1
    assert label[24, 25] == 0
    assert label[30, 55] == VOID
    assert label[10, 30] == 0
    assert set(label[17:23, 10].tolist()) == {0, VOID, 1}
    assert label[20, 10] == label[19, 10] == VOID  # where road begins
    assert label[24, 20] == VOID  # where the car does


@pytest.mark.parametrize("name", SETS)
def test_each_label_is_a_road_below_the_horizon(name: str) -> None:
    for picture, drawing in SETS[name].items():
        height, width = drawing["size"]
        for polygon in (*drawing["road"], *drawing["other"], *drawing["void"]):
            assert np.min(polygon) >= 0, picture
            assert np.all(np.max(polygon, 0) < (width, height)), picture
        label = labelled(drawing)
        assert 0.15 < np.mean(label == 1) < 0.6, picture
        assert np.mean(label == VOID) < 0.1, picture
        assert not (label[: height // 3] == 1).any(), picture


def test_a_wrong_folder_is_told_of_and_leaves_nothing(tmp_path: Path) -> None:
    script = Path(__file__).with_name("hand_labelled.py")
    command = [sys.executable, script, "--pictures", tmp_path, "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "--pictures must hold" in done.stderr
    assert not (tmp_path / "out").exists()


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
