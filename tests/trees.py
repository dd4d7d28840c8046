"""Tiny data sets on disk, each in the true folders and file names of the set that it stands for.

Every picture is 4 high and 6 wide. The upper half of a label is `top`, the lower half `bottom`, in the raw
values of the data set, so a test knows each pixel.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from roadseg.labels import RGB, RawValue, UInt8Array

HEIGHT, WIDTH = 4, 6
Cities = Mapping[str, Mapping[str, int]]  # split -> city -> number of pictures


def label_array(top: RawValue, bottom: RawValue) -> UInt8Array:
    """HW uint8, or HW3 for colours."""
    rows = [top] * (HEIGHT // 2) + [bottom] * (HEIGHT // 2)
    return np.array([[value] * WIDTH for value in rows], np.uint8)


def write_label(path: Path, top: RawValue, bottom: RawValue) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(label_array(top, bottom)).save(path)
    return path


def write_photo(path: Path, seed: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """A picture of noise, so that no two are alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def make_cityscapes(root: Path, cities: Cities, ids: str = "labelIds", kind: str = "gtFine") -> Path:
    """Sky above road. The files that come with the real labels are there too."""
    sky, road = (23, 7) if ids == "labelIds" else (10, 0)
    for split, numbers in cities.items():
        for city, count in numbers.items():
            for number in range(count):
                name = f"{split}/{city}/{city}_{number:06}_000019"
                write_photo(root / f"leftImg8bit/{name}_leftImg8bit.png", number)
                write_label(root / f"{kind}/{name}_{kind}_{ids}.png", sky, road)
                write_label(root / f"{kind}/{name}_{kind}_color.png", (70, 130, 180), (128, 64, 128))
                write_label(root / f"{kind}/{name}_{kind}_instanceIds.png", sky, road)
                (root / f"{kind}/{name}_{kind}_polygons.json").write_text("{}")
    return root


def make_idd(root: Path, suffix: str = "jpg") -> Path:
    """Sky above drivable; `_inst_label.png` beside every label, as in the official archive."""
    for name in ("train/0/024541", "train/0/092468", "train/472/frame34862", "val/63/660653"):
        write_photo(root / f"leftImg8bit/{name}_image.{suffix}")
        write_label(root / f"gtFine/{name}_label.png", 6, 0)
        write_label(root / f"gtFine/{name}_inst_label.png", 6, 0)
    write_photo(root / f"leftImg8bit/test/12/001122_image.{suffix}")
    return root


def make_camvid_segnet(root: Path) -> Path:
    """Sky above road, as class indices."""
    names = {"train": "0006R0_f00930", "val": "0016E5_07959", "test": "Seq05VD_f00000"}
    for split, name in names.items():
        write_photo(root / f"{split}/{name}.png")
        write_label(root / f"{split}annot/{name}.png", 0, 3)
    return root


CAMVID_NAMES = (
    "0001TP_006690", "0001TP_006720", "0006R0_f00930", "0016E5_00390", "0016E5_00420", "Seq05VD_f00000",
)  # fmt: skip


def make_camvid_full(root: Path, top: RGB = (128, 128, 128), bottom: RGB = (128, 0, 192)) -> Path:
    """Sky above a lane marking, as colours."""
    for name in CAMVID_NAMES:
        write_photo(root / f"701_StillsRaw_full/{name}.png")
        write_label(root / f"LabeledApproved_full/{name}_L.png", top, bottom)
    return root


def make_kitti(root: Path) -> Path:
    """Black above magenta; beside the road labels of `um` those of its own lane."""
    for group in ("um", "umm", "uu"):
        for number in range(3):
            write_photo(root / f"training/image_2/{group}_{number:06}.png", number)
            write_label(root / f"training/gt_image_2/{group}_road_{number:06}.png", (0, 0, 0), (255, 0, 255))
            write_photo(root / f"testing/image_2/{group}_{number:06}.png", number)
    for number in range(3):
        write_label(root / f"training/gt_image_2/um_lane_{number:06}.png", (255, 0, 0), (255, 0, 0))
    return root


def make_bdd100k(root: Path, colors: bool = False) -> Path:
    """Background above the drivable lane; a lane of others in val. As indices and colours, or these alone."""
    own, others = (0, (219, 94, 86)), (1, (86, 211, 219))
    for name, (lane, color) in (("train/0000f77c-6257be58", own), ("val/b1c66a42-6f7d68ca", others)):
        write_photo(root / f"images/100k/{name}.jpg")
        if not colors:
            write_label(root / f"labels/drivable/masks/{name}.png", 2, lane)
        write_label(root / f"labels/drivable/colormaps/{name}.png", (0, 0, 0), color)
    write_photo(root / "images/100k/test/cabc30fc-e7726578.jpg")
    return root


COMMA_NAMES = (
    "0000_0085e9e41513078a_2018-08-19--13-26-08_11_864",
    "0042_4ea7f6e00a335885_2018-06-26--14-57_3_79",
)


def make_comma10k(root: Path) -> Path:
    """Undrivable above road."""
    for name in COMMA_NAMES:
        write_photo(root / f"imgs/{name}.png")
        write_label(root / f"masks/{name}.png", (128, 128, 96), (64, 32, 32))
    return root


def make_folder(
    root: Path,
    names: tuple[str, ...],
    order: str = "{kind}/{name}",
    *,
    suffix: str = "jpg",
    top: int = 0,
    bottom: int = 255,
) -> Path:
    """Images and masks; `order` is where they go, such as "{split}/{kind}/{name}" for names "split/name"."""
    for name in names:
        split, _, rest = name.partition("/")
        fields = {"split": split, "name": rest} if "{split}" in order else {"name": name}
        write_photo(root / (order.format(kind="images", **fields) + f".{suffix}"))
        write_label(root / (order.format(kind="masks", **fields) + ".png"), top, bottom)
    return root
