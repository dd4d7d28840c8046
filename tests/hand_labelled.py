"""The road, drawn by hand, of pictures that nobody had labelled: data sets to score a model on.

    python tests/hand_labelled.py --pictures DIR --out OUT
    roadseg eval --data OUT/california --dataset folder:road-index --split val

DIR holds unlabelled/ (14 pictures of Californian motorways, of Udacity's CarND lane finding projects) and
videos/ (four clips), which are not ours to give: here are the polygons alone, in hand_labels.json. In each
picture `road` is drawn first, then `other` (vehicles, bonnets, barriers) and `void` (what nobody could tell).
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np

from roadseg.labels import VOID, UInt8Array

POLYGONS = Path(__file__).with_name("hand_labels.json")
VALUES = {"road": 1, "other": 0, "void": VOID}
SOFT = 5  # pixels of void along each edge, where no hand is exact

Polygons = Mapping[str, list[list[list[int]]]]


def labelled() -> dict[str, dict[str, Polygons]]:
    """Data set -> picture (a path, of a video with #FRAME) -> polygons, x and y in pixels."""
    sets: dict[str, dict[str, Polygons]] = json.loads(POLYGONS.read_text())
    return sets


def drawn(polygons: Polygons, height: int, width: int) -> UInt8Array:
    """The (H, W) label: 1 road, 0 not, 255 void."""
    label_HW = np.zeros((height, width), np.uint8)
    for kind, value in VALUES.items():
        for polygon in polygons[kind]:
            cv2.fillPoly(label_HW, [np.array(polygon, np.int32)], value)
    road_HW = (label_HW == VALUES["road"]).astype(np.uint8)
    edge_HW = cv2.morphologyEx(road_HW, cv2.MORPH_GRADIENT, np.ones((SOFT, SOFT), np.uint8))
    label_HW[edge_HW > 0] = VOID
    return label_HW


def pictures(root: Path, names: list[str]) -> Iterator[tuple[str, UInt8Array]]:
    """Each picture (H, W, 3), BGR, with its name."""
    for name in names:
        path, _, frame = name.partition("#")
        if frame:
            clip = cv2.VideoCapture(str(root / path))
            for _ in range(int(frame) + 1):  # seeking is not exact
                found, image_HWC = clip.read()
        else:
            image_HWC = cv2.imread(str(root / path))
            found = image_HWC is not None
        if not found:
            raise SystemExit(f"{root / path}: no such picture or frame; --pictures is the wrong folder?")
        yield name, np.asarray(image_HWC, np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    for group, polygons in labelled().items():
        images, masks = (given.out / group / kind / "val" for kind in ("images", "masks"))
        for folder in (images, masks):
            folder.mkdir(parents=True, exist_ok=True)
        for name, image_HWC in pictures(given.pictures, list(polygons)):
            stem = Path(name.replace(".mp4#", "_")).stem
            cv2.imwrite(str(images / f"{stem}.png"), image_HWC)
            cv2.imwrite(str(masks / f"{stem}.png"), drawn(polygons[name], *image_HWC.shape[:2]))
        print(given.out / group, len(polygons))


if __name__ == "__main__":
    main()
