"""download-check: complete, incomplete, still packed, mislabelled, damaged and empty folders."""

import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trees
from PIL import Image

from roadseg.dataset import check as check_module
from roadseg.dataset.check import DatasetCheck, Problem, check_dataset
from roadseg.dataset.layouts import get_layout
from roadseg.dataset.samples import find_samples
from roadseg.errors import ConfigError, DatasetError
from roadseg.labels import SCHEMES

SMALL = {"train": {"aachen": 3}, "val": {"munster": 2}}


def problem(check: DatasetCheck, kind: str) -> Problem:
    (found,) = (problem for problem in check.problems if problem.kind == kind)
    return found


def kinds(check: DatasetCheck, level: str = "error") -> list[str]:
    return [problem.kind for problem in check.problems if problem.level == level]


def names(problem: Problem) -> list[str]:
    return [note.path.name for note in problem.files]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound plain folder."""
    root = tmp_path / "set"
    return trees.make_folder(root, ("train/1", "train/2", "train/3", "val/4"), "{kind}/{split}/{name}")


# ---------------------------------------------------------------- complete and incomplete


def write_official_cityscapes(root: Path) -> None:
    """All 5000 pairs, as links to two files."""
    photo = trees.write_photo(root / "photo.png")
    label = trees.write_label(root / "label.png", 23, 7)
    official = get_layout("cityscapes").forms[0].official
    for split, cities in official.items():
        assert not isinstance(cities, int)
        for city, count in cities.items():
            for kind in ("leftImg8bit", "gtFine"):
                (root / kind / split / city).mkdir(parents=True)
            for number in range(count):
                stem = f"{split}/{city}/{city}_{number:06}_000019"
                os.link(photo, root / f"leftImg8bit/{stem}_leftImg8bit.png")
                os.link(label, root / f"gtFine/{stem}_gtFine_labelIds.png")


def test_complete_cityscapes(tmp_path: Path) -> None:
    write_official_cityscapes(tmp_path)
    check = check_dataset(tmp_path)
    assert check.problems == []
    assert check.exit_code == 0
    assert {count.split: (count.pairs, count.official) for count in check.splits} == {
        "train": (2975, 2975), "val": (500, 500), "test": (1525, 1525),
    }  # fmt: skip
    ulm = check.splits[0].groups["ulm"]
    assert (ulm.images, ulm.pairs, ulm.official) == (95, 95, 95)
    assert check.formats == {"cityscapes-labelIds": 5000}
    assert (check.headers_read, check.labels_decoded) == (5000, 50)


def test_incomplete_cityscapes(tmp_path: Path) -> None:
    trees.make_cityscapes(tmp_path, {**SMALL, "val": {"ulm": 2}})
    check = check_dataset(tmp_path)
    assert check.exit_code == 3
    assert kinds(check, "error") == []
    messages = [p.message for p in check.problems if p.kind == "incomplete"]
    assert messages[0].startswith(
        "train: of the official 2975 pairs, 2972 are missing (aachen 171, bochum 96, "
    )
    assert messages[1] == (
        "val: of the official 500 pairs, 500 are missing (frankfurt 267, lindau 59, munster 174)"
    )
    assert "test: of the official 1525 pairs, 1525 are missing" in messages[2]
    assert "their labels are not public" in messages[2]
    assert problem(check, "unofficial-groups").message == "val: ulm officially do not belong to it"
    assert "cityscapes-dataset.com" in check.how_to_get
    assert "csDownload" in check.how_to_get


def test_images_of_secret_labels_count_without_them(tmp_path: Path) -> None:
    trees.make_kitti(tmp_path)
    check = check_dataset(tmp_path)
    assert kinds(check) == []
    test = next(count for count in check.splits if count.split == "test")
    assert (test.images, test.pairs, test.official) == (9, 0, 290)
    messages = [p.message for p in check.problems if p.kind == "incomplete"]
    assert messages[1].startswith("test: of the official 290 pairs, 281 are missing (um 93, umm 91, uu 97)")
    assert "whole groups" in problem(check, "held-out-val").message


@pytest.mark.parametrize(
    ("make", "exit_code"),
    [
        (trees.make_idd, 3),
        (trees.make_comma10k, 0),
        (trees.make_bdd100k, 3),
        (trees.make_camvid_segnet, 3),
        (trees.make_camvid_full, 3),
    ],
)
@pytest.mark.parametrize("deep", [False, True])
def test_other_sound_sets(tmp_path: Path, make: Callable[[Path], Path], exit_code: int, deep: bool) -> None:
    check = check_dataset(make(tmp_path), deep=deep)
    assert check.exit_code == exit_code
    assert set(kinds(check, "warning")) <= {"incomplete"}


@pytest.mark.parametrize("deep", [False, True])
def test_sound_folder(folder: Path, deep: bool) -> None:
    check = check_dataset(folder, deep=deep)
    assert check.problems == []
    assert check.exit_code == 0
    assert check.formats == {"road-mask": 4}
    assert "road-mask" in check.title  # what was decided is said


@pytest.mark.parametrize(("make", "known"), [(trees.make_comma10k, False), (trees.make_idd, True)])
def test_whether_official_counts_are_known(tmp_path: Path, make: Callable[[Path], Path], known: bool) -> None:
    assert check_dataset(make(tmp_path)).has_official_counts == known


def test_folder_without_val(tmp_path: Path) -> None:
    check = check_dataset(trees.make_folder(tmp_path, ("a1", "b1")))
    assert check.exit_code == 0
    assert kinds(check, "note") == ["held-out-val"]


def test_a_folder_of_one_pair_cannot_be_trained_on(tmp_path: Path) -> None:
    check = check_dataset(trees.make_folder(tmp_path, ("a1",)))
    assert check.exit_code == 3
    assert kinds(check, "warning") == ["no-val"]
    with pytest.raises(DatasetError, match="no pairs of image and label for val"):
        find_samples(tmp_path, "val")


@pytest.mark.parametrize(("kept", "kind"), [("train", "no-val"), ("val", "no-train")])
def test_half_of_the_splits(tmp_path: Path, kept: str, kind: str) -> None:
    trees.make_cityscapes(tmp_path, {kept: {"ulm": 1}})
    check = check_dataset(tmp_path)
    assert kind in kinds(check, "warning")
    assert check.exit_code == 3


# ---------------------------------------------------------------- nothing there, or the wrong folder


def test_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "leftImg8bit/train").mkdir(parents=True)
    check = check_dataset(tmp_path)
    assert (check.exit_code, check.layout, kinds(check)) == (1, None, ["empty"])
    assert "cityscapes-dataset.com" in check.how_to_get


def test_missing_folder(tmp_path: Path) -> None:
    check = check_dataset(tmp_path / "nowhere")
    assert (check.exit_code, kinds(check)) == (1, ["no-folder"])


def test_wrong_level(tmp_path: Path) -> None:
    root = trees.make_cityscapes(tmp_path / "data", SMALL)
    for given in (root / "leftImg8bit", tmp_path):
        check = check_dataset(given)
        assert kinds(check) == ["no-data-set"]
        assert f"give the folder {root} instead" in check.problems[0].message


def test_layout_that_is_not_there(tmp_path: Path) -> None:
    trees.make_cityscapes(tmp_path, SMALL)
    check = check_dataset(tmp_path, "idd")
    assert kinds(check) == ["no-data-set"]
    assert "IDD Lite" in check.how_to_get
    with pytest.raises(ConfigError):
        check_dataset(tmp_path, "nonsense")


# ---------------------------------------------------------------- archives


def zip_up(root: Path, name: str) -> Path:
    archive = root / f"{name}.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted((root / name.split("_")[0]).rglob("*")):
            file.write(path, path.relative_to(root))
    return archive


def remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    """Both archives of Cityscapes, beside what they hold."""
    root = trees.make_cityscapes(tmp_path / "my sets", SMALL)
    zip_up(root, "leftImg8bit_trainvaltest")
    zip_up(root, "gtFine_trainvaltest")
    return root


def states(check: DatasetCheck) -> dict[str, str]:
    return {archive.path.name: archive.state for archive in check.archives}


def test_archives_still_packed(zipped: Path) -> None:
    remove(zipped / "leftImg8bit")
    remove(zipped / "gtFine")
    check = check_dataset(zipped)
    assert check.exit_code == 1
    packed = problem(check, "packed-archive")
    assert names(packed) == ["gtFine_trainvaltest.zip", "leftImg8bit_trainvaltest.zip"]
    assert packed.files[0].why == f"unzip -n '{zipped}/gtFine_trainvaltest.zip' -d '{zipped}'"
    assert not (zipped / "gtFine").exists()


def test_one_archive_still_packed(zipped: Path) -> None:
    remove(zipped / "gtFine")
    check = check_dataset(zipped)
    assert states(check) == {
        "gtFine_trainvaltest.zip": "packed",
        "leftImg8bit_trainvaltest.zip": "unpacked",
    }
    assert check.layout == "cityscapes"
    assert kinds(check) == ["no-pairs", "unlabelled"]
    assert len(problem(check, "unlabelled").files) == 5
    assert names(problem(check, "packed-archive")) == ["gtFine_trainvaltest.zip"]


def test_unpacked_archives_are_no_problem(zipped: Path) -> None:
    check = check_dataset(zipped)
    assert set(states(check).values()) == {"unpacked"}
    assert "packed-archive" not in kinds(check, "warning")


def test_broken_archives(zipped: Path) -> None:
    archive = zipped / "gtFine_trainvaltest.zip"
    archive.write_bytes(archive.read_bytes()[:-100])
    (zipped / "gtCoarse.zip.part").write_bytes(b"PK")
    (zipped / "empty.tar.gz").touch()
    (zipped / "other.rar").touch()
    check = check_dataset(zipped)
    broken = {note.path.name: note.why for note in problem(check, "broken-archive").files}
    assert broken == {
        "gtFine_trainvaltest.zip": "damaged",
        "gtCoarse.zip.part": "unfinished",
        "empty.tar.gz": "damaged",
    }
    assert states(check)["other.rar"] == "unknown"


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_tar(tmp_path: Path, suffix: str) -> None:
    root = trees.make_idd(tmp_path / "idd")
    with tarfile.open(root / f"idd-lite.{suffix}", "w:gz" if suffix.endswith("gz") else "w") as file:
        file.add(root / "gtFine", "gtFine")
    assert states(check_dataset(root)) == {f"idd-lite.{suffix}": "unpacked"}
    remove(root / "gtFine")
    packed = problem(check_dataset(root), "packed-archive")
    assert packed.files[0].why == f"tar -xkf {root}/idd-lite.{suffix} -C {root}"


# ---------------------------------------------------------------- pairs


def test_every_image_without_label_is_listed(folder: Path) -> None:
    for number in range(10, 30):
        trees.write_photo(folder / f"images/train/{number}.jpg")
    check = check_dataset(folder)
    assert check.exit_code == 1
    assert names(problem(check, "unlabelled")) == [f"{number}.jpg" for number in range(10, 30)]


def test_labels_without_image(folder: Path) -> None:
    (folder / "images/train/2.jpg").unlink()
    check = check_dataset(folder)
    assert check.exit_code == 3
    assert names(problem(check, "no-image")) == ["2.png"]


def test_two_images_of_one_name(folder: Path) -> None:
    trees.write_photo(folder / "images/train/2.png")
    check = check_dataset(folder)
    assert kinds(check) == ["rivals"]
    assert kinds(check, "warning") == []
    assert problem(check, "rivals").files[0].why == "beside 2.jpg"


def test_pictures_of_other_names(tmp_path: Path) -> None:
    trees.make_cityscapes(tmp_path, SMALL)
    trees.write_photo(tmp_path / "leftImg8bit/train/aachen/mine.png")
    trees.write_photo(tmp_path / "leftImg8bit/demoVideo/x/1.png")  # no split: not ours to judge
    assert names(problem(check_dataset(tmp_path), "stray")) == ["mine.png"]


def test_jpeg_labels(folder: Path) -> None:
    Image.open(folder / "masks/train/2.png").save(folder / "masks/train/2.jpg")
    assert "lossy-label" not in kinds(check_dataset(folder))
    (folder / "masks/train/2.png").unlink()
    check = check_dataset(folder)
    assert kinds(check) == ["unlabelled", "lossy-label"]
    assert names(problem(check, "lossy-label")) == ["2.jpg"]


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("name", ["images/train/2.jpg", "masks/train/2.png"])
@pytest.mark.parametrize("keep", [0, 0.6])
def test_cut_short_files_are_found_without_deep(
    folder: Path, name: str, keep: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_module, "_MAX_DECODED", 0)
    Image.effect_noise((64, 64), 50).save(folder / name)  # larger than its header
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(keep * len(data))])
    check = check_dataset(folder)
    assert check.exit_code == 1
    kind = "undecodable-image" if name.startswith("images") else "undecodable-label"
    assert kinds(check) == [kind]
    assert names(problem(check, kind)) == [Path(name).name]
    assert str(folder) not in problem(check, kind).files[0].why  # the path is given once


def test_damage_in_the_middle_takes_deep(tmp_path: Path) -> None:
    root = trees.make_folder(tmp_path, ("train/1", "val/2"), "{kind}/{split}/{name}", suffix="png")
    path = trees.write_photo(root / "images/train/1.png", size=(64, 64))
    Image.new("L", (64, 64)).save(root / "masks/train/1.png")
    data = bytearray(path.read_bytes())
    data[3000:3100] = bytes(100)
    path.write_bytes(data)
    assert check_dataset(root).exit_code == 0
    check = check_dataset(root, deep=True)
    assert kinds(check) == ["undecodable-image"]
    assert names(problem(check, "undecodable-image")) == ["1.png"]


def test_label_of_another_size(folder: Path) -> None:
    trees.write_photo(folder / "images/train/2.jpg", size=(12, 8))
    for deep in (False, True):
        check = check_dataset(folder, deep=deep)
        assert kinds(check) == ["size"]
        (note,) = problem(check, "size").files
        assert (note.path.name, note.why) == ("2.png", "6x4, but its image is 12x8")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_size_is_that_of_the_upright_image(tmp_path: Path, suffix: str) -> None:
    root = trees.make_folder(tmp_path, ("train/1", "val/2"), "{kind}/{split}/{name}", suffix=suffix)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    for size, expected in (((trees.HEIGHT, trees.WIDTH), []), ((trees.WIDTH, trees.HEIGHT), ["size"])):
        Image.new("RGB", size).save(root / f"images/train/1.{suffix}", exif=exif)
        for deep in (False, True):
            assert kinds(check_dataset(root, deep=deep)) == expected


def test_unknown_values(folder: Path) -> None:
    for name, value in (("train/1", 1), ("train/3", 2)):
        trees.write_label(folder / f"masks/{name}.png", 0, value)
    check = check_dataset(folder)
    assert check.exit_code == 1
    notes = problem(check, "unknown-values").files
    assert [note.path.name for note in notes] == ["1.png", "3.png"]
    assert notes[0].why.startswith("holds 1, which road-mask does not know")
    assert "folder:FORMAT" in problem(check, "unknown-values").todo
    assert kinds(check_dataset(folder, "folder:road-index")) == ["unknown-values"]  # the 2


def test_fast_check_takes_samples_and_deep_takes_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "_MAX_DECODED", 1)
    trees.write_label(folder / "masks/val/4.png", 0, 77)
    assert check_dataset(folder).exit_code == 0
    assert names(problem(check_dataset(folder, deep=True), "unknown-values")) == ["4.png"]


def test_colours_where_ids_belong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "_MAX_DECODED", 0)  # their headers say enough
    trees.make_cityscapes(tmp_path, SMALL)
    for path in tmp_path.glob("gtFine/*/*/*_color.png"):
        path.replace(path.with_name(path.name.replace("_color", "_labelIds")))
    check = check_dataset(tmp_path)
    assert kinds(check) == ["undecodable-label"]
    assert len(problem(check, "undecodable-label").files) == 5
    assert "give the label files that hold ids" in problem(check, "undecodable-label").files[0].why


def test_images_and_labels_swapped(tmp_path: Path) -> None:
    root = trees.make_folder(tmp_path, ("train/1", "val/2"), "{kind}/{split}/{name}", suffix="png")
    (root / "images").rename(root / "x")
    (root / "masks").rename(root / "images")
    (root / "x").rename(root / "masks")
    check = check_dataset(root)
    assert kinds(check) == ["undecodable-label"]
    assert "swapped?" in problem(check, "undecodable-label").files[0].why


def test_classes_that_the_set_cannot_give(tmp_path: Path) -> None:
    root = trees.make_idd(tmp_path)
    trees.write_label(root / "gtFine/val/63/660653_label.png", 0, 200)
    (root / "gtFine/train/0/024541_label.png").write_bytes(b"")
    check = check_dataset(root, scheme=SCHEMES["cityscapes19"], deep=True)
    # the rest is still looked for, except values, which have no meaning now
    assert kinds(check) == ["classes", "undecodable-label"]
    assert "cannot be made from idd-lite labels" in problem(check, "classes").message


def test_several_problems_at_once(folder: Path) -> None:
    (folder / "masks/train/1.png").unlink()
    (folder / "images/train/2.jpg").write_bytes(b"no picture")
    trees.write_label(folder / "masks/train/3.png", 0, 9)
    trees.write_photo(folder / "images/val/4.jpg", size=(2, 2))
    assert kinds(check_dataset(folder)) == ["unlabelled", "undecodable-image", "unknown-values", "size"]


# ---------------------------------------------------------------- the rest


def test_progress_counts_pairs(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    check_dataset(folder, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_json(zipped: Path) -> None:
    (zipped / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png").unlink()
    data = json.loads(json.dumps(check_dataset(zipped).to_dict()))
    assert (data["schema"], data["version"]) == ("roadseg/download-check", 1)
    assert data["exit_code"] == 1
    assert data["root"] == str(zipped)
    assert data["layout"] == "cityscapes"
    train = data["splits"][0]
    assert (train["split"], train["images"], train["pairs"], train["official"]) == ("train", 3, 2, 2975)
    assert train["groups"]["aachen"] == {"images": 3, "pairs": 2, "official": 174}
    (unlabelled,) = (p for p in data["problems"] if p["kind"] == "unlabelled")
    assert unlabelled["level"] == "error"
    assert unlabelled["files"][0]["path"].endswith("aachen_000000_000019_leftImg8bit.png")
    assert {archive["state"] for archive in data["archives"]} == {"packed", "unpacked"}


def test_nothing_is_written(zipped: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in zipped.rglob("*")}
    check_dataset(zipped, deep=True)
    assert {path: path.stat().st_mtime_ns for path in zipped.rglob("*")} == before


@pytest.mark.realdata
@pytest.mark.skipif("ROADSEG_REALDATA" not in os.environ, reason="ROADSEG_REALDATA names no folder")
def test_real_sets() -> None:
    root = Path(os.environ["ROADSEG_REALDATA"])
    check = check_dataset(root / "cityscapes")
    assert check.exit_code == 3
    assert {p.kind for p in check.problems} == {"incomplete", "unofficial-groups"}
    lite = check_dataset(root / "idd20k_lite")
    assert {p.kind for p in lite.problems} == {"incomplete"}


def test_noise_is_no_label(folder: Path) -> None:
    """A photograph, greyed, as label: every value is there, so the fast check sees it at once."""
    noise = np.random.default_rng(0).integers(0, 256, (trees.HEIGHT, trees.WIDTH), np.uint8)
    Image.fromarray(noise).save(folder / "masks/train/1.png")
    assert kinds(check_dataset(folder)) == ["unknown-values"]
