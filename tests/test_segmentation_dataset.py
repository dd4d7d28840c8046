"""The training data set: caches that change nothing, keyed randomness, and the bonnet."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import street, write_png

from roadseg.config import Cache
from roadseg.dataset.augment import crop_sizes, make_augmentation
from roadseg.dataset.samples import find_samples
from roadseg.dataset.segmentation import (
    EpochSampler,
    SegmentationDataset,
    label_own_car,
    own_car_class,
    read_small_pair,
    rest_class,
)
from roadseg.errors import DatasetError, OutputError
from roadseg.labels import SCHEMES, LabelScheme, get_scheme

ROAD = get_scheme("road")


def dataset(root: Path, seed: int = 0) -> SegmentationDataset:
    return SegmentationDataset(
        find_samples(root, "train"), ROAD, 64, [make_augmentation("strong", 64, (32, 64))], seed
    )


@pytest.mark.parametrize("kind", ["ram", "disk"])
def test_a_cache_changes_nothing(cityscapes: Path, tmp_path: Path, kind: Cache) -> None:
    plain, cached = dataset(cityscapes), dataset(cityscapes)
    calls: list[tuple[int, int]] = []
    cached.fill_cache(kind, tmp_path / "cache", lambda done, total: calls.append((done, total)))
    assert calls[-1] == (6, 6)
    for epoch, index in [(1, 0), (1, 5), (2, 0)]:
        for a, b in zip(plain[epoch, 0, index], cached[epoch, 0, index], strict=True):
            assert torch.equal(a, b)


def test_a_disk_cache_is_used_again_until_a_picture_changes(cityscapes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    dataset(cityscapes).fill_cache("disk", folder)
    calls: list[int] = []
    dataset(cityscapes).fill_cache("disk", folder, lambda done, total: calls.append(done))
    assert calls == [], "nothing to decode the second time"
    assert not list(folder.rglob("*.partial"))
    write_png(next(cityscapes.rglob("*aachen*_leftImg8bit.png")), street(77, 48, 96)[0])
    dataset(cityscapes).fill_cache("disk", folder, lambda done, total: calls.append(done))
    assert calls[-1] == 6


@pytest.mark.parametrize("name", ["pixels.bin", "index.json"])
@pytest.mark.parametrize("size", [0, 1000, None, -1])
def test_a_damaged_disk_cache_is_made_again(
    cityscapes: Path, tmp_path: Path, name: str, size: int | None
) -> None:
    folder = tmp_path / "cache"
    dataset(cityscapes).fill_cache("disk", folder)
    (path,) = folder.glob(f"*/{name}")
    whole = path.read_bytes()
    if size is None:
        path.unlink()
    elif size == -1:  # as long as it was, with one bit turned
        path.write_bytes(bytes((*whole[:100], whole[100] ^ 1, *whole[101:])))
    else:
        path.write_bytes(whole[: min(size, len(whole) - 1)])
    again, notes = dataset(cityscapes), []
    again.fill_cache("disk", folder, note=notes.append)
    assert len(notes) == 1
    assert "made again" in notes[0]
    assert path.read_bytes() == whole
    assert torch.equal(again[1, 0, 5][0], dataset(cityscapes)[1, 0, 5][0])


@pytest.mark.parametrize("error", [KeyboardInterrupt, DatasetError])
def test_an_interrupted_disk_cache_leaves_nothing(
    cityscapes: Path, tmp_path: Path, error: type[BaseException]
) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise error

    with pytest.raises(error):
        dataset(cityscapes).fill_cache("disk", tmp_path / "cache", interrupt)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_cannot_be_written_says_what_to_do(cityscapes: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(OutputError, match=r"cannot write the picture cache .*--cache ram"):
        dataset(cityscapes).fill_cache("disk", tmp_path / "cache")


def test_an_item_depends_on_seed_and_key_alone(cityscapes: Path) -> None:
    one, other = dataset(cityscapes), dataset(cityscapes, seed=1)
    before = torch.random.get_rng_state()
    first = one[1, 0, 0][0]
    assert torch.equal(torch.random.get_rng_state(), before), "the global generator is left alone"
    torch.rand(17)
    assert torch.equal(one[1, 0, 0][0], first)
    assert not torch.equal(one[2, 0, 0][0], first)
    assert not torch.equal(other[1, 0, 0][0], first)


def test_an_epoch_has_every_index_once_in_its_own_order() -> None:
    sampler = EpochSampler(50, seed=0)
    orders = []
    for epoch in (1, 2, 1):
        sampler.epoch = epoch
        keys = list(sampler)
        assert {e for e, _, _ in keys} == {epoch}
        orders.append([i for _, _, i in keys])
    assert sorted(orders[0]) == list(range(50))
    assert orders[0] == orders[2] != orders[1]


def test_a_step_has_one_size_of_crop_and_epochs_have_all(cityscapes: Path) -> None:
    crops = crop_sizes("strong", 128)
    assert crops == [(64, 128)] * 3 + [(64, 160), (64, 96), (96, 96)]
    assert crop_sizes("strong", 512) == [(256, 512)] * 3 + [(192, 672), (320, 416), (352, 352)]
    assert crop_sizes("strong", 96) == [(48, 96)]
    assert crop_sizes("light", 512) == crop_sizes("none", 512) == [(256, 512)]
    data = SegmentationDataset(
        find_samples(cityscapes, "train"),
        ROAD,
        128,
        [make_augmentation("strong", 128, crop) for crop in crops],
        seed=0,
    )
    sampler = EpochSampler(len(data), seed=0, step=2)
    seen: list[tuple[int, int]] = []
    for sampler.epoch in range(1, 8):
        shapes: dict[int, set[tuple[int, ...]]] = {}
        for key in sampler:
            shapes.setdefault(key[1], set()).add(tuple(data[key][1].shape))
        assert list(shapes) == [0, 1, 2]
        for only in shapes.values():
            (shape,) = only
            seen.append(shape)
    assert set(seen) == set(crops)


def test_large_pictures_are_kept_smaller_and_labels_stay_labels(tmp_path: Path) -> None:
    rgb_HWC, label_HW = street(0, 400, 800)
    write_png(tmp_path / "leftImg8bit/train/a/a_000000_000000_leftImg8bit.png", rgb_HWC)
    write_png(tmp_path / "gtFine/train/a/a_000000_000000_gtFine_labelIds.png", label_HW)
    small_HWC, small_HW = read_small_pair(find_samples(tmp_path, "train")[0], ROAD, 80)
    assert small_HWC.shape == (40, 80, 3)
    assert small_HW.shape == (40, 80)
    assert set(np.unique(small_HW).tolist()) <= {0, 1, 255}


def test_a_label_of_another_size_is_named(cityscapes: Path) -> None:
    label = next(cityscapes.rglob("aachen_000000*_labelIds.png"))
    write_png(label, np.full((10, 20), 7, np.uint8))
    with pytest.raises(DatasetError, match=r"aachen_000000.*label is 20x10.*96x48"):
        dataset(cityscapes).fill_cache("ram", Path())


def test_the_bonnet_becomes_background_and_other_void_stays() -> None:
    label = np.ones((30, 40), np.uint8)
    label[25:] = 255  # the bonnet ...
    label[22:25, 17:22] = 255  # ... with its star
    label[21:23, 2:5] = 255  # an unsure patch on the road
    label[5:9, 30:] = 255
    out = label_own_car(label, 0)
    assert (out[26:] == 0).all(), "to the sides and the foot of the picture, but not to its edge ..."
    assert (out[23:26, 18:21] == 0).all()
    assert (out[25, :16] == 255).all(), "... which stays void"
    assert (out[22, 17:22] == 255).all()
    assert (out[21:23, 2:5] == 255).all()
    assert (out[5:9, 30:] == 255).all()
    assert (label[25:] == 255).all(), "the input is left alone"


@pytest.mark.parametrize(
    ("scheme", "own_car"),
    [("road", "background"), ("cityscapes19", "car"), ("cityscapes-category7", "vehicle"),
     ("camvid11", "Car"), ("idd7", "vehicles")],
)  # fmt: skip
def test_the_own_car_is_a_car_where_there_are_cars(scheme: str, own_car: str) -> None:
    assert SCHEMES[scheme].classes[own_car_class(SCHEMES[scheme])] == own_car


def test_the_own_car_is_void_in_classes_of_one_s_own() -> None:
    own = LabelScheme("mine", ("car", "road"), ((1, 1, 1), (2, 2, 2)))
    assert own_car_class(own) == 255
    for built_in in ("road", "drivable"):
        scheme = SCHEMES[built_in]
        assert own_car_class(scheme) == 0
        assert own_car_class(replace(scheme, values={0: 0, 7: 1, 1: 255})) == 255


def test_what_is_nothing_else_is_a_class_of_its_own_or_void() -> None:
    assert {name: rest_class(SCHEMES[name]) for name in ("road", "drivable", "cityscapes19", "idd7")} == {
        "road": 0,
        "drivable": 0,
        "cityscapes19": 255,
        "idd7": 255,
    }
    assert rest_class(replace(SCHEMES["road"], values={0: 0, 7: 1, 1: 255})) == 255


def test_void_that_is_no_bonnet_stays() -> None:
    label = np.ones((30, 40), np.uint8)
    label[26:, :10] = 255  # a quarter of the width
    assert np.array_equal(label_own_car(label, 0), label)
