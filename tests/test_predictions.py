"""`eval --predictions`: masks of any tool: which is whose, what their values mean, and what is missing."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_cityscapes, real_data, tiny_checkpoint
from PIL import Image
from test_cli_train_eval import make_sequences, run
from test_unet import lively

from roadseg.dataset.samples import Sample, find_samples
from roadseg.engine.predictions import find_format, formats, get_format, match_predictions, strays
from roadseg.errors import ConfigError, DatasetError
from roadseg.labels import ENCODINGS, get_scheme
from roadseg.model.checkpoint import save_checkpoint

ROAD, CITY19 = get_scheme("road"), get_scheme("cityscapes19")
VOID = 255


def save(path: Path, pixels: Any, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.array(pixels, np.uint8))
    (image.convert(mode) if mode else image).save(path)
    return path


def sample(key: str, image: str, label: str) -> Sample:
    return Sample(Path(image), Path(label), ENCODINGS["road-mask"], "val", "", key)


def scores_of(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    return report


# --- what the values mean


@pytest.mark.parametrize(
    ("values", "scheme", "expected"),
    [
        ([0, 255], "road", "road-mask"),
        ([7, 8, 21, 23, 26], "road", "cityscapes-labelIds"),
        ([7, 8, 21, 23, 26], "cityscapes19", "cityscapes-labelIds"),
        ([[0, 0, 0], [128, 64, 128]], "road", "color"),
        ([[70, 130, 180], [128, 64, 128], [0, 0, 142]], "cityscapes19", "color"),
        ([[70, 130, 180], [128, 64, 128], [0, 0, 142]], "road", "cityscapes-color"),
        ([[255, 0, 0], [255, 0, 255]], "road", "kitti-road"),
    ],
)
def test_values_that_mean_one_thing_only(
    tmp_path: Path, values: list[Any], scheme: str, expected: str
) -> None:
    path = save(tmp_path / "a.png", [values])
    assert find_format([path], get_scheme(scheme)).name == expected


@pytest.mark.parametrize(
    ("values", "scheme", "named"),
    [
        ([0, 7], "road", ["cityscapes-labelIds", "cityscapes-labelTrainIds"]),  # 7 is road, or a sign
        ([0, 1], "road", ["index", "cityscapes-labelTrainIds", "idd-lite"]),  # 0 may be road, or be none
        ([0, 2, 8, 10, 13], "cityscapes19", ["index", "cityscapes-labelIds"]),  # train ids, or label ids
        ([0], "road", ["nothing makes classes 'road'"]),  # all background, all road, or all void
        ([0, 77], "road", ["nothing makes classes 'road'"]),
        ([0, 128], "cityscapes19", ["nothing makes classes 'cityscapes19'"]),
        ([[9, 9, 8], [0, 0, 0]], "road", ["nothing makes classes 'road'"]),
    ],
)
def test_values_that_may_mean_several_things_are_asked_for(
    tmp_path: Path, values: list[Any], scheme: str, named: list[str]
) -> None:
    path = save(tmp_path / "a.png", [values])
    with pytest.raises(DatasetError, match=r"what its values mean.*--prediction-format") as error:
        find_format([path], get_scheme(scheme))
    for name in named:
        assert name in str(error.value)


def test_one_odd_value_does_not_decide_for_all_files(tmp_path: Path) -> None:
    """0 and 255 are a road mask; a stray 17 in one file makes trainIds fit, in which 255 is void."""
    paths = [save(tmp_path / f"{i}.png", [[0, 255, 0]]) for i in range(3)]
    paths.append(save(tmp_path / "odd.png", [[0, 255, 17]]))
    with pytest.raises(DatasetError, match="cannot be told"):
        find_format(paths, ROAD)


def test_all_files_together_tell_the_format(tmp_path: Path) -> None:
    """Of each of them alone nobody could say."""
    paths = [save(tmp_path / "a.png", [[0, 0]]), save(tmp_path / "b.png", [[255, 255]])]
    assert find_format(paths, ROAD).name == "road-mask"
    (tmp_path / "c.png").write_bytes(b"no picture")  # is told of when it is scored
    assert find_format([*paths, tmp_path / "c.png"], ROAD).name == "road-mask"


@pytest.mark.parametrize(
    ("name", "scheme", "pixels", "expected"),
    [
        ("road-mask", ROAD, [0, 255], [0, 1]),
        ("index", ROAD, [0, 1, 255], [0, 1, VOID]),
        ("road-index", ROAD, [0, 1, 255], [0, 1, VOID]),
        # parking, and what is left open, is no road
        ("cityscapes-labelIds", ROAD, [0, 7, 9, 26], [0, 1, 0, 0]),
        ("cityscapes-labelTrainIds", ROAD, [0, 1, 255], [1, 0, VOID]),
        ("cityscapes-labelIds", CITY19, [0, 7, 9, 26], [VOID, 0, VOID, 13]),
        ("cityscapes-labelTrainIds", CITY19, [0, 18, 255], [0, 18, VOID]),
        ("index", CITY19, [0, 18, 255], [0, 18, VOID]),
        ("color", ROAD, [[0, 0, 0], [128, 64, 128]], [0, 1]),
        ("color", CITY19, [[0, 0, 0], [128, 64, 128]], [VOID, 0]),
        ("cityscapes-color", CITY19, [[250, 170, 160], [128, 64, 128]], [VOID, 0]),
        ("cityscapes-color", ROAD, [[250, 170, 160], [128, 64, 128]], [0, 1]),
    ],
)
def test_declared_formats(
    tmp_path: Path, name: str, scheme: Any, pixels: list[Any], expected: list[int]
) -> None:
    path = save(tmp_path / "a.png", [pixels])
    assert get_format(name, scheme).read(path, (1, len(pixels))).tolist() == [expected]


def test_palettes_are_read_as_indices_and_one_bit_as_the_format_wants(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 18]], np.uint8))
    image.putpalette([part for color in CITY19.colors for part in color] + [0] * 3 * (256 - 19))
    image.save(tmp_path / "p.png")
    assert get_format("index", CITY19).read(tmp_path / "p.png", (1, 3)).tolist() == [[0, 1, 18]]
    save(tmp_path / "b.png", [[0, 255]], "1")
    for name in ("road-mask", "index"):
        assert get_format(name, ROAD).read(tmp_path / "b.png", (1, 2)).tolist() == [[0, 1]]
    assert find_format([tmp_path / "b.png"], ROAD).name == "road-mask"


def test_a_format_that_cannot_hold_the_classes_is_no_choice() -> None:
    assert "road-mask" not in formats(CITY19)
    with pytest.raises(ConfigError, match=r"'road-mask', but for the classes 'cityscapes19'.*index, color"):
        get_format("road-mask", CITY19)


# --- which file is whose


@pytest.mark.parametrize(
    "name",
    [
        "ulm_000001_000019.png",
        "ulm_000001_000019_leftImg8bit.png",
        "ulm_000001_000019_gtFine_labelIds.png",
        "deep/er/ulm/ulm_000001_000019_anything.PNG",
    ],
)
def test_cityscapes_names(tmp_path: Path, name: str) -> None:
    key = "ulm/ulm_000001_000019"
    mine = sample(key, f"{key}_leftImg8bit.png", f"{key}_gtFine_labelIds.png")
    other = sample("ulm/ulm_000002_000019", "b.png", "b.png")
    path = save(tmp_path / name, [[0]])
    save(tmp_path / "ulm_000001_0000190.png", [[0]])  # another frame
    save(tmp_path / "ulm_000001_000019.jpg", [[0]])  # an overlay
    assert match_predictions(tmp_path, [mine, other]) == {key: path}


@pytest.mark.parametrize(
    "name", ["7.png", "x/7_labelIds.png", "seq/7_image.png", "7_image.jpg.png", "gt/7_label.png"]
)
def test_names_of_other_data_sets(tmp_path: Path, name: str) -> None:
    mine = sample("seq/7", "seq/7_image.jpg", "seq/7_label.png")
    path = save(tmp_path / name, [[0]])
    save(tmp_path / "17.png", [[0]])
    assert match_predictions(tmp_path, [mine]) == {"seq/7": path}


def test_folders_tell_pictures_of_one_name_apart(tmp_path: Path) -> None:
    samples = [sample(f"{seq}/1", f"{seq}/1.jpg", f"{seq}/1.png") for seq in ("a", "b")]
    paths = [save(tmp_path / "out" / seq / "1.png", [[0]]) for seq in ("a", "b")]
    assert match_predictions(tmp_path, samples) == {"a/1": paths[0], "b/1": paths[1]}
    save(tmp_path / "other/1.png", [[0]])  # nobody's
    assert match_predictions(tmp_path, samples) == {"a/1": paths[0], "b/1": paths[1]}


def test_a_picture_in_no_folder_beside_one_of_its_name_in_a_folder(tmp_path: Path) -> None:
    samples = [sample(key, f"{key}.jpg", f"{key}.png") for key in ("1", "a/1")]
    paths = [save(tmp_path / name, [[0]]) for name in ("1.png", "a/1.png")]
    assert match_predictions(tmp_path, samples) == {"1": paths[0], "a/1": paths[1]}
    paths[0].unlink()
    assert match_predictions(tmp_path, samples) == {"a/1": paths[1]}


def test_two_predictions_for_one_picture_are_both_named(tmp_path: Path) -> None:
    for name in ("one/7.png", "two/7_labelIds.png"):
        save(tmp_path / name, [[0]])
    with pytest.raises(DatasetError, match=r"two/7_labelIds\.png: and .*one/7\.png are both") as error:
        match_predictions(tmp_path, [sample("seq/7", "7.jpg", "7.png")])
    assert "seq/7" in str(error.value)


# --- the whole way


@pytest.fixture
def lively_weights(tmp_path: Path) -> Path:
    """An untrained network that claims some road, and some not."""
    checkpoint = tiny_checkpoint()
    lively(checkpoint.model)
    save_checkpoint(checkpoint, tmp_path / "lively.pt")
    return tmp_path / "lively.pt"


RAW = ("counts", "scores", "per_image", "confidence", "boundary", "images")


@pytest.mark.parametrize("scheme", ["road", "cityscapes19", "cityscapes-category7"])
def test_saved_predictions_have_exactly_the_scores_of_the_weights(tmp_path: Path, scheme: str) -> None:
    data = make_cityscapes(tmp_path / "data", train=1, val=3)
    checkpoint = tiny_checkpoint(scheme)
    lively(checkpoint.model)
    save_checkpoint(checkpoint, tmp_path / "w.pt")
    out = ("--device", "cpu", "--save-predictions", tmp_path / "p", "-q")
    done = run("eval", "--data", data, "-w", tmp_path / "w.pt", "--out", tmp_path / "e1", *out)
    assert done.exit_code == 0, done.output
    again = run(
        "eval", "--data", data, "--predictions", tmp_path / "p", "--out", tmp_path / "e2",
        "--classes", scheme, "--prediction-format", "cityscapes-labelIds",
    )  # fmt: skip
    assert again.exit_code == 0, again.output
    first, second = scores_of(tmp_path / "e1"), scores_of(tmp_path / "e2")
    assert [first[part] for part in RAW] == [second[part] for part in RAW]
    assert first["scores"]["mean_iou"] > 0
    assert second["settings"]["prediction_format"] == "cityscapes-labelIds"
    assert (tmp_path / "e1/per_image.csv").read_text() == (tmp_path / "e2/per_image.csv").read_text()


def test_masks_of_segment_have_the_scores_of_the_weights(lively_weights: Path, tmp_path: Path) -> None:
    """Probabilities beside the masks do not get in the way; the format is found, and told."""
    data = make_cityscapes(tmp_path / "data", train=1, val=3)
    weights = ("-w", lively_weights, "--device", "cpu", "-q")
    assert run("eval", "--data", data, "--out", tmp_path / "e1", *weights).exit_code == 0
    images = data / "leftImg8bit/val"
    masks = run("segment", images, "--out", tmp_path / "m", "--save-probs", *weights)
    assert masks.exit_code == 0, masks.output
    again = run("eval", "--data", data, "--predictions", tmp_path / "m", "--out", tmp_path / "e2")
    assert again.exit_code == 0, again.output
    assert "read as road-mask" in again.stderr
    first, second = scores_of(tmp_path / "e1"), scores_of(tmp_path / "e2")
    assert [first[part] for part in RAW] == [second[part] for part in RAW]
    assert first["road"]["scores"]["road_pixels"] > 0
    assert second["road"] is None  # a mask has no probabilities


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    """A data set without a val, of which some sequences are held out."""
    return make_sequences(tmp_path / "data")


def perfect(data: Path, out: Path) -> list[Sample]:
    """Predictions that are the labels."""
    samples = find_samples(data, "val")
    for one in samples:
        (out / one.key).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(one.label, out / f"{one.key}.png")
    return samples


def score(data: Path, tmp_path: Path, *more: object) -> Any:
    return run("eval", "--data", data, "--predictions", tmp_path / "p", "--out", tmp_path / "e", *more)


def test_perfect_predictions_are_perfect(sequences: Path, tmp_path: Path) -> None:
    perfect(sequences, tmp_path / "p")
    result = score(sequences, tmp_path)
    assert result.exit_code == 0, result.output
    report = scores_of(tmp_path / "e")
    assert report["scores"]["per_class"]["road"]["iou"] == 1
    assert report["boundary"]["scores"]["per_class"]["road"]["iou"] == 1
    assert report["missing"] == report["failed"] == []


def test_a_missing_prediction_is_a_miss_and_is_named(sequences: Path, tmp_path: Path) -> None:
    samples = perfect(sequences, tmp_path / "p")
    lost = samples[1]
    (tmp_path / "p" / f"{lost.key}.png").unlink()
    result = score(sequences, tmp_path, "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["evaluations"][0]["missing"] == [lost.key]
    report = scores_of(tmp_path / "e")
    assert report["missing"] == [lost.key]
    label = np.array(Image.open(lost.label))
    road = np.count_nonzero(label)
    assert report["images"][1]["counts"] == [[0, 0, label.size - road], [0, 0, road]]
    assert report["scores"]["per_class"]["road"]["iou"] == report["scores"]["per_class"]["road"]["recall"] < 1
    shown = score(sequences, tmp_path, "--overwrite")
    assert shown.exit_code == 3
    assert "1 picture counted as missed:" in shown.stdout
    assert f"{lost.key}: no prediction" in shown.stdout
    assert "no prediction" in (tmp_path / "e/per_image.csv").read_text()


def bad(kind: str, path: Path) -> None:
    pixels = np.array(Image.open(path))
    if kind == "damaged":
        path.write_bytes(path.read_bytes()[:50])
    else:
        save(path, pixels[:-1] if kind == "size" else np.where(pixels, 254, 0))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("size", "is 96x47, but the label is 96x48"),
        ("values", "holds 254, which road-mask does not know"),
        ("damaged", "cannot be read"),
    ],
)
def test_a_bad_prediction_is_a_miss_and_all_bad_ones_are_an_error(
    sequences: Path, tmp_path: Path, kind: str, message: str
) -> None:
    samples = perfect(sequences, tmp_path / "p")
    paths = [tmp_path / "p" / f"{one.key}.png" for one in samples]
    bad(kind, paths[0])
    result = score(sequences, tmp_path, "--prediction-format", "road-mask")
    assert result.exit_code == 3
    assert f"{samples[0].key}: {paths[0]}: " in result.stdout
    assert message in result.stdout
    (failure,) = scores_of(tmp_path / "e")["failed"]
    assert failure["key"] == samples[0].key
    assert message in failure["error"]
    for path in paths[1:]:
        bad(kind, path)
    shutil.rmtree(tmp_path / "e")
    result = score(sequences, tmp_path, "--prediction-format", "road-mask")
    assert result.exit_code == 1
    assert "no prediction can be used" in result.stderr
    assert message in result.stderr
    assert not (tmp_path / "e").exists()


def test_a_declared_format_that_makes_one_class_of_several_values_writes_nothing(
    sequences: Path, tmp_path: Path
) -> None:
    samples = find_samples(sequences, "val")
    for each in samples:
        save(tmp_path / "masks" / f"{Path(each.key).name}.png", [[0] * 48 + [255] * 48] * 48)
    command = ("eval", "--data", sequences, "--predictions", tmp_path / "masks", "--out", tmp_path / "out")
    result = run(*command, "--prediction-format", "index")
    assert result.exit_code == 1
    assert "one class only when they are read as index" in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()


def test_predictions_of_16_bits_are_refused_with_what_to_do(sequences: Path, tmp_path: Path) -> None:
    for one in perfect(sequences, tmp_path / "p"):
        path = tmp_path / "p" / f"{one.key}.png"
        deep = np.array(Image.open(path)).astype(np.uint16) * 257  # 0 and 65535
        Image.fromarray(deep).save(path)
    for given in ((), ("--prediction-format", "road-mask")):
        result = score(sequences, tmp_path, *given)
        assert result.exit_code == 1
        assert "has values up to 65535 where 8-bit class numbers belong; save it as an 8-bit" in result.stderr
        assert not (tmp_path / "e").exists()


def test_a_file_of_another_format_than_the_declared_one_is_told_of(sequences: Path, tmp_path: Path) -> None:
    samples = perfect(sequences, tmp_path / "p")
    for one in samples[:-1]:
        path = tmp_path / "p" / f"{one.key}.png"
        save(path, np.array(Image.open(path)) // 255)  # as indices; the last one stays 0/255
    result = score(sequences, tmp_path, "--prediction-format", "index")
    assert "read as index, much of 1 prediction is of no class" in result.stderr
    assert Path(samples[-1].key).name in result.stderr


def test_files_of_no_picture_are_named(tmp_path: Path) -> None:
    samples = [sample("a", "images/a.png", "masks/a.png")]
    for name in ("a", "lost"):
        save(tmp_path / f"{name}.png", [[0, 255]])
    assert [path.name for path in strays(tmp_path, match_predictions(tmp_path, samples))] == ["lost.png"]


def test_predictions_for_other_pictures_write_nothing(sequences: Path, tmp_path: Path) -> None:
    save(tmp_path / "p/berlin_000000_000019.png", [[0, 255]])
    result = score(sequences, tmp_path)
    assert result.exit_code == 1
    assert "no prediction for any of the" in result.stderr
    assert "it has berlin_000000_000019.png, looked for" in result.stderr
    (tmp_path / "p/berlin_000000_000019.png").unlink()
    assert "it has no PNG" in score(sequences, tmp_path).stderr
    (tmp_path / "p").rmdir()
    assert "no such folder of predictions" in score(sequences, tmp_path).stderr
    assert not (tmp_path / "e").exists()


def test_an_ambiguous_format_writes_nothing(sequences: Path, tmp_path: Path) -> None:
    for one in perfect(sequences, tmp_path / "p"):
        path = tmp_path / "p" / f"{one.key}.png"
        save(path, np.array(Image.open(path)) // 255)
    result = score(sequences, tmp_path)
    assert result.exit_code == 1
    assert "say it with --prediction-format" in result.stderr
    assert not (tmp_path / "e").exists()
    assert score(sequences, tmp_path, "--prediction-format", "index").exit_code == 0
    assert scores_of(tmp_path / "e")["scores"]["per_class"]["road"]["iou"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--predictions", "{p}", "--weights", "x.pt", "--imgsz", "64"), "leave out --weights, --imgsz"),
        (("--predictions", "{p}", "--save-predictions", "s"), "leave out --save-predictions"),
        (("--predictions", "{p}", "--prediction-format", "jpeg"), "must be one of: index, color"),
        (("--predictions", "{p}", "--classes", "moon"), "unknown classes 'moon'"),
        (("--predictions", "{p}", "--workers", "-1"), "workers is -1"),
        (("--prediction-format", "index"), "belongs to --predictions: leave out --prediction-format"),
    ],
)
def test_options_that_do_not_go_together(
    sequences: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    perfect(sequences, tmp_path / "p")
    result = run("eval", "--data", sequences, *(a.format(p=tmp_path / "p") for a in arguments))
    assert result.exit_code == 2
    assert message in result.stderr


def test_own_classes_and_several_data_sets(tmp_path: Path) -> None:
    """Classes of a JSON file, whose values predictions may have as well; each set has its sub-folder."""
    roots = [make_cityscapes(tmp_path / name, train=1, val=1) for name in ("one", "two")]
    entries = [{"name": n, "color": [9, 9, 9], "values": v} for n, v in (("rest", [22, 23]), ("road", [7]))]
    (tmp_path / "mine.json").write_text(json.dumps({"classes": entries, "void": [0]}))
    for root in roots:
        shutil.copytree(root / "gtFine/val", tmp_path / "p" / root.name)
    both = [part for root in roots for part in ("--data", root)]
    result = run(
        "eval", *both, "--predictions", tmp_path / "p", "--out", tmp_path / "e",
        "--classes", tmp_path / "mine.json", "--prediction-format", "values", "--no-boundary",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    for name in ("one", "two"):
        report = scores_of(tmp_path / "e" / name)
        assert report["scores"]["mean_iou"] == 1
        assert report["boundary"] is None
        assert report["settings"]["predictions"] == str(tmp_path / "p" / name)


@pytest.mark.realdata
def test_labels_of_the_real_val_score_one_as_predictions() -> None:
    root = real_data() / "idd20k_lite"
    samples = find_samples(root, "val")
    assert len(match_predictions(root / "gtFine" / "val", samples)) == len(samples)
