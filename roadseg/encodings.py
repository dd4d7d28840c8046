"""What the pixels of label files mean: the tables of the data sets, as their publishers give them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from roadseg.errors import DatasetError

VOID: Final = 255

RGB = tuple[int, int, int]
RawValue = int | RGB
UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class LabelEncoding:
    """How a data set writes classes into label files.

    `values` maps each raw value (an int 0..255, or an RGB triple) to the data set's own name of the class;
    a value that is not in it has no place in such a file. `void` names the pixels that are nobody's class,
    whatever the model predicts.
    """

    name: str
    values: Mapping[int, str] | Mapping[RGB, str] = field(hash=False)
    void: frozenset[str] = frozenset()

    @property
    def is_color(self) -> bool:
        """Whether the raw values are RGB triples."""
        return isinstance(next(iter(self.values)), tuple)


@dataclass(frozen=True, slots=True)
class CityscapesLabel:
    """One row of the official table: `*_labelIds.png` hold `id`, `*_labelTrainIds.png` hold `train_id`."""

    name: str
    id: int
    train_id: int
    category: str
    category_id: int
    has_instances: bool
    ignore_in_eval: bool
    color: RGB


# Source: cityscapesScripts, cityscapesscripts/helpers/labels.py.
CITYSCAPES_LABELS: Final = (
    CityscapesLabel("unlabeled", 0, 255, "void", 0, False, True, (0, 0, 0)),
    CityscapesLabel("ego vehicle", 1, 255, "void", 0, False, True, (0, 0, 0)),
    CityscapesLabel("rectification border", 2, 255, "void", 0, False, True, (0, 0, 0)),
    CityscapesLabel("out of roi", 3, 255, "void", 0, False, True, (0, 0, 0)),
    CityscapesLabel("static", 4, 255, "void", 0, False, True, (0, 0, 0)),
    CityscapesLabel("dynamic", 5, 255, "void", 0, False, True, (111, 74, 0)),
    CityscapesLabel("ground", 6, 255, "void", 0, False, True, (81, 0, 81)),
    CityscapesLabel("road", 7, 0, "flat", 1, False, False, (128, 64, 128)),
    CityscapesLabel("sidewalk", 8, 1, "flat", 1, False, False, (244, 35, 232)),
    CityscapesLabel("parking", 9, 255, "flat", 1, False, True, (250, 170, 160)),
    CityscapesLabel("rail track", 10, 255, "flat", 1, False, True, (230, 150, 140)),
    CityscapesLabel("building", 11, 2, "construction", 2, False, False, (70, 70, 70)),
    CityscapesLabel("wall", 12, 3, "construction", 2, False, False, (102, 102, 156)),
    CityscapesLabel("fence", 13, 4, "construction", 2, False, False, (190, 153, 153)),
    CityscapesLabel("guard rail", 14, 255, "construction", 2, False, True, (180, 165, 180)),
    CityscapesLabel("bridge", 15, 255, "construction", 2, False, True, (150, 100, 100)),
    CityscapesLabel("tunnel", 16, 255, "construction", 2, False, True, (150, 120, 90)),
    CityscapesLabel("pole", 17, 5, "object", 3, False, False, (153, 153, 153)),
    CityscapesLabel("polegroup", 18, 255, "object", 3, False, True, (153, 153, 153)),
    CityscapesLabel("traffic light", 19, 6, "object", 3, False, False, (250, 170, 30)),
    CityscapesLabel("traffic sign", 20, 7, "object", 3, False, False, (220, 220, 0)),
    CityscapesLabel("vegetation", 21, 8, "nature", 4, False, False, (107, 142, 35)),
    CityscapesLabel("terrain", 22, 9, "nature", 4, False, False, (152, 251, 152)),
    CityscapesLabel("sky", 23, 10, "sky", 5, False, False, (70, 130, 180)),
    CityscapesLabel("person", 24, 11, "human", 6, True, False, (220, 20, 60)),
    CityscapesLabel("rider", 25, 12, "human", 6, True, False, (255, 0, 0)),
    CityscapesLabel("car", 26, 13, "vehicle", 7, True, False, (0, 0, 142)),
    CityscapesLabel("truck", 27, 14, "vehicle", 7, True, False, (0, 0, 70)),
    CityscapesLabel("bus", 28, 15, "vehicle", 7, True, False, (0, 60, 100)),
    CityscapesLabel("caravan", 29, 255, "vehicle", 7, True, True, (0, 0, 90)),
    CityscapesLabel("trailer", 30, 255, "vehicle", 7, True, True, (0, 0, 110)),
    CityscapesLabel("train", 31, 16, "vehicle", 7, True, False, (0, 80, 100)),
    CityscapesLabel("motorcycle", 32, 17, "vehicle", 7, True, False, (0, 0, 230)),
    CityscapesLabel("bicycle", 33, 18, "vehicle", 7, True, False, (119, 11, 32)),
    CityscapesLabel("license plate", -1, -1, "vehicle", 7, False, True, (0, 0, 142)),
)
EVALUATED: Final = tuple(label for label in CITYSCAPES_LABELS if not label.ignore_in_eval)
_CITYSCAPES_VOID: Final = frozenset(label.name for label in CITYSCAPES_LABELS if label.ignore_in_eval)

# Source: label_colors.txt of the CamVid database (Brostow et al. 2009).
_CAMVID_COLORS: Final = {
    (64, 128, 64): "Animal", (192, 0, 128): "Archway", (0, 128, 192): "Bicyclist", (0, 128, 64): "Bridge",
    (128, 0, 0): "Building", (64, 0, 128): "Car", (64, 0, 192): "CartLuggagePram", (192, 128, 64): "Child",
    (192, 192, 128): "Column_Pole", (64, 64, 128): "Fence", (128, 0, 192): "LaneMkgsDriv",
    (192, 0, 64): "LaneMkgsNonDriv", (128, 128, 64): "Misc_Text", (192, 0, 192): "MotorcycleScooter",
    (128, 64, 64): "OtherMoving", (64, 192, 128): "ParkingBlock", (64, 64, 0): "Pedestrian",
    (128, 64, 128): "Road", (128, 128, 192): "RoadShoulder", (0, 0, 192): "Sidewalk",
    (192, 128, 128): "SignSymbol", (128, 128, 128): "Sky", (64, 128, 192): "SUVPickupTruck",
    (0, 0, 64): "TrafficCone", (0, 64, 64): "TrafficLight", (192, 64, 128): "Train", (128, 128, 0): "Tree",
    (192, 128, 192): "Truck_Bus", (64, 0, 64): "Tunnel", (192, 192, 0): "VegetationMisc", (0, 0, 0): "Void",
    (64, 192, 0): "Wall",
}  # fmt: skip
# The classes of the SegNet tutorial's index files in their order; 11 there is "Unlabelled".
CAMVID11: Final = (
    "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian",
    "Bicyclist",
)  # fmt: skip
# The classes of IDD Lite's label files in their order.
IDD7: Final = (
    "drivable", "non-drivable", "living things", "vehicles", "roadside objects", "far objects", "sky",
)  # fmt: skip

ENCODINGS: Final[Mapping[str, LabelEncoding]] = {
    encoding.name: encoding
    for encoding in (
        # 8-bit files hold the license plate's -1 as 255.
        LabelEncoding(
            "cityscapes-labelIds",
            {label.id % 256: label.name for label in CITYSCAPES_LABELS},
            _CITYSCAPES_VOID,
        ),
        LabelEncoding(
            "cityscapes-labelTrainIds",
            {label.train_id: label.name for label in EVALUATED} | {VOID: "unlabeled"},
            _CITYSCAPES_VOID,
        ),
        # `*_color.png`. Black is several void labels; the car's colour is also the license plate's.
        LabelEncoding(
            "cityscapes-color",
            {label.color: label.name for label in reversed(CITYSCAPES_LABELS) if label.id >= 0},
            _CITYSCAPES_VOID,
        ),
        LabelEncoding("idd-lite", dict(enumerate(IDD7)) | {VOID: "void"}, frozenset({"void"})),
        LabelEncoding("camvid11", dict(enumerate((*CAMVID11, "Unlabelled"))), frozenset({"Unlabelled"})),
        LabelEncoding("camvid32", _CAMVID_COLORS, frozenset({"Void"})),
        # Source: the KITTI road devkit. Red marks the valid area; where blue is added, it is road.
        LabelEncoding(
            "kitti-road",
            {(255, 0, 255): "road", (255, 0, 0): "not road", (0, 0, 0): "outside"},
            frozenset({"outside"}),
        ),
        # Source: doc.bdd100k.com; 255 marks pixels without a label.
        LabelEncoding(
            "bdd100k-drivable",
            {0: "direct drivable", 1: "alternative drivable", 2: "background", VOID: "void"},
            frozenset({"void"}),
        ),
        # The older download of the same labels, which counts otherwise.
        # Source: README of github.com/ucbdrive/bdd100k.
        LabelEncoding(
            "bdd100k-drivable-maps",
            {0: "background", 1: "direct drivable", 2: "alternative drivable"},
        ),
        # Source: README of github.com/commaai/comma10k.
        LabelEncoding(
            "comma10k",
            {
                (0x40, 0x20, 0x20): "road",
                (0xFF, 0x00, 0x00): "lane markings",
                (0x80, 0x80, 0x60): "undrivable",
                (0x00, 0xFF, 0x66): "movable",
                (0xCC, 0x00, 0xFF): "my car",
            },
            frozenset({"my car"}),
        ),
        # Masks as `roadseg segment` writes them: white is road. Nothing is void.
        LabelEncoding("road-mask", {0: "background", 255: "road"}),
        LabelEncoding("road-index", {0: "background", 1: "road", VOID: "void"}, frozenset({"void"})),
    )
}


def read_label_colors(path: Path, encoding: LabelEncoding) -> LabelEncoding:
    """`encoding` with the colours that `path` lists, as CamVid's label_colors.txt: "R G B<tab>name" per line.

    DatasetError if the file cannot be read so.
    """
    values: dict[RGB, str] = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip():
                red, green, blue, name = line.split(None, 3)
                values[int(red), int(green), int(blue)] = name.strip()
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: not lines of `R G B name` ({error}); restore or remove it") from error
    if not values or max(map(max, values)) > 255 or min(map(min, values)) < 0:
        raise DatasetError(f"{path}: lists no colours of 0 to 255; restore or remove it")
    return LabelEncoding(encoding.name, values, encoding.void)
