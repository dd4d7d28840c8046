"""Huge pictures in tiles: the same masks as whole, without a seam, in little memory."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import UInt8, street, tiny_checkpoint
from test_cli import run
from test_unet import lively

from roadseg.config import InferConfig
from roadseg.engine import tiles
from roadseg.engine.predict import Predictor, enlarge
from roadseg.engine.tiles import TiledPredictor, cover, enlarged, make_predictor
from roadseg.errors import ConfigError
from roadseg.media.images import read_rgb
from roadseg.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint


def ready(scheme: str = "road", **shape: object) -> Checkpoint:
    checkpoint = tiny_checkpoint(scheme, **shape)
    lively(checkpoint.model)
    return checkpoint


def whole(checkpoint: Checkpoint, image: UInt8) -> Predictor:
    """One that sees the picture at its own size."""
    predictor = Predictor(checkpoint, InferConfig(device="cpu"))
    predictor.input_size = lambda height, width, imgsz=None: (height, width)  # type: ignore[method-assign]
    return predictor


@pytest.mark.parametrize(
    ("length", "tile", "stride"),
    [(10, 128, 8), (128, 128, 32), (129, 128, 32), (511, 128, 32), (1000, 256, 8), (20_000, 1024, 32)],
)
def test_tiles_cover_every_pixel_once(length: int, tile: int, stride: int) -> None:
    spans = cover(length, tile, stride)
    total = torch.zeros(length)
    for span in spans:
        assert span.tile.start % stride == 0
        assert span.tile.stop - span.tile.start <= tile
        assert span.tile.start <= span.used.start < span.used.stop <= span.tile.stop
        assert (span.weights > 0).all()
        total[span.used] += span.weights
    torch.testing.assert_close(total, torch.ones(length))
    for left, right in itertools.pairwise(spans):  # the border of a tile, where it does not end the picture
        assert left.tile.stop - left.used.stop >= tile // 4 // 4
        assert right.used.start - right.tile.start >= tile // 4 // 4


@pytest.mark.parametrize("size", [(97, 61), (17, 11), (40, 30), (400, 31), (1, 1)])
@pytest.mark.parametrize("bands", [[40], [7, 13, 20], [1] * 40])
def test_strips_are_the_enlarged_logits(
    size: tuple[int, int], bands: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "_NUMBERS", 2000)
    logits_Khw = torch.randn(2, 40, 30)
    strips = torch.cat(list(enlarged(iter(logits_Khw.split(bands, 1)), (40, 30), size)), 1)
    torch.testing.assert_close(strips, enlarge(logits_Khw, size), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("scheme", ["road", "idd7"])
@pytest.mark.parametrize("size", [(700, 1500), (333, 1047), (100, 90)])
def test_tiled_is_whole_for_a_network_that_looks_no_farther_than_a_border(
    scheme: str, size: tuple[int, int]
) -> None:
    """Seven pixels in ten thousand may differ by the arithmetic of other sizes; the rest is the same."""
    checkpoint = ready(scheme, context=False, depths=(0, 0))
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    tiled = TiledPredictor(checkpoint, InferConfig(tile=512, device="cpu", batch_size=3))
    expected = whole(checkpoint, image).predict_with_probabilities([image])[0]
    mask, probability = tiled.predict_with_probabilities([image])[0]
    np.testing.assert_allclose(probability, expected[1], atol=1e-4)
    assert (mask != expected[0]).mean() < 7e-4
    road_mask, road = tiled.predict_with_road([image])[0]
    assert (road_mask == mask).all()
    assert road is not None
    np.testing.assert_allclose(road, expected[1] if scheme == "road" else expected[1][0], atol=1e-4)


@pytest.mark.parametrize("name", ["avenue", "bend", "market-street", "motorway", "village"])
def test_no_seam_in_the_bundled_model_s_probability(name: str) -> None:
    """Along the cuts the probability changes no faster than it does in the picture seen whole."""
    image = read_rgb(Path(__file__).parents[1] / "samples" / "frames" / f"{name}.jpg")
    image = cv2.resize(image, (1280, 640), interpolation=cv2.INTER_AREA)
    checkpoint = load_checkpoint()
    mask, tiled = TiledPredictor(checkpoint, InferConfig(tile=512, device="cpu")).predict_with_probabilities(
        [image]
    )[0]
    expected, one = whole(checkpoint, image).predict_with_probabilities([image])[0]
    assert (mask != expected).mean() < 0.05  # a tile's own mean in place of the picture's
    steps, usual = (np.abs(np.diff(probability, axis=1)).mean(0) for probability in (tiled, one))
    for left, right in itertools.pairwise(cover(1280, 512, 32)):
        fade = slice(right.used.start, left.used.stop - 1)
        assert steps[fade].max() <= 1.1 * usual.max()


def test_imgsz_says_how_large_the_picture_is_seen() -> None:
    checkpoint = ready(context=False, depths=(0, 0))
    image = street(0, 300, 900)[0]
    expected, wanted = Predictor(
        checkpoint, InferConfig(imgsz=1600, device="cpu")
    ).predict_with_probabilities([image])[0]
    tiled = make_predictor(checkpoint, InferConfig(imgsz=1600, tile=512, device="cpu"))
    mask, probability = tiled.predict_with_probabilities([image])[0]
    np.testing.assert_allclose(probability, wanted, atol=1e-3)  # OpenCV's filter rounds its weights
    assert (mask != expected).mean() < 7e-4


def test_tiles_that_cannot_work() -> None:
    with pytest.raises(ConfigError, match="tile is 64, but must lie between 128"):
        InferConfig(tile=64)
    deep = tiny_checkpoint(widths=(8, 8, 8, 8, 8, 8), depths=(0,) * 6)
    with pytest.raises(ConfigError, match="must be 512 or more for this network"):
        make_predictor(deep, InferConfig(tile=256, device="cpu"))


def test_segment_and_eval_in_tiles(cityscapes: Path, tmp_path: Path) -> None:
    save_checkpoint(ready(), tmp_path / "net.pt")
    common = ("-w", tmp_path / "net.pt", "--tile", 128, "--device", "cpu")
    pictures = cityscapes / "leftImg8bit" / "val"
    done = run("segment", pictures, *common, "--out", tmp_path / "out", "--save-probs", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["settings"]["tile"] == 128
    assert {(row["width"], row["height"]) for row in document["rows"]} == {(96, 48)}
    refused = run("segment", pictures, *common, "--out", tmp_path / "none", "--workers", 0)
    assert refused.exit_code == 2
    assert "workers is 0" in refused.stderr
    scored = run("eval", "--data", cityscapes, *common, "--out", tmp_path / "eval", "--no-html")
    assert scored.exit_code == 0, scored.output


def test_more_pixels_only_where_the_user_allows_them(tmp_path: Path) -> None:
    picture = tmp_path / "wide.png"
    assert cv2.imwrite(str(picture), np.zeros((1000, 1200, 3), np.uint8))
    save_checkpoint(ready(), tmp_path / "net.pt")
    common = (picture, "-w", tmp_path / "net.pt", "--device", "cpu", "--out", tmp_path / "out")
    refused = run("segment", *common, "--max-megapixels", 1)
    assert refused.exit_code == 1
    assert "more than 1 million pixels" in refused.stderr
    assert "--max-megapixels" in refused.stderr
    done = run("segment", *common, "--max-megapixels", 2, "--overwrite")
    assert done.exit_code == 0, done.output


HUGE = """
import resource, sys
from roadseg.cli.app import app
try:
    app(sys.argv[1:], standalone_mode=False)
finally:
    print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_huge_picture_takes_bounded_memory(tmp_path: Path) -> None:
    """20,000 by 10,000: 600 MB as RGB. Whole, the network's features alone would take tens of GB."""
    save_checkpoint(ready(), tmp_path / "net.pt")
    tile = cv2.resize(street(0)[0], (2000, 1000))
    assert cv2.imwrite(str(tmp_path / "huge.jpg"), np.tile(tile, (10, 10, 1)))
    out = tmp_path / "out"
    command = ["segment", tmp_path / "huge.jpg", "-w", tmp_path / "net.pt", "--tile", 1024, "--batch-size", 2]
    command += ["--max-megapixels", 200, "--device", "cpu", "--out", out]
    done = subprocess.run(
        [sys.executable, "-c", HUGE, *map(str, command)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    peak = int(done.stderr.rpartition("PEAK")[2])
    mask = cv2.imread(str(out / "masks" / "huge.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (10_000, 20_000)
    assert set(np.unique(mask)) <= {0, 255}
    assert peak < 6000, f"{peak} MiB"  # 5229 when this was written
