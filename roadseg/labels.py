"""What a model predicts, and how it is made from the labels of any data set.

A `LabelEncoding` (see `encodings.py`) says what the pixels of a label file mean: raw value -> raw class
name. A `LabelScheme` says what a model predicts: classes, colours, and which raw names make up each class.
As schemes speak of *names*, one scheme serves every encoding: `road` is made from Cityscapes ids, from
CamVid's colours or from BDD100K's drivable masks alike. A class index is a position in
`LabelScheme.classes`; 255 (`VOID`) marks pixels that count nowhere.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from roadseg.documents import parse_json
from roadseg.encodings import (
    CAMVID11,
    CITYSCAPES_LABELS,
    ENCODINGS,
    EVALUATED,
    IDD7,
    RGB,
    VOID,
    CityscapesLabel,
    LabelEncoding,
    RawValue,
    UInt8Array,
    read_label_colors,
)
from roadseg.errors import ConfigError, DatasetError

__all__ = [
    "CITYSCAPES_LABELS",
    "ENCODINGS",
    "RGB",
    "SCHEMES",
    "VOID",
    "CityscapesLabel",
    "LabelEncoding",
    "LabelScheme",
    "RawValue",
    "UInt8Array",
    "decode_label",
    "get_scheme",
    "label_ids",
    "read_label_colors",
]

# Stands for "raw value unknown" while a label is decoded; so class indices end at 253.
_UNKNOWN: Final = 254


@dataclass(frozen=True)
class LabelScheme:
    """The classes that a model predicts; a class index is a position in `classes` and in `colors`.

    `members` maps raw class names to class indices; a class's own name belongs to it anyway, and case does
    not count. A name in `members` counts even where an encoding calls it void. `rest` is the index of the
    class that takes all other names, if there is one. A scheme with
    `values` is a user's own: it says itself what each raw value of a label file is, class index or VOID,
    whatever the data set's encoding calls it.
    """

    name: str
    classes: tuple[str, ...]
    colors: tuple[RGB, ...]
    members: Mapping[str, int] = field(default_factory=dict, hash=False)
    rest: int | None = None
    values: Mapping[RawValue, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not 2 <= len(self.classes) <= _UNKNOWN or len(set(self.classes)) < len(self.classes):
            raise DatasetError(f"label scheme {self.name!r}: give 2 to 254 classes, each with its own name")
        if len(self.colors) != len(self.classes):
            raise DatasetError(
                f"label scheme {self.name!r}: {len(self.classes)} classes but {len(self.colors)} colours; "
                "give each class one"
            )
        rest = [] if self.rest is None else [self.rest]
        indices = {*self.members.values(), *self.values.values(), *rest} - {VOID}
        if not indices <= set(range(len(self.classes))):
            raise DatasetError(
                f"label scheme {self.name!r}: names class {max(indices)}, which it does not have"
            )

    @property
    def num_classes(self) -> int:
        """How many classes the model tells apart (void is none)."""
        return len(self.classes)

    @property
    def road_class(self) -> int | None:
        """Index of the class that is the road; None if there is none by that name."""
        return next((i for i, name in enumerate(self.classes) if _is_road(name)), None)

    def table(self, encoding: LabelEncoding) -> dict[RawValue, int]:
        """Raw value -> class index or VOID, for files in `encoding`; DatasetError if they cannot give it."""
        if self.values:
            return dict(self.values)
        members = {name.casefold(): index for name, index in self.members.items()}
        explicit = frozenset(members)
        members |= {name.casefold(): index for index, name in enumerate(self.classes)}
        table: dict[RawValue, int] = {}
        for value, name in encoding.values.items():
            void = name in encoding.void and name.casefold() not in explicit
            index = VOID if void else members.get(name.casefold(), self.rest)
            if index is None:
                raise self._misfit(encoding, f"their {name!r} belongs to no class")
            table[value] = index
        for index, name in enumerate(self.classes):
            if index not in table.values() and index != self.rest:
                raise self._misfit(encoding, f"they have no {name!r}")
        return table

    def _misfit(self, encoding: LabelEncoding, why: str) -> DatasetError:
        return DatasetError(
            f"the classes {self.name!r} cannot be made from {encoding.name} labels: {why}; choose other "
            "classes (`eval --classes road` joins a network's), or describe the values in a JSON file"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for checkpoints and reports."""
        return {
            "name": self.name,
            "classes": list(self.classes),
            "colors": [list(color) for color in self.colors],
            "members": dict(self.members),
            "rest": self.rest,
            "values": [
                [list(value) if isinstance(value, tuple) else value, index]
                for value, index in self.values.items()
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "LabelScheme":
        """The scheme that `to_dict` wrote; DatasetError if `data` is none."""
        try:
            return cls(
                str(data["name"]),
                tuple(str(name) for name in data["classes"]),
                tuple(_color(color) for color in data["colors"]),
                {str(name): int(index) for name, index in data["members"].items()},
                None if data["rest"] is None else int(data["rest"]),
                {_raw_value(value): int(index) for value, index in data["values"]},
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"this does not describe a label scheme: {error!r}") from error


_BY_NAME: Final = {label.name: label for label in CITYSCAPES_LABELS}
# Each category with the label that stands for it, in colour and in `label_ids`.
_CATEGORIES: Final = {
    "flat": "road", "construction": "building", "object": "pole", "nature": "vegetation", "sky": "sky",
    "human": "person", "vehicle": "car",
}  # fmt: skip
# CamVid's 32 names as the 11 classes of SegNet. Source: MathWorks' example with CamVid.
_CAMVID_MEMBERS: Final = {
    "Building": ("Archway", "Bridge", "Tunnel", "Wall"),
    "Pole": ("Column_Pole", "TrafficCone"),
    "Road": ("LaneMkgsDriv", "LaneMkgsNonDriv"),
    "Pavement": ("Sidewalk", "ParkingBlock", "RoadShoulder"),
    "Tree": ("VegetationMisc",),
    "SignSymbol": ("Misc_Text", "TrafficLight"),
    "Car": ("OtherMoving", "SUVPickupTruck", "Train", "Truck_Bus"),
    "Pedestrian": ("Animal", "CartLuggagePram", "Child"),
    "Bicyclist": ("MotorcycleScooter",),
}
# Cityscapes' names as the 7 groups of IDD Lite; terrain is what IDD calls non-drivable fallback. Source: the
# label hierarchy of IDD (Varma et al. 2019), level 1 of `anue_labels.py` in its tools.
_IDD7_MEMBERS: Final = {
    "drivable": ("road",),
    "non-drivable": ("sidewalk", "terrain"),
    "living things": ("person", "rider"),
    "vehicles": ("car", "truck", "bus", "train", "motorcycle", "bicycle"),
    "roadside objects": ("wall", "fence", "pole", "traffic light", "traffic sign"),
    "far objects": ("building", "vegetation"),
}
# Cityscapes' names of other ground that cars may use: car parks, and what cars and pedestrians share, both of
# them void in its own scores (class definitions on cityscapes-dataset.com).
_ALSO_DRIVABLE: Final = ("parking", "ground")
# What counts as road besides "road" itself: names of IDD, BDD100K, comma10k and CamVid.
_ROAD_MEMBERS: Final = (
    "drivable", "direct drivable", "alternative drivable", "lane markings", "LaneMkgsDriv", "LaneMkgsNonDriv",
)  # fmt: skip

SCHEMES: Final[Mapping[str, LabelScheme]] = {
    scheme.name: scheme
    for scheme in (
        LabelScheme(
            "road",
            ("background", "road"),
            ((0, 0, 0), _BY_NAME["road"].color),
            dict.fromkeys(_ROAD_MEMBERS, 1),
            rest=0,
        ),
        LabelScheme(
            "cityscapes19",
            tuple(label.name for label in EVALUATED),
            tuple(label.color for label in EVALUATED),
        ),
        LabelScheme(
            "cityscapes-category7",
            tuple(_CATEGORIES),
            tuple(_BY_NAME[name].color for name in _CATEGORIES.values()),
            {label.name: label.category_id - 1 for label in EVALUATED},
        ),
        # Colours: test_segmentation_camvid.py of the SegNet tutorial.
        LabelScheme(
            "camvid11",
            CAMVID11,
            (
                (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
                (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
            ),
            {raw: CAMVID11.index(name) for name, raws in _CAMVID_MEMBERS.items() for raw in raws},
        ),
        # Colours: the nearest label of Cityscapes.
        LabelScheme(
            "idd7",
            IDD7,
            tuple(
                _BY_NAME[name].color
                for name in ("road", "sidewalk", "person", "car", "pole", "building", "sky")
            ),
            {raw: IDD7.index(name) for name, raws in _IDD7_MEMBERS.items() for raw in raws},
        ),
        LabelScheme(
            "drivable",
            ("background", "drivable"),
            ((0, 0, 0), _BY_NAME["road"].color),
            dict.fromkeys(("road", *_ALSO_DRIVABLE, *_ROAD_MEMBERS), 1),
            rest=0,
        ),
    )
}  # fmt: skip


def get_scheme(name_or_json_path: str) -> LabelScheme:
    """A built-in scheme by name, or a user's own from a JSON file.

    The file: {"name": "mine", "classes": [{"name": "road", "color": [128, 64, 128], "values": [7]}, ...],
    "void": [0, 1]}. Raw values are whole numbers 0..255, or RGB triples where the label files are coloured; a
    value that is not listed is an error. Of two classes the road becomes the second, whatever the order:
    masks show that one as 255. ConfigError if there is no such scheme, DatasetError if the file is wrong.
    """
    if name_or_json_path in SCHEMES:
        return SCHEMES[name_or_json_path]
    path = Path(name_or_json_path)
    if not os.path.isfile(path):  # which takes a name that is too long, too
        raise ConfigError(
            f"unknown classes {name_or_json_path!r}: choose one of {', '.join(SCHEMES)}, or give a JSON file"
        )
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
        entries = list(data["classes"])
        if len(entries) == 2 and _is_road(entries[0]["name"]):  # the second is what a mask shows as 255
            entries.reverse()
        pairs = [(_raw_value(value), i) for i, entry in enumerate(entries) for value in entry["values"]]
        pairs += [(_raw_value(value), VOID) for value in data.get("void", [])]
        scheme = LabelScheme(
            str(data.get("name", path.stem)),
            tuple(str(entry["name"]) for entry in entries),
            tuple(_color(entry["color"]) for entry in entries),
            values=dict(pairs),
        )
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f'{path}: not a label scheme ({error!r}); write {{"classes": [{{"name": "road", "color": '
            '[128, 64, 128], "values": [7]}, ...], "void": [0, 1]}'
        ) from error
    if len(scheme.values) < len(pairs):
        raise DatasetError(f"{path}: a raw value is listed twice; give each value one meaning")
    for index, name in enumerate(scheme.classes):
        if index not in dict(pairs).values():
            raise DatasetError(
                f"{path}: the class {name!r} has no value of its own; list one or drop the class"
            )
    if len({type(value) for value in scheme.values}) > 1:
        raise DatasetError(f"{path}: raw values are numbers or colours, not both; use one kind")
    return scheme


def _is_road(name: Any) -> bool:
    return str(name).casefold() in ("road", "drivable")


def _color(value: Any) -> RGB:
    red, green, blue = (_byte(part) for part in value)
    return red, green, blue


def _byte(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= 255:
        raise ValueError(f"{value!r} is no whole number from 0 to 255")
    return value


def _raw_value(value: Any) -> RawValue:
    return _color(value) if isinstance(value, list) else _byte(value)


def decode_label(raw: UInt8Array, encoding: LabelEncoding, scheme: LabelScheme, where: str) -> UInt8Array:
    """The raw pixels of a label file as classes.

    `raw` is HW uint8, or HW3 uint8 RGB where labels are colours; the answer is HW uint8, class index or VOID.
    DatasetError that names `where`, and the values, for raw values that the scheme does not know.
    """
    table = scheme.table(encoding)
    is_color = isinstance(next(iter(table)), tuple)
    if is_color != (raw.ndim == 3):
        raise DatasetError(
            f"{where}: holds {'numbers' if is_color else 'colours'} where labels are "
            f"{'colours' if is_color else 'numbers'} ({encoding.name}); give the other label files"
        )
    packed = _pack(raw) if is_color else raw
    values = list(table)
    codes = _pack(np.array([values], np.uint8))[0] if is_color else np.array(values, np.uint8)
    indices = np.fromiter(table.values(), np.uint8)
    if is_color:
        order = np.argsort(codes)
        place = order[np.searchsorted(codes, packed, sorter=order).clip(max=len(order) - 1)]
        label = np.where(codes[place] == packed, indices[place], np.uint8(_UNKNOWN))
    else:
        lut = np.full(256, _UNKNOWN, np.uint8)
        lut[codes] = indices
        label = lut[packed]
    unknown = label == _UNKNOWN
    if unknown.any():
        found = np.unique(raw[unknown], axis=0).tolist()
        shown = ", ".join(str(value) for value in found[:8]) + (", ..." if len(found) > 8 else "")
        raise DatasetError(
            f"{where}: holds {shown}, which {scheme.name if scheme.values else encoding.name} does not know; "
            "check the classes, and how it is written (--dataset, --label-format, --prediction-format)"
        )
    return label


def _pack(rgb_HWC: UInt8Array) -> npt.NDArray[np.int32]:
    """RGB as one number per pixel."""
    red, green, blue = (rgb_HWC[..., channel].astype(np.int32) for channel in range(3))
    return red << 16 | green << 8 | blue


def label_ids(scheme: LabelScheme) -> UInt8Array:
    """The official Cityscapes labelId of each class, uint8 [K]: `label_ids(scheme)[mask]` is for its script.

    cityscapes19 maps one to one. cityscapes-category7 takes one label of each category: the script's scores
    of categories are right then, those of classes mean nothing. road (or drivable) is 7, and background 0:
    where that is predicted, road is missed if it was there and no class has a false alarm, so the script's
    IoU of road is right. ConfigError for schemes that have no official ids.
    """
    names: dict[str, tuple[str, ...]] = {
        "road": ("unlabeled", "road"),
        "drivable": ("unlabeled", "road"),
        "cityscapes19": SCHEMES["cityscapes19"].classes,
        "cityscapes-category7": tuple(_CATEGORIES.values()),
    }
    if scheme.name not in names or scheme.classes != SCHEMES[scheme.name].classes:
        raise ConfigError(
            f"the classes {scheme.name!r} have no official Cityscapes labelIds: leave out --ids "
            "labelIds or --save-predictions"
        )
    return np.array([_BY_NAME[name].id for name in names[scheme.name]], np.uint8)
