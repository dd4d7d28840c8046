"""Labels: the official table, what each scheme makes of each encoding, and what a wrong value does."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cityscapesscripts.helpers import labels as official

from roadseg.errors import ConfigError, DatasetError
from roadseg.labels import (
    CITYSCAPES_LABELS,
    ENCODINGS,
    SCHEMES,
    VOID,
    LabelScheme,
    decode_label,
    get_scheme,
    label_ids,
    read_label_colors,
)


def meanings(scheme: str, encoding: str) -> dict[str, str | None]:
    """Raw name -> class name, or None for void."""
    classes = SCHEMES[scheme].classes
    table = SCHEMES[scheme].table(ENCODINGS[encoding])
    values = ENCODINGS[encoding].values
    return {name: None if table[v] == VOID else classes[table[v]] for v, name in values.items()}


def test_table_is_the_official_one() -> None:
    assert len(CITYSCAPES_LABELS) == 35
    for ours, theirs in zip(CITYSCAPES_LABELS, official.labels, strict=True):
        assert (ours.name, ours.id, ours.train_id, ours.category, ours.category_id) == theirs[:5]
        assert (ours.has_instances, ours.ignore_in_eval, ours.color) == theirs[5:]


def test_label_ids_encoding_holds_every_row_and_the_license_plate_as_255() -> None:
    values = ENCODINGS["cityscapes-labelIds"].values
    assert values == {**{row.id: row.name for row in CITYSCAPES_LABELS if row.id >= 0}, 255: "license plate"}


@pytest.mark.parametrize("encoding", ["cityscapes-labelIds", "cityscapes-labelTrainIds"])
def test_cityscapes19_is_train_id(encoding: str) -> None:
    table = SCHEMES["cityscapes19"].table(ENCODINGS[encoding])
    for row in official.labels:
        value = (row.id if encoding.endswith("labelIds") else row.trainId) % 256
        assert table[value] == (255 if row.ignoreInEval else row.trainId)
    assert SCHEMES["cityscapes19"].colors[18] == (119, 11, 32)


@pytest.mark.parametrize("encoding", ["cityscapes-labelIds", "cityscapes-labelTrainIds"])
def test_category7_follows_the_official_categories(encoding: str) -> None:
    got = meanings("cityscapes-category7", encoding)
    for row in official.labels:
        if row.name in got:
            assert got[row.name] == (None if row.ignoreInEval else row.category)
    assert got["terrain"] == "nature"
    assert got["train"] == "vehicle"


ROAD_CASES: dict[str, dict[str, list[str]]] = {
    "cityscapes-labelIds": {
        "road": ["road"],
        "void": [row.name for row in official.labels if row.ignoreInEval],
    },
    "cityscapes-labelTrainIds": {"road": ["road"], "void": ["unlabeled"]},
    "cityscapes-color": {
        "road": ["road"],
        "void": [
            "unlabeled",
            "dynamic",
            "ground",
            "parking",
            "rail track",
            "guard rail",
            "bridge",
            "tunnel",
            "caravan",
            "trailer",
        ],
    },
    "idd-lite": {"road": ["drivable"], "void": ["void"]},
    "camvid11": {"road": ["Road"], "void": ["Unlabelled"]},
    "camvid32": {"road": ["Road", "LaneMkgsDriv", "LaneMkgsNonDriv"], "void": ["Void"]},
    "kitti-road": {"road": ["road"], "void": ["outside"]},
    "bdd100k-drivable": {"road": ["direct drivable", "alternative drivable"], "void": ["void"]},
    "bdd100k-drivable-maps": {"road": ["direct drivable", "alternative drivable"], "void": []},
    "comma10k": {"road": ["road", "lane markings"], "void": ["my car"]},
    "road-mask": {"road": ["road"], "void": []},
    "road-index": {"road": ["road"], "void": ["void"]},
}


def test_every_encoding_gives_road() -> None:
    assert ROAD_CASES.keys() == ENCODINGS.keys()
    for encoding, expected in ROAD_CASES.items():
        got = meanings("road", encoding)
        assert sorted(n for n, c in got.items() if c == "road") == sorted(expected["road"]), encoding
        assert sorted(n for n, c in got.items() if c is None) == sorted(expected["void"]), encoding
        assert {c for n, c in got.items() if n not in expected["road"] + expected["void"]} == {"background"}


def test_raw_values_are_the_published_ones() -> None:
    road = SCHEMES["road"]
    assert road.table(ENCODINGS["kitti-road"]) == {(255, 0, 255): 1, (255, 0, 0): 0, (0, 0, 0): 255}
    assert road.table(ENCODINGS["bdd100k-drivable"]) == {0: 1, 1: 1, 2: 0, 255: 255}
    # the older maps of the same set: 0 is background there
    assert road.table(ENCODINGS["bdd100k-drivable-maps"]) == {0: 0, 1: 1, 2: 1}
    assert road.table(ENCODINGS["comma10k"]) == {
        (0x40, 0x20, 0x20): 1, (255, 0, 0): 1, (0x80, 0x80, 0x60): 0, (0, 255, 0x66): 0, (0xCC, 0, 255): 255,
    }  # fmt: skip
    # 255 is road in a 0/255 mask, and void in an index mask
    assert road.table(ENCODINGS["road-mask"]) == {0: 0, 255: 1}
    assert road.table(ENCODINGS["road-index"]) == {0: 0, 1: 1, 255: 255}


def test_camvid11_from_both_forms() -> None:
    index = SCHEMES["camvid11"].table(ENCODINGS["camvid11"])
    assert index == {**{i: i for i in range(11)}, 11: 255}
    got = meanings("camvid11", "camvid32")
    assert len(got) == 32
    assert got["TrafficLight"] == "SignSymbol"
    assert got["SUVPickupTruck"] == "Car"
    assert got["LaneMkgsDriv"] == "Road"
    assert got["Sidewalk"] == "Pavement"
    assert [name for name, cls in got.items() if cls is None] == ["Void"]


def test_colours_of_cityscapes_files() -> None:
    """Where two labels share a colour, it is the one that is evaluated."""
    encoding = ENCODINGS["cityscapes-color"]
    assert encoding.values[0, 0, 142] == "car"
    assert encoding.values[153, 153, 153] == "pole"
    assert encoding.values[0, 0, 0] == "unlabeled"
    table = SCHEMES["cityscapes19"].table(encoding)
    assert [table[color] for color in SCHEMES["cityscapes19"].colors] == list(range(19))


def test_idd7() -> None:
    scheme = SCHEMES["idd7"]
    assert scheme.table(ENCODINGS["idd-lite"]) == {**{i: i for i in range(7)}, 255: 255}
    assert scheme.classes[0] == "drivable"


def test_idd7_from_cityscapes() -> None:
    """Cityscapes' 19 classes are IDD Lite's 7 groups, in the order of their train ids."""
    table = SCHEMES["idd7"].table(ENCODINGS["cityscapes-labelTrainIds"])
    groups = [0, 1, 5, 4, 4, 4, 4, 4, 5, 1, 6, 2, 2, 3, 3, 3, 3, 3, 3]
    assert [table[i] for i in range(19)] == groups
    assert table[255] == 255


def test_drivable_is_road_and_what_cityscapes_scores_as_void() -> None:
    """Parking and shared ground are void for `road`; IDD and BDD100K have no other name for drivable land."""
    ids = ENCODINGS["cityscapes-labelIds"]
    road, drivable = SCHEMES["road"].table(ids), SCHEMES["drivable"].table(ids)
    assert {value for value in drivable if drivable[value] != road[value]} == {6, 9}
    assert (road[6], road[9], drivable[6], drivable[9]) == (255, 255, 1, 1)
    assert (drivable[7], drivable[8], drivable[1]) == (1, 0, 255)
    for name in ("idd-lite", "bdd100k-drivable", "cityscapes-labelTrainIds"):
        encoding = ENCODINGS[name]
        assert SCHEMES["drivable"].table(encoding) == SCHEMES["road"].table(encoding)


@pytest.mark.parametrize(
    ("scheme", "encoding", "why"),
    [
        ("cityscapes19", "idd-lite", "their 'drivable' belongs to no class"),
        ("camvid11", "cityscapes-labelIds", "their 'traffic light' belongs to no class"),
        ("idd7", "road-mask", "belongs to no class"),
    ],
)
def test_scheme_that_cannot_be_made(scheme: str, encoding: str, why: str) -> None:
    with pytest.raises(DatasetError, match=why) as caught:
        SCHEMES[scheme].table(ENCODINGS[encoding])
    assert scheme in str(caught.value)
    assert encoding in str(caught.value)


def test_scheme_with_a_class_that_never_occurs_is_refused() -> None:
    scheme = LabelScheme("mine", ("road", "river"), ((1, 1, 1), (2, 2, 2)), rest=0)
    with pytest.raises(DatasetError, match="they have no 'river'"):
        scheme.table(ENCODINGS["road-index"])


# ---------------------------------------------------------------- decoding


def test_decode_numbers() -> None:
    raw = np.array([[7, 8, 0], [255, 33, 7]], np.uint8)
    label = decode_label(raw, ENCODINGS["cityscapes-labelIds"], SCHEMES["road"], "x.png")
    assert label.dtype == np.uint8
    assert label.tolist() == [[1, 0, 255], [255, 0, 1]]


def test_decode_colors() -> None:
    raw = np.array([[(255, 0, 255), (255, 0, 0), (0, 0, 0)]], np.uint8)
    label = decode_label(raw, ENCODINGS["kitti-road"], SCHEMES["road"], "x.png")
    assert label.dtype == np.uint8
    assert label.tolist() == [[1, 0, 255]]


def test_all_32_camvid_colors_decode_to_their_class() -> None:
    encoding, scheme = ENCODINGS["camvid32"], SCHEMES["camvid11"]
    raw = np.array([list(encoding.values)], np.uint8)
    label = decode_label(raw, encoding, scheme, "x.png")
    assert label[0].tolist() == list(scheme.table(encoding).values())


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (3, 1)])
def test_decode_keeps_odd_shapes(shape: tuple[int, int]) -> None:
    assert (
        decode_label(np.zeros(shape, np.uint8), ENCODINGS["road-mask"], SCHEMES["road"], "x").shape == shape
    )


def test_unknown_numbers_are_named() -> None:
    raw = np.array([[7, 60, 61]], np.uint8)
    with pytest.raises(DatasetError, match=r"^ulm/x\.png: holds 60, 61, which cityscapes-labelIds") as caught:
        decode_label(raw, ENCODINGS["cityscapes-labelIds"], SCHEMES["road"], "ulm/x.png")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("color", [(255, 0, 254), (0, 0, 1), (255, 255, 255)])
def test_unknown_color_is_named(color: tuple[int, int, int]) -> None:
    raw = np.array([[(255, 0, 255), color]], np.uint8)
    with pytest.raises(DatasetError, match=str(list(color)).replace("[", r"\[")):
        decode_label(raw, ENCODINGS["kitti-road"], SCHEMES["road"], "x.png")


def test_a_long_list_of_unknown_values_is_cut() -> None:
    raw = np.arange(100, 200, dtype=np.uint8)[None]
    with pytest.raises(DatasetError, match=r"holds 100, 101, 102, 103, 104, 105, 106, 107, \.\.\., which"):
        decode_label(raw, ENCODINGS["road-mask"], SCHEMES["road"], "x.png")


def test_colors_where_numbers_belong_and_the_other_way_round() -> None:
    with pytest.raises(DatasetError, match=r"x\.png: holds colours where labels are numbers"):
        decode_label(np.zeros((2, 2, 3), np.uint8), ENCODINGS["road-mask"], SCHEMES["road"], "x.png")
    with pytest.raises(DatasetError, match=r"x\.png: holds numbers where labels are colours"):
        decode_label(np.zeros((2, 2), np.uint8), ENCODINGS["camvid32"], SCHEMES["road"], "x.png")


def test_index_mask_read_as_road_mask_is_an_error_and_not_a_guess() -> None:
    raw = np.array([[0, 1, 255]], np.uint8)
    with pytest.raises(DatasetError, match="holds 1, which road-mask"):
        decode_label(raw, ENCODINGS["road-mask"], SCHEMES["road"], "x.png")


# ---------------------------------------------------------------- a user's own scheme


OWN: dict[str, Any] = {
    "name": "mine",
    "classes": [
        {"name": "road", "color": [128, 64, 128], "values": [7, 9]},
        {"name": "rest", "color": [0, 0, 0], "values": [0, 1]},
    ],
    "void": [255],
}


def own(tmp_path: Path, data: object) -> LabelScheme:
    path = tmp_path / "schéma.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return get_scheme(str(path))


def test_own_scheme(tmp_path: Path) -> None:
    scheme = own(tmp_path, OWN)
    assert (scheme.name, scheme.classes, scheme.num_classes) == ("mine", ("rest", "road"), 2)
    assert scheme.road_class == 1  # of two classes the road is the second, which masks show as 255
    assert scheme.colors == ((0, 0, 0), (128, 64, 128))
    raw = np.array([[7, 9, 0, 1, 255]], np.uint8)
    # its values mean what the file says, whatever the data set calls them
    for encoding in ("road-mask", "cityscapes-labelIds"):
        assert decode_label(raw, ENCODINGS[encoding], scheme, "x").tolist() == [[1, 1, 0, 0, 255]]
    with pytest.raises(DatasetError, match=r"x\.png: holds 8, which mine does not know"):
        decode_label(np.array([[8]], np.uint8), ENCODINGS["road-mask"], scheme, "x.png")


def test_own_scheme_of_colors(tmp_path: Path) -> None:
    classes = [
        {"name": "a", "color": [1, 2, 3], "values": [[1, 2, 3]]},
        {"name": "b", "color": [9, 9, 9], "values": [[9, 9, 9], [8, 8, 8]]},
    ]
    scheme = own(tmp_path, {"classes": classes, "void": [[0, 0, 0]]})
    assert scheme.name == "schéma"
    raw = np.array([[(8, 8, 8), (1, 2, 3), (0, 0, 0)]], np.uint8)
    assert decode_label(raw, ENCODINGS["road-mask"], scheme, "x").tolist() == [[1, 0, 255]]


def changed(**changes: object) -> dict[str, Any]:
    return {**OWN, **changes}


A, B = OWN["classes"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ([], "not a label scheme"),
        ({}, "not a label scheme"),
        (changed(classes=[A, {**B, "values": [0, 256]}]), "256 is no whole number from 0 to 255"),
        (changed(classes=[A, {**B, "values": [True]}]), "True is no whole number"),
        (changed(classes=[A, {**B, "color": [0, 0]}]), "not a label scheme"),
        (changed(classes=[A, {**B, "values": [7]}]), "a raw value is listed twice"),
        (changed(void=[7]), "a raw value is listed twice"),
        (changed(classes=[A, {**B, "values": []}]), "the class 'rest' has no value of its own"),
        (changed(classes=[A, {**B, "values": [[0, 0, 0]]}]), "numbers or colours, not both"),
        (changed(classes=[A, {**B, "name": "road"}]), "each with its own name"),
        (changed(classes=[A]), "2 to 254 classes"),
    ],
)
def test_wrong_own_scheme(tmp_path: Path, data: object, why: str) -> None:
    with pytest.raises(DatasetError, match=why):
        own(tmp_path, data)


def test_own_scheme_that_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "scheme.json"
    path.write_bytes(b"\xff{")
    with pytest.raises(DatasetError, match=r"scheme\.json: not a label scheme"):
        get_scheme(str(path))


def test_unknown_scheme_is_a_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown classes 'raod': choose one of road, cityscapes19"):
        get_scheme("raod")
    with pytest.raises(ConfigError):
        get_scheme(str(tmp_path))


@pytest.mark.parametrize("name", list(SCHEMES))
def test_schemes_survive_json_and_pickle(name: str) -> None:
    scheme = get_scheme(name)
    again = LabelScheme.from_dict(json.loads(json.dumps(scheme.to_dict())))
    assert again == scheme
    assert pickle.loads(pickle.dumps(scheme)) == scheme
    assert hash(again) == hash(scheme)


def test_own_scheme_survives_json(tmp_path: Path) -> None:
    scheme = own(tmp_path, OWN)
    assert LabelScheme.from_dict(json.loads(json.dumps(scheme.to_dict()))) == scheme


@pytest.mark.parametrize(
    "change",
    [{"classes": None}, {"colors": [[0, 0, 0]]}, {"rest": 2}, {"members": {"x": -1}}, {"values": [[7]]}],
)
def test_damaged_scheme_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DatasetError):
        LabelScheme.from_dict({**SCHEMES["road"].to_dict(), **change})


# ---------------------------------------------------------------- official ids, colour lists


def test_official_ids_of_each_class() -> None:
    by_train_id = {row.trainId: row.id for row in official.labels if not row.ignoreInEval}
    assert label_ids(SCHEMES["cityscapes19"]).tolist() == [by_train_id[i] for i in range(19)]
    assert label_ids(SCHEMES["road"]).tolist() == label_ids(SCHEMES["drivable"]).tolist() == [0, 7]
    categories = [official.id2label[i].category for i in label_ids(SCHEMES["cityscapes-category7"])]
    assert categories == list(SCHEMES["cityscapes-category7"].classes)
    assert label_ids(SCHEMES["road"]).dtype == np.uint8


def test_no_official_ids_for_other_classes(tmp_path: Path) -> None:
    for scheme in (SCHEMES["idd7"], own(tmp_path, changed(name="road"))):
        with pytest.raises(ConfigError, match="no official Cityscapes labelIds"):
            label_ids(scheme)


def test_label_colors_file(tmp_path: Path) -> None:
    path = tmp_path / "label_colors.txt"
    path.write_text("64 128 64\tAnimal\r\n128 64 128\t\tRoad\n0 0 0 Void\n\n", encoding="utf-8")
    encoding = read_label_colors(path, ENCODINGS["camvid32"])
    assert encoding.values == {(64, 128, 64): "Animal", (128, 64, 128): "Road", (0, 0, 0): "Void"}
    assert SCHEMES["road"].table(encoding) == {(64, 128, 64): 0, (128, 64, 128): 1, (0, 0, 0): 255}


@pytest.mark.parametrize("text", ["", "1 2 Road", "1 2 x Road", "1 2 300 Road", "-1 2 3 Road"])
def test_wrong_label_colors_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "label_colors.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=r"label_colors\.txt: "):
        read_label_colors(path, ENCODINGS["camvid32"])
