"""The road, drawn by hand, of pictures that nobody had labelled: data sets to score a model on.

    python tests/hand_labelled.py --pictures DIR --out OUT
    roadseg eval --data OUT/california --dataset folder:road-index --split val

DIR holds unlabelled/ (14 pictures of Californian motorways, of Udacity's CarND lane finding projects) and
videos/ (four clips), which are not ours to give: here are the polygons alone, in hand_labels.json. In each
picture `road` is drawn first, then `other` (vehicles, bonnets, barriers) and `void` (what nobody could tell).
As the edge of the road is void, scores of boundaries mean nothing here.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import cv2
import numpy as np

from roadseg.labels import VOID, UInt8Array

POLYGONS = Path(__file__).with_name("hand_labels.json")
SOFT = 5  # pixels: width of the brush that makes the road's edges void, where no hand is exact

Polygon = list[list[int]]


class Drawing(TypedDict):
    """A picture's height and width, and polygons of its pixels' x and y."""

    size: tuple[int, int]
    road: list[Polygon]
    other: list[Polygon]
    void: list[Polygon]


def drawings() -> Mapping[str, Mapping[str, Drawing]]:
    """Data set -> picture (a path, of a video with #FRAME) -> what was drawn."""
    sets: Mapping[str, Mapping[str, Drawing]] = json.loads(POLYGONS.read_text())
    return sets


def labelled(drawing: Drawing) -> UInt8Array:
    """The (H, W) label: 1 road, 0 not, 255 void."""
    label_HW = np.zeros(drawing["size"], np.uint8)
    for polygons, value in ((drawing["road"], 1), (drawing["other"], 0), (drawing["void"], VOID)):
        for polygon in polygons:
            cv2.fillPoly(label_HW, [np.array(polygon, np.int32)], value)
    road_HW = (label_HW == 1).astype(np.uint8)
    edge_HW = cv2.morphologyEx(road_HW, cv2.MORPH_GRADIENT, np.ones((SOFT, SOFT), np.uint8))
    label_HW[edge_HW > 0] = VOID
    return label_HW


def picture(root: Path, name: str) -> UInt8Array:
    """(H, W, 3), BGR. Raises FileNotFoundError."""
    path, _, frame = name.partition("#")
    if not (root / path).is_file():
        raise FileNotFoundError(f"{root / path}: not there; --pictures must hold unlabelled/ and videos/")
    if not frame:
        return np.asarray(cv2.imread(str(root / path)), np.uint8)
    clip = cv2.VideoCapture(str(root / path))
    for _ in range(int(frame) + 1):  # seeking is not exact
        _, image_HWC = clip.read()
    return np.asarray(image_HWC, np.uint8)


def write(path: Path, pixels: UInt8Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, png = cv2.imencode(".png", pixels)
    path.write_bytes(png.tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True, metavar="DIR", help="as told above")
    parser.add_argument("--out", type=Path, required=True, help="folder for the data sets")
    given = parser.parse_args()
    try:
        for group, drawn in drawings().items():
            for name, drawing in drawn.items():
                stem = Path(name.replace(".mp4#", "_")).stem
                write(given.out / group / "images" / "val" / f"{stem}.png", picture(given.pictures, name))
                write(given.out / group / "masks" / "val" / f"{stem}.png", labelled(drawing))
            print(given.out / group, len(drawn))
    except OSError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
