"""Road IoU of weights on val pictures as other cameras, weathers and recorders would have shown them.

    python tests/robustness.py DATA... [--weights W...] [--pictures 40]

Each change is drawn here, by other means than those of training (`roadseg/dataset/`), of one strength, and
moves the label with the picture. What lies outside the scene (bars, corners of a fish-eye) counts as no road.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from roadseg.cli import render
from roadseg.config import InferConfig
from roadseg.dataset.samples import find_samples, read_pair
from roadseg.engine.predict import Predictor
from roadseg.engine.sources import evenly
from roadseg.labels import VOID, UInt8Array
from roadseg.metrics import ConfusionMatrix, scores
from roadseg.model.checkpoint import find_weights, load_checkpoint

Pair = tuple[UInt8Array, UInt8Array]
Change = Callable[[UInt8Array, UInt8Array], Pair]


def of_pixels(change: Callable[[Any], Any]) -> Change:
    """A change of the picture alone, in float32."""

    def changed(rgb_HWC: UInt8Array, label_HW: UInt8Array) -> Pair:
        return np.clip(change(rgb_HWC.astype(np.float32)), 0, 255).astype(np.uint8), label_HW

    return changed


def letterbox(rgb_HWC: UInt8Array, label_HW: UInt8Array) -> Pair:
    """Black bars above and below, each an eighth of the height."""
    bar = label_HW.shape[0] // 8
    return (
        np.pad(rgb_HWC, ((bar, bar), (0, 0), (0, 0))),
        np.pad(label_HW, ((bar, bar), (0, 0))),
    )


def upright(rgb_HWC: UInt8Array, label_HW: UInt8Array) -> Pair:
    """A narrow film in a wide one: beside it, the same, enlarged and blurred."""
    height, width = label_HW.shape
    bar = width // 2
    wide_HWC = cv2.resize(rgb_HWC, (width + 2 * bar, 2 * height))[height // 2 : height // 2 + height]
    wide_HWC = cv2.GaussianBlur(wide_HWC, (0, 0), height / 20)
    wide_HWC[:, bar : bar + width] = rgb_HWC
    return np.asarray(wide_HWC, np.uint8), np.pad(label_HW, ((0, 0), (bar, bar)))


def written(rgb_HWC: UInt8Array, label_HW: UInt8Array) -> Pair:
    """Time, place and speed at the foot, a brand in the corner."""
    return _put(rgb_HWC.copy(), "2023-08-14 17:42:09  62 km/h  N48.1 E11.5", "DASHCAM PRO"), label_HW


def banner(rgb_HWC: UInt8Array, label_HW: UInt8Array) -> Pair:
    """The same on a dark strip, which hides the lowest twelfth of the scene."""
    strip = label_HW.shape[0] // 12
    covered_HWC, covered_HW = rgb_HWC.copy(), label_HW.copy()
    covered_HWC[-strip:], covered_HW[-strip:] = 20, 0
    return _put(covered_HWC, "2023/08/14 17:42:09  GPS 62 km/h", ""), covered_HW


def _put(rgb_HWC: UInt8Array, low: str, high: str) -> UInt8Array:
    height, width = rgb_HWC.shape[:2]
    picture = Image.fromarray(rgb_HWC)
    font = ImageFont.load_default(height / 18)
    for text, place in ((low, (width / 64, height * 0.93)), (high, (width * 0.74, height / 50))):
        ImageDraw.Draw(picture).text(place, text, (255, 255, 255), font)
    return np.asarray(picture, np.uint8)


def fish_eye(degrees: float) -> Change:
    """A lens whose picture is so many degrees wide, and as far from its middle as the angle of what it shows.

    It is enlarged such that the sides of the straight picture stay where they are.
    """

    def bent(rgb_HWC: UInt8Array, label_HW: UInt8Array) -> Pair:
        height, width = label_HW.shape
        y, x = (axis.astype(np.float32) for axis in np.mgrid[0:height, 0:width])
        x, y = x - width / 2, y - height / 2
        angle = np.maximum(np.hypot(x, y), 1e-3) / (width / 2) * np.radians(degrees / 2)
        stretch = np.tan(np.minimum(angle, 1.5)) / np.tan(np.radians(degrees / 2)) / angle
        stretch *= np.radians(degrees / 2)
        where = (x * stretch + width / 2).astype(np.float32), (y * stretch + height / 2).astype(np.float32)
        return (
            np.asarray(cv2.remap(rgb_HWC, *where, cv2.INTER_LINEAR), np.uint8),
            np.asarray(cv2.remap(label_HW, *where, cv2.INTER_NEAREST), np.uint8),
        )

    return bent


def middle(aspect: float) -> Change:
    """The middle of the picture, so many times as wide as it is high."""

    def cut(rgb_HWC: UInt8Array, label_HW: UInt8Array) -> Pair:
        height, width = label_HW.shape
        half = min(width // 2, round(height * aspect / 2))
        columns = slice(width // 2 - half, width // 2 + half)
        return np.ascontiguousarray(rgb_HWC[:, columns]), np.ascontiguousarray(label_HW[:, columns])

    return cut


def strip(rgb_HWC: UInt8Array, label_HW: UInt8Array) -> Pair:
    """3.3 times as wide as it is high, without the top and the foot of the picture."""
    height, width = label_HW.shape
    rows = slice(height // 4, min(height, height // 4 + round(width / 3.3)))
    return np.ascontiguousarray(rgb_HWC[rows]), np.ascontiguousarray(label_HW[rows])


def squeezed(rgb_HWC: UInt8Array, label_HW: UInt8Array) -> Pair:
    """Six tenths as high."""
    size = label_HW.shape[1], label_HW.shape[0] * 6 // 10
    return (
        np.asarray(cv2.resize(rgb_HWC, size, interpolation=cv2.INTER_AREA), np.uint8),
        np.asarray(cv2.resize(label_HW, size, interpolation=cv2.INTER_NEAREST), np.uint8),
    )


def tilted(degrees: float, zoom: float) -> Change:
    """By so much; what comes from outside is mirrored, and void."""

    def turned(rgb_HWC: UInt8Array, label_HW: UInt8Array) -> Pair:
        size = label_HW.shape[::-1]
        turn = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), degrees, zoom)
        return (
            np.asarray(cv2.warpAffine(rgb_HWC, turn, size, borderMode=cv2.BORDER_REFLECT), np.uint8),
            np.asarray(
                cv2.warpAffine(label_HW, turn, size, flags=cv2.INTER_NEAREST, borderValue=VOID), np.uint8
            ),
        )

    return turned


def wet(rgb_HWC: UInt8Array, label_HW: UInt8Array) -> Pair:
    """A road like a mirror: below 45 % of the height it shows what stands above, as light as itself."""
    horizon = round(label_HW.shape[0] * 0.45)
    out_HWC = rgb_HWC.copy()
    ground_HWC = out_HWC[horizon : 2 * horizon]
    mirror_HWC = cv2.blur(rgb_HWC[:horizon][::-1], (3, 15)).astype(np.float32)
    mixed_HWC = np.clip(0.5 * ground_HWC + 0.6 * mirror_HWC, 0, 255).astype(np.uint8)
    road_HW1 = label_HW[horizon : 2 * horizon, :, None] == 1
    ground_HWC[:] = np.where(road_HW1, mixed_HWC, ground_HWC)
    return out_HWC, label_HW


def dappled(pixel_HWC: Any) -> Any:
    """Under trees: lumps of shade, a third as light, about a twelfth of the picture large."""
    height, width = pixel_HWC.shape[:2]
    lumps_hw = np.random.default_rng(0).normal(size=(24, 32)).astype(np.float32)
    lumps_HW = cv2.resize(lumps_hw, (width, height), interpolation=cv2.INTER_CUBIC)
    return pixel_HWC * (1 - 0.65 / (1 + np.exp(-12 * lumps_HW)))[..., None]


def fog(pixel_HWC: Any) -> Any:
    """Grey that leaves an eighth of the picture above its upper third, and all of it at its foot."""
    seen_H11 = np.clip(1.6 * (np.linspace(0, 1, len(pixel_HWC)) - 0.35), 0.12, 1)[:, None, None]
    return pixel_HWC * seen_H11 + 190 * (1 - seen_H11)


def night(pixel_HWC: Any) -> Any:
    """What own headlamps light, and the noise of a sensor at its limit."""
    height, width = pixel_HWC.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    lamp_HW = np.exp(-(((x / width - 0.5) / 0.35) ** 2) - ((y / height - 0.85) / 0.35) ** 2)
    lit_HWC = pixel_HWC * (0.06 + 0.5 * lamp_HW[..., None]) * (1.1, 1.0, 0.8)
    return lit_HWC + np.random.default_rng(0).normal(0, 8, pixel_HWC.shape)


def moved(pixel_HWC: Any) -> Any:
    """Smeared sideways, over 2 % of the width."""
    side = max(3, round(pixel_HWC.shape[1] / 50))
    return cv2.blur(pixel_HWC, (side, 1))


def rained(pixel_HWC: Any) -> Any:
    """A streak for each 500 pixels, a fourteenth of the height long."""
    height, width = pixel_HWC.shape[:2]
    chance = np.random.default_rng(0)
    streaks_HW = np.zeros((height, width), np.float32)
    for _ in range(height * width // 500):
        x, y = int(chance.integers(width)), int(chance.integers(height))
        cv2.line(streaks_HW, (x, y), (x + height // 80, y + height // 14), 1.0, 1)
    return pixel_HWC * 0.85 + 120 * cv2.GaussianBlur(streaks_HW, (3, 3), 0)[..., None]


def glare(pixel_HWC: Any) -> Any:
    """A low sun: a bright spot with a wide halo."""
    height, width = pixel_HWC.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    spot_HW = np.exp(-(((x / width - 0.6) / 0.25) ** 2) - ((y / height - 0.25) / 0.5) ** 2)
    return pixel_HWC * 0.8 + 230 * spot_HW[..., None]


def pressed(rgb_HWC: UInt8Array, label_HW: UInt8Array) -> Pair:
    """A JPEG of quality 10."""
    data = cv2.imencode(".jpg", rgb_HWC, [cv2.IMWRITE_JPEG_QUALITY, 10])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8), label_HW


def noisy(pixel_HWC: Any) -> Any:
    """Gaussian, a deviation of 30 levels."""
    return pixel_HWC + np.random.default_rng(0).normal(0, 30, pixel_HWC.shape)


CHANGES: dict[str, Change] = {
    "as it is": lambda rgb_HWC, label_HW: (rgb_HWC, label_HW),
    "letterbox": letterbox,
    "blurred sides": upright,
    "caption": written,
    "banner": banner,
    "wide lens": fish_eye(100),
    "fish-eye": fish_eye(140),
    "square": middle(1.0),
    "strip": strip,
    "squeezed": squeezed,
    "tilted": tilted(12, 1.15),
    "leaning": tilted(25, 1.0),
    "motion": of_pixels(moved),
    "rain": of_pixels(rained),
    "wet road": wet,
    "fog": of_pixels(fog),
    "night": of_pixels(night),
    "dappled shade": of_pixels(dappled),
    "glare": of_pixels(glare),
    "dark": of_pixels(lambda pixel_HWC: 0.1 * pixel_HWC),
    "bright": of_pixels(lambda pixel_HWC: 1.8 * pixel_HWC),
    "little contrast": of_pixels(lambda pixel_HWC: 0.3 * pixel_HWC + 120),
    "grey": of_pixels(lambda pixel_HWC: pixel_HWC.mean(2, keepdims=True).repeat(3, 2)),
    "blue": of_pixels(lambda pixel_HWC: pixel_HWC * (0.7, 0.9, 1.3)),
    "yellow": of_pixels(lambda pixel_HWC: pixel_HWC * (1.3, 0.95, 0.6)),
    "noise": of_pixels(noisy),
    "JPEG": pressed,
}


def iou(predictor: Predictor, pairs: list[Pair], change: Change) -> float:
    """Of the road, over all pictures together."""
    counts = ConfusionMatrix(2)
    for rgb_HWC, label_HW in pairs:
        seen_HWC, truth_HW = change(rgb_HWC, label_HW)
        mask_HW = predictor.predict([np.ascontiguousarray(seen_HWC)])[0]
        counts.update(torch.from_numpy(mask_HW), torch.from_numpy(truth_HW))
    return scores(counts, predictor.scheme.classes).iou[1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--weights", nargs="+", default=["road-small"])
    parser.add_argument("--pictures", type=int, default=40, help="of each data set, spread over its val part")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    predictors = [
        Predictor(load_checkpoint(find_weights(Path(name))), InferConfig(device="cpu", classes="road"))
        for name in given.weights
    ]
    rows: dict[str, list[float]] = {name: [] for name in CHANGES}
    for folder in given.data:
        chosen = evenly(find_samples(folder, "val"), given.pictures)
        pairs = [read_pair(sample, predictors[0].scheme) for sample in chosen]
        for name, change in CHANGES.items():
            rows[name] += [iou(predictor, pairs, change) for predictor in predictors]
    heads = [f"{folder.name} {Path(name).stem}" for folder in given.data for name in given.weights]
    lines = [[name, *(render.percent(score) for score in found)] for name, found in rows.items()]
    lines.append(
        ["mean", *(render.percent(float(np.mean(each))) for each in zip(*rows.values(), strict=True))]
    )
    render.table("Road IoU %", ["pictures", *heads], lines)


if __name__ == "__main__":
    main()
