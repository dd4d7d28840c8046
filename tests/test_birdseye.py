"""The road from above: a made-up camera whose every cell is worked out by hand."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import tiny_checkpoint
from PIL import Image
from test_evaluate import RedChannel
from typer.testing import CliRunner

from roadseg.cli.app import app
from roadseg.dataset.calibration import calibration_path, read_calibration
from roadseg.dataset.samples import Sample, scan
from roadseg.engine.evaluate import evaluate, scores_document
from roadseg.engine.measures import Measures
from roadseg.errors import DatasetError
from roadseg.labels import UInt8Array, get_scheme
from roadseg.metrics.birdseye import COLUMNS, ROWS, from_above, pixels_of_cells, road_to_image
from roadseg.model.checkpoint import save_checkpoint

ROAD = get_scheme("road")
HEIGHT, WIDTH = 360, 640
# Looks straight ahead from 1.5 m above the road: (X, 0, Z) is at u = 320 + 500 X / Z, v = 180 + 750 / Z.
CAMERA = """P0: 0 0 0 0 0 0 0 0 0 0 0 0
P2: 500 0 320 0 0 500 180 0 0 0 1 0
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_cam_to_road: 1 0 0 0 0 1 0 -1.5 0 0 1 0

"""
P2 = np.array([[500, 0, 320, 0], [0, 500, 180, 0], [0, 0, 1, 0]], np.float64)
EDGE = 319  # columns below are road
FIRST = 209  # the row where what is labelled begins


def shown(row: int, column: int) -> tuple[float, float]:
    """u and v, from 1, of a cell's centre."""
    x, z = -10 + 0.05 * (column + 0.5), 46 - 0.05 * (row + 0.5)
    return 320 + 500 * x / z, 180 + 750 / z


@pytest.fixture
def camera(tmp_path: Path) -> np.ndarray:
    (tmp_path / "camera.txt").write_text(CAMERA)
    return read_calibration(tmp_path / "camera.txt")


def test_known_points_are_in_known_cells(camera: np.ndarray) -> None:
    """The farthest left, one 10 m ahead and right of the middle, and the nearest left, out of view."""
    cells = pixels_of_cells(camera, (HEIGHT, WIDTH))
    assert cells.shape == (ROWS, COLUMNS, 2) == (800, 400, 2)
    # X -9.975, Z 45.975: u = 320 - 108.48 = 211.52, v = 180 + 16.31 = 196.31, both from 1
    assert cells[0, 0].tolist() == [210, 195]
    # X 0.025, Z 10.025: u = 321.25, v = 254.81
    assert cells[719, 200].tolist() == [320, 253]
    # X -0.025: u = 318.75
    assert cells[719, 199].tolist() == [317, 253]
    # X -9.975, Z 6.025: u = -507.8
    assert cells[799, 0].tolist() == [-1, -1]
    for row in range(0, ROWS, 37):
        for column in range(0, COLUMNS, 17):
            u, v = shown(row, column)
            inside = 1 <= u <= WIDTH and 1 <= v <= HEIGHT
            expected = [math.floor(u) - 1, math.floor(v) - 1] if inside else [-1, -1]
            assert cells[row, column].tolist() == expected


def test_turned_and_shifted_cameras() -> None:
    """Tr_cam_to_road is taken back, R0_rect turns what comes of it, and P2's last column shifts it."""
    ahead = np.hstack([np.eye(3), [[0], [-1.5], [0]]])
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float64)
    u, v, w = road_to_image(P2, turn, ahead) @ (2, 10, 1)  # (2, 1.5, 10) for the camera, (-1.5, 2, 10) turned
    assert (u / w, v / w) == pytest.approx((320 - 75, 180 + 100))
    shifted = P2.copy()
    shifted[0, 3] = 45.0
    u, v, w = road_to_image(shifted, np.eye(3), ahead) @ (2, 10, 1)
    assert (u / w, v / w) == pytest.approx((320 + 100 + 4.5, 180 + 75))


def test_what_is_behind_the_camera_is_not_seen() -> None:
    backwards = np.hstack([np.diag([-1.0, 1, -1]), [[0], [-1.5], [0]]])
    cells = pixels_of_cells(road_to_image(P2, np.eye(3), backwards), (HEIGHT, WIDTH))
    assert (cells == -1).all()
    assert (from_above(np.ones((HEIGHT, WIDTH), np.float32), cells, 0.25) == 0.25).all()


class OfTheLeft(RedChannel):
    """Road with 0.75 in the columns 100 to `EDGE`, and with 0.25 elsewhere."""

    def predict_with_road(self, images: Sequence[UInt8Array]) -> list[tuple[UInt8Array, np.ndarray]]:
        road_HW = np.full((HEIGHT, WIDTH), 0.25, np.float32)
        road_HW[:, 100:EDGE] = 0.75
        return [((road_HW > 0.5).astype(np.uint8), road_HW) for _ in images]


@pytest.fixture
def kitti(tmp_path: Path) -> Path:
    """Two pictures of um; the left is road, and the top is outside of what is labelled."""
    label = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    label[FIRST:] = 255, 0, 0
    label[FIRST:, :EDGE, 2] = 255
    root = tmp_path / "kitti" / "training"
    for folder in ("image_2", "gt_image_2", "calib"):
        (root / folder).mkdir(parents=True)
    for number in range(2):
        Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(root / f"image_2/um_{number:06}.png")
        Image.fromarray(label).save(root / f"gt_image_2/um_road_{number:06}.png")
        (root / f"calib/um_{number:06}.txt").write_text(CAMERA)
    return tmp_path / "kitti"


def document(samples: list[Sample], calib: Path | None = None) -> dict[str, Any]:
    measures = Measures(ROAD, boundary=False, calib=calib)
    result = evaluate(OfTheLeft(), samples, ROAD, batch_size=1, workers=1, measures=measures)
    return json.loads(json.dumps(scores_document(result), allow_nan=False))


def test_scores_worked_by_hand(kitti: Path) -> None:
    samples = scan(kitti).samples
    assert len(samples) == 2
    whole, first = document(samples), document(samples[:1])
    road = found = other = 0
    for row in range(ROWS):
        for column in range(COLUMNS):
            u, v = shown(row, column)
            if 1 <= u <= WIDTH and FIRST <= math.floor(v) - 1 < HEIGHT:
                is_road = math.floor(u) - 1 < EDGE
                road, other = road + is_road, other + (not is_road)
                found += is_road and math.floor(u) - 1 >= 100
    scores = first["birdseye"]["scores"]
    assert (scores["road_pixels"], scores["other_pixels"]) == (road, other)
    assert 50_000 < found < road < other
    # either only 0.75 is road, with no false alarm, or everything is
    assert scores["recall"] == pytest.approx(found / road)
    assert scores["precision"] == 1
    assert scores["false_positive_rate"] == 0
    assert scores["false_negative_rate"] == pytest.approx(1 - found / road)
    assert scores["max_f"] == pytest.approx(2 * found / (found + road))
    assert scores["max_f"] > first["road"]["scores"]["max_f"]  # what is far away was found
    # the counts of parts add up to those of the whole
    second = document(samples[1:])
    total = np.array(first["birdseye"]["counts"]) + np.array(second["birdseye"]["counts"])
    assert whole["birdseye"]["counts"] == total.tolist()


def test_where_calibrations_are_looked_for(kitti: Path, tmp_path: Path) -> None:
    sample = scan(kitti).samples[0]
    calib = kitti / "training/calib"
    assert calibration_path(sample) == calib / "um_000000.txt"
    (calib / "um_000000.txt").unlink()
    with pytest.raises(DatasetError, match=r"um_000000\.txt: there is no such calibration"):
        document([sample])
    calib.rename(tmp_path / "elsewhere")
    assert calibration_path(sample) is None
    assert document([sample])["birdseye"] is None
    (tmp_path / "elsewhere/um_000000.txt").write_text(CAMERA)
    assert document([sample], tmp_path / "elsewhere")["birdseye"] is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        CAMERA.replace("P2", "P1"),
        CAMERA.replace("-1.5", "high"),
        CAMERA.replace("-1.5", "nan"),
        CAMERA.replace("R0_rect: 1 ", "R0_rect: "),
        CAMERA.replace("Tr_cam_to_road: 1", "Tr_cam_to_road: 0"),
        "\x00\xff" * 9,
    ],
)
def test_calibrations_that_are_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "um_000000.txt"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DatasetError, match=r"um_000000\.txt: is no calibration of KITTI road"):
        read_calibration(path)


def test_eval_tells_of_it(kitti: Path, tmp_path: Path) -> None:
    save_checkpoint(tiny_checkpoint(), tmp_path / "tiny.pt")
    (kitti / "training/calib").rename(tmp_path / "cameras")
    arguments = [
        "eval", "--data", kitti, "--split", "train", "--weights", tmp_path / "tiny.pt", "--device", "cpu",
        "--calib", tmp_path / "cameras", "--out", tmp_path / "out", "--workers", 0, "-q",
    ]  # fmt: skip
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    assert "bird's-eye MaxF" in result.output
    scores = json.loads((tmp_path / "out/scores.json").read_text())["birdseye"]["scores"]
    assert f"{100 * scores['max_f']:.2f}" in (tmp_path / "out/report.html").read_text()
    assert "Bird&#39;s-eye MaxF" in (tmp_path / "out/report.html").read_text()
    masks = CliRunner().invoke(
        app,
        ["eval", "--data", str(kitti), "--predictions", str(tmp_path), "--calib", str(tmp_path / "cameras")],
    )
    assert masks.exit_code == 2
    assert "--calib" in masks.output
