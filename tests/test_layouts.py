"""Layouts: each true naming is found by itself, and a folder that is none gets a useful answer."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trees

from roadseg.dataset.detect import detect_layout
from roadseg.dataset.layouts import LAYOUTS, default_root, get_layout
from roadseg.dataset.templates import find_files, list_files
from roadseg.errors import ConfigError, DatasetError

SMALL = {"train": {"aachen": 1}, "val": {"munster": 1}}

CASES: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "labelIds": ("cityscapes", lambda root: trees.make_cityscapes(root, SMALL)),
    "labelTrainIds": ("cityscapes", lambda root: trees.make_cityscapes(root, SMALL, ids="labelTrainIds")),
    "gtCoarse": ("cityscapes-coarse", lambda root: trees.make_cityscapes(root, SMALL, kind="gtCoarse")),
    "idd": ("idd", trees.make_idd),
    "idd-png": ("idd", lambda root: trees.make_idd(root, suffix="png")),
    "camvid-segnet": ("camvid", trees.make_camvid_segnet),
    "camvid-full": ("camvid", trees.make_camvid_full),
    "kitti-road": ("kitti-road", trees.make_kitti),
    "bdd100k": ("bdd100k", trees.make_bdd100k),
    "bdd100k-colormaps": ("bdd100k", lambda root: trees.make_bdd100k(root, colors=True)),
    "comma10k": ("comma10k", trees.make_comma10k),
    "folder": ("folder", lambda root: trees.make_folder(root, ("a/1", "b/2"))),
    "folder-split-inside": (
        "folder",
        lambda root: trees.make_folder(root, ("train/1", "val/2"), "{kind}/{split}/{name}"),
    ),
    "folder-split-outside": (
        "folder",
        lambda root: trees.make_folder(root, ("train/1", "val/2"), "{split}/{kind}/{name}"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_detection(tmp_path: Path, case: str) -> None:
    name, make = CASES[case]
    assert detect_layout(make(tmp_path / "Straße é 道路")).name == name


def test_fine_labels_win_over_coarse_ones(tmp_path: Path) -> None:
    trees.make_cityscapes(tmp_path, SMALL, kind="gtCoarse")
    trees.make_cityscapes(tmp_path, SMALL)
    assert detect_layout(tmp_path).name == "cityscapes"


@pytest.mark.parametrize("kept", ["leftImg8bit", "gtFine"])
def test_half_of_a_data_set_is_recognised(tmp_path: Path, kept: str) -> None:
    trees.make_cityscapes(tmp_path, SMALL)
    (tmp_path / ("gtFine" if kept == "leftImg8bit" else "leftImg8bit")).rename(tmp_path / "away")
    assert detect_layout(tmp_path).name == "cityscapes"


def test_a_folder_called_train_is_not_camvid(tmp_path: Path) -> None:
    trees.write_photo(tmp_path / "train/a_1.png")
    with pytest.raises(
        DatasetError, match="no known data set here; looked for images as in cityscapes: left"
    ):
        detect_layout(tmp_path)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere: no such folder"):
        detect_layout(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match=r"file: this is a file; give the folder"):
        detect_layout(tmp_path / "file")


@pytest.mark.parametrize("inner", ["leftImg8bit", "gtFine", "leftImg8bit/train", "leftImg8bit/train/aachen"])
def test_a_folder_inside_the_data_set_hints_at_the_right_one(tmp_path: Path, inner: str) -> None:
    root = trees.make_cityscapes(tmp_path / "data", SMALL)
    with pytest.raises(DatasetError, match=r"give the folder .*data instead, which holds Cityscapes"):
        detect_layout(root / inner)


def test_the_folder_above_hints_at_the_right_one(tmp_path: Path) -> None:
    trees.make_idd(tmp_path / "sets/idd20k_lite")
    with pytest.raises(DatasetError, match=r"give the folder .*idd20k_lite instead, which holds IDD Lite"):
        detect_layout(tmp_path / "sets")


def test_archives_unpacked_into_folders_of_their_own(tmp_path: Path) -> None:
    trees.make_cityscapes(tmp_path / "leftImg8bit_trainvaltest", SMALL)
    (tmp_path / "gtFine_trainvaltest").mkdir()
    (tmp_path / "leftImg8bit_trainvaltest/gtFine").rename(tmp_path / "gtFine_trainvaltest/gtFine")
    with pytest.raises(
        DatasetError, match=r"move what is in .*gtFine_trainvaltest and .*leftImg8bit_trainval"
    ):
        detect_layout(tmp_path)


def test_layout_by_name() -> None:
    for layout in LAYOUTS:
        assert get_layout(layout.name) is layout
    assert get_layout("folder:road-index").forms[0].labels[0][1].name == "road-index"
    assert get_layout("folder:cityscapes-labelTrainIds").name == "folder:cityscapes-labelTrainIds"


@pytest.mark.parametrize("name", ["Cityscapes", "folder:", "folder:masks", "idd:road-mask", ""])
def test_unknown_layout_is_a_wrong_use(name: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown data set '{name}': choose one of cityscapes, "):
        get_layout(name)


def test_official_counts() -> None:
    assert get_layout("cityscapes").official_counts == {"train": 2975, "val": 500, "test": 1525}
    assert get_layout("cityscapes-coarse").official_counts["train_extra"] == 19998
    assert get_layout("idd").official_counts == {"train": 1403, "val": 204, "test": 404}
    assert get_layout("kitti-road").official_counts == {"train": 289, "test": 290}
    camvid = get_layout("camvid")
    assert sum(camvid.official_counts.values()) == 701
    (raw,) = camvid.forms[1].official.values()
    assert not isinstance(raw, int)
    assert sum(raw.values()) == 701


def test_default_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CITYSCAPES_DATASET", raising=False)
    assert default_root() is None
    monkeypatch.setenv("CITYSCAPES_DATASET", "/data/cs")
    assert default_root() == Path("/data/cs")
    monkeypatch.setenv("CITYSCAPES_DATASET", "")
    assert default_root() is None


def test_importing_layouts_and_check_needs_no_torch() -> None:
    code = "import sys, roadseg.labels, roadseg.dataset.check; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---------------------------------------------------------------- templates


def keys(root: Path, template: str, **splits: str) -> set[tuple[str, str, str]]:
    return {(match.split, match.group, match.key) for match in find_files(root, template, splits)}


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_fields_of_a_path(tmp_path: Path) -> None:
    touch(tmp_path, "in/a/x_1.png", "in/a/x_1.jpg", "in/a/b/x_2.png", "in/x_3.png", "other/a/x_4.png")
    assert keys(tmp_path, "in/{group}/x_{stem}.png") == {("train", "a", "a/1")}
    touch(tmp_path, "in/tr/um_000001.png", "in/tr/um_road_000001.png")
    assert keys(tmp_path, "in/{split}/{group}_road_{stem}.png", tr="train") == {("train", "um", "um/000001")}


def test_the_group_of_a_path_is_its_folder_or_the_start_of_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "in/seq1/0001.png", "in/day/1/a.png", "in/clip_b_0007_x3.png", "in/0042.png")
    assert keys(tmp_path, "in/{path}.png") == {
        ("train", "seq1", "seq1/0001"),
        ("train", "day/1", "day/1/a"),
        ("train", "clip_b", "clip_b_0007_x3"),
        ("train", "", "0042"),
    }


def test_suffixes_in_any_case(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.JPG", "in/b.Jpeg", "in/c.PNG", "in/d.txt", "in/e.gif")
    assert {key for _, _, key in keys(tmp_path, "in/{path}.{ext}")} == {"a", "b", "c"}


def test_both_forms_of_an_accent_are_one_name(tmp_path: Path) -> None:
    touch(tmp_path, "images/caf\u00e9_1.png", "masks/cafe\u0301_1.png")
    assert keys(tmp_path, "images/{path}.png") == keys(tmp_path, "masks/{path}.png")


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "._a.png", ".DS_Store", ".cache/b.png")
    assert list(list_files(tmp_path)) == ["a.png"]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "set/a/1.png", "elsewhere/2.png")
    (tmp_path / "set/a/loop").symlink_to(tmp_path / "set")
    (tmp_path / "set/self").symlink_to(tmp_path / "set/self")
    (tmp_path / "set/gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "set/b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set/c").symlink_to(tmp_path / "elsewhere")
    assert sorted(list_files(tmp_path / "set")) == ["a/1.png", "b/2.png", "c/2.png"]


def test_a_closed_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "images/closed/1.png")
    listed = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DatasetError, match=r"closed: this folder cannot be listed \(Permission denied\)"):
        list(list_files(tmp_path))


def test_names_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    name = os.fsdecode(b"images/\xff_1.png")
    try:
        touch(tmp_path, name)
    except OSError:
        pytest.skip("this file system takes text only")
    assert list(list_files(tmp_path)) == [name]
