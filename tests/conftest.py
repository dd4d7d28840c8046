"""Fixtures that every test may use: a tiny Cityscapes tree, a tiny checkpoint, and seeds."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from roadseg.config import UNetConfig
from roadseg.labels import get_scheme
from roadseg.model.checkpoint import Checkpoint, save_checkpoint
from roadseg.model.unet import RoadNet, build_model

UInt8 = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


def street(seed: int, height: int = 48, width: int = 96) -> tuple[UInt8, UInt8]:
    """A toy street: rgb_HWC and its labelIds (sky 23, terrain 22, road 7, void 0 at the bottom)."""
    rng = np.random.default_rng(seed)
    label_HW = np.full((height, width), 22, np.uint8)
    label_HW[: height * 2 // 5] = 23
    vanish = int(rng.uniform(0.25, 0.75) * width)
    corners = np.array([[vanish, height * 2 // 5], [width - 4, height], [4, height]])
    cv2.fillPoly(label_HW, [corners], 7)
    colors = np.zeros((256, 3), np.float32)
    colors[[22, 23, 7]] = [(60, 140, 50), (150, 190, 230), (105, 100, 105)]
    rgb_HWC = colors[label_HW] + rng.normal(0, 8, (height, width, 3))
    label_HW[-2:] = 0
    return rgb_HWC.clip(0, 255).astype(np.uint8), label_HW


def write_png(path: Path, array: UInt8) -> None:
    """Write an RGB or a one-channel array."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = array[..., ::-1] if array.ndim == 3 else array
    assert cv2.imwrite(str(path), bgr)


def make_cityscapes(root: Path, train: int = 6, val: int = 2) -> Path:
    """A Cityscapes tree of toy streets: two cities to train on, one to validate on."""
    for split, count in (("train", train), ("val", val)):
        for i in range(count):
            city = "ulm" if split == "val" else ("aachen", "bochum")[i % 2]
            rgb_HWC, label_HW = street(i + 100 * (split == "val"))
            stem = f"{city}_{i:06d}_000019"
            write_png(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", rgb_HWC)
            write_png(root / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png", label_HW)
    return root


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    """A tiny Cityscapes tree."""
    return make_cityscapes(tmp_path / "cityscapes")


def tiny_checkpoint(scheme: str = "road", **shape: object) -> Checkpoint:
    """An untrained network of a few hundred weights."""
    settings = {"widths": (8, 16), "depths": (1, 1), **shape}
    config = UNetConfig(**settings)  # type: ignore[arg-type]
    classes = get_scheme(scheme)
    return Checkpoint(build_model(config, classes.num_classes).eval(), classes, imgsz=96)


def losses(count: int = 2) -> list[Callable[[RoadNet], Tensor]]:
    """What a network of two classes loses on each of some batches of noise."""

    def loss(seed: int, model: RoadNet) -> Tensor:
        chance = torch.Generator().manual_seed(seed)
        image_BCHW = 255 * torch.rand(2, 3, 64, 64, generator=chance)
        return F.cross_entropy(model(image_BCHW), torch.randint(0, 2, (2, 64, 64), generator=chance))

    return [partial(loss, seed) for seed in range(count)]


@pytest.fixture
def tiny_weights(tmp_path: Path) -> Path:
    """A checkpoint file of an untrained road network."""
    path = tmp_path / "tiny.pt"
    save_checkpoint(tiny_checkpoint(), path)
    return path


@contextmanager
def another_run(place: Path) -> Iterator[None]:
    """Another process that writes `place`: a lock keeps processes apart, and not what one of them does."""
    script = (
        "import sys, pathlib\n"
        "from roadseg.media.output import alone_at\n"
        "with alone_at(pathlib.Path(sys.argv[1])):\n"
        "    print('mine', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        try:
            yield
        finally:
            other.communicate()  # its input ends


def real_data() -> Path:
    """The folder of the real data sets, or skip the test."""
    if "ROADSEG_REALDATA" not in os.environ:
        pytest.skip("needs the real data sets: set ROADSEG_REALDATA to their folder")
    return Path(os.environ["ROADSEG_REALDATA"])
