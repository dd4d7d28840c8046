"""Our evaluation against the official one, cityscapesScripts, on the same files of label ids."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official
from PIL import Image

from roadseg.dataset.samples import Sample, find_samples
from roadseg.engine.evaluate import Evaluation, evaluate
from roadseg.engine.evaluation import scores_document
from roadseg.engine.measures import Measures
from roadseg.engine.predictions import get_format, match_predictions, score_predictions
from roadseg.labels import (
    CITYSCAPES_LABELS,
    ENCODINGS,
    VOID,
    LabelScheme,
    UInt8Array,
    decode_label,
    get_scheme,
)
from roadseg.metrics import ConfusionMatrix
from roadseg.metrics.cityscapes import Instance, count_instances, instance_scores

EVALUATED = [label.id for label in CITYSCAPES_LABELS if not label.ignore_in_eval]
# Never drawn, so that classes absent from the truth, from the prediction and from both occur.
NOT_IN_TRUTH, NOT_PREDICTED = (31, 32), (20, 31)
HEIGHT, WIDTH = 24, 40


@dataclass
class RawIds:
    """Predicts the label ids that the picture's red channel holds, as classes of the scheme (or as void)."""

    scheme: LabelScheme
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def predict(self, images: Sequence[UInt8Array]) -> list[UInt8Array]:
        encoding = ENCODINGS["cityscapes-labelIds"]
        return [decode_label(rgb_HWC[..., 0], encoding, self.scheme, "prediction") for rgb_HWC in images]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A val split of five pictures; the pictures hold predicted ids, which `results/` has as files too."""
    rng = np.random.default_rng(19)
    truth_ids = [label.id for label in CITYSCAPES_LABELS if label.id >= 0 and label.id not in NOT_IN_TRUTH]
    predicted_ids = [
        label.id for label in CITYSCAPES_LABELS if label.id >= 0 and label.id not in NOT_PREDICTED
    ]
    for i, city in enumerate(("frankfurt", "frankfurt", "lindau", "lindau", "munster")):
        name = f"{city}_{i:06}_000019"
        truth = rng.choice(np.array(truth_ids, np.uint8), (HEIGHT // 4, WIDTH // 4)).repeat(4, 0).repeat(4, 1)
        noise = rng.choice(np.array(predicted_ids, np.uint8), (HEIGHT, WIDTH))
        kept = (rng.random((HEIGHT, WIDTH)) < 0.7) & ~np.isin(truth, NOT_PREDICTED)
        prediction = np.where(kept, truth, noise)
        for path, pixels in (
            (f"leftImg8bit/val/{city}/{name}_leftImg8bit.png", np.stack([prediction] * 3, axis=-1)),
            (f"gtFine/val/{city}/{name}_gtFine_labelIds.png", truth),
            (f"results/{name}_anything.png", prediction),
        ):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / path)
    return tmp_path


def run_official(samples: list[Sample], predictions: Path, instances: bool = False) -> dict[str, Any]:
    """Run the official script in this process; what it prints goes to stdout."""
    args = SimpleNamespace(
        **{
            **vars(official.args),
            "predictionPath": str(predictions),
            "predictionWalk": None,
            "evalLabels": [],
            "evalInstLevelScore": instances,  # needs *_instanceIds.png
            "JSONOutput": False,
            "colorized": False,
            "bold": "",
            "nocol": "",
            "quiet": False,
        }
    )
    truths = [str(sample.label) for sample in samples]
    found = [official.getPrediction(args, truth) for truth in truths]
    result: dict[str, Any] = official.evaluateImgLists(found, truths, args)
    return result


def run_ours(samples: list[Sample], scheme: LabelScheme, save: Path | None = None) -> Evaluation:
    return evaluate(RawIds(scheme), samples, scheme, batch_size=2, workers=2, save_predictions=save)


def assert_equal(ours: Evaluation, theirs: dict[str, float], their_mean: float, printed: str) -> None:
    """Equal in every bit per class, to rounding in the mean, and in what the script printed."""
    for name, iou in zip(ours.scheme.classes, ours.scores.iou, strict=True):
        np.testing.assert_equal(iou, theirs[name])  # NaN equals NaN
        assert f"{name:<14}: {iou:>5.3f} " in printed
    assert ours.scores.mean_iou == pytest.approx(their_mean, rel=1e-15)
    assert f"Score Average : {ours.scores.mean_iou:5.3f} " in printed


def test_classes_equal_the_official_script(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = find_samples(tree, "val")
    assert len(samples) == 5
    theirs = run_official(samples, tree / "results")
    ours = run_ours(samples, get_scheme("cityscapes19"))
    assert_equal(ours, theirs["classScores"], theirs["averageScoreClasses"], capsys.readouterr().out)
    # The picture is not a trivial one: absent everywhere, a false alarm only, a miss only, and the rest.
    by_name = dict(zip(ours.scheme.classes, ours.scores.iou, strict=True))
    assert np.isnan(by_name["train"])
    assert by_name["motorcycle"] == by_name["traffic sign"] == 0
    assert all(
        0.3 < iou < 1 for name, iou in by_name.items() if name not in ("train", "motorcycle", "traffic sign")
    )
    # Predicted ids that are never evaluated ("parking", ...) on known truth are misses, not nothing.
    assert ours.matrix.counts[:, -1].sum() > 0


def test_the_matrix_equals_the_official_one(tree: Path) -> None:
    samples = find_samples(tree, "val")
    theirs = np.array(run_official(samples, tree / "results")["confMatrix"]).astype(np.int64)
    ours = run_ours(samples, get_scheme("cityscapes19")).matrix.counts.numpy()
    known = theirs[EVALUATED]
    assert ours[:, :-1].tolist() == known[:, EVALUATED].tolist()
    assert ours[:, -1].tolist() == np.delete(known, EVALUATED, axis=1).sum(1).tolist()


def test_categories_equal_the_official_script(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = find_samples(tree, "val")
    theirs = run_official(samples, tree / "results")
    ours = run_ours(samples, get_scheme("cityscapes-category7"))
    assert_equal(ours, theirs["categoryScores"], theirs["averageScoreCategories"], capsys.readouterr().out)


@pytest.mark.parametrize(
    ("scheme", "their_scores", "their_mean"),
    [
        ("cityscapes19", "classScores", "averageScoreClasses"),
        ("cityscapes-category7", "categoryScores", "averageScoreCategories"),
    ],
)
def test_saved_predictions_get_our_scores_from_the_official_script(
    tree: Path, capsys: pytest.CaptureFixture[str], scheme: str, their_scores: str, their_mean: str
) -> None:
    samples = find_samples(tree, "val")
    ours = run_ours(samples, get_scheme(scheme), save=tree / "saved")
    theirs = run_official(samples, tree / "saved")
    assert_equal(ours, theirs[their_scores], theirs[their_mean], capsys.readouterr().out)


def add_instances(samples: list[Sample]) -> None:
    """`*_instanceIds.png`: blocks of one label are objects of it, or (every fifth) a group."""
    rng = np.random.default_rng(3)
    for sample in samples:
        label = np.array(Image.open(sample.label)).astype(np.uint16)
        number = rng.integers(0, 5, (HEIGHT // 4, WIDTH // 4), np.uint16).repeat(4, 0).repeat(4, 1)
        is_object = (label >= 24) & (number < 4)
        path = sample.label.with_name(sample.label.name.replace("labelIds", "instanceIds"))
        Image.fromarray(np.where(is_object, label * 1000 + number, label)).save(path)


def without_caravans(predictions: Path) -> None:
    """Predicted caravans and trailers are the one difference that `metrics.cityscapes` tells of."""
    for path in predictions.glob("*.png"):
        ids = np.array(Image.open(path))
        Image.fromarray(np.where(np.isin(ids, (29, 30)), 0, ids).astype(np.uint8)).save(path)


def test_categories_and_instances_equal_the_official_script(
    tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From one run over the 19 classes, as `eval --predictions` does it."""
    samples = find_samples(tree, "val")
    add_instances(samples)
    without_caravans(tree / "results")
    ours, theirs = run_with_instances(samples, tree / "results", monkeypatch)

    for name, scores in ours["categories"]["scores"]["per_class"].items():
        assert scores["iou"] == theirs["categoryScores"][name]
    mean = ours["categories"]["scores"]["mean_iou"]
    assert mean == pytest.approx(theirs["averageScoreCategories"], rel=1e-15)

    instances = ours["instances"]["scores"]
    assert ours["instances"]["images"] == 5
    assert instances["instances"] > 20
    assert_instances_equal(instances, theirs)
    printed = capsys.readouterr().out
    for name, iiou in instances["per_class"].items():
        if iiou is not None:
            assert f"{ours['scores']['per_class'][name]['iou']:>5.3f}    {iiou:>5.3f}" in printed
    assert 0.1 < instances["mean_iiou"] < 0.9


def run_with_instances(
    samples: list[Sample], predictions: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Our scores.json and the script's result, of the same files."""
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)  # the script's name for it, gone in numpy 2.4
    theirs = run_official(samples, predictions, instances=True)
    scheme = get_scheme("cityscapes19")
    files = match_predictions(predictions, samples)
    form = get_format("cityscapes-labelIds", scheme)
    measures = Measures(scheme, boundary=False)
    return scores_document(score_predictions(files, form, samples, measures, workers=2)), theirs


def assert_instances_equal(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Their sums are rounded after every object, ours once: equal to the last digit but one or two."""

    def assert_same(iiou: float | None, expected: float) -> None:
        assert np.isnan(expected) if iiou is None else iiou == pytest.approx(expected, rel=1e-13)

    for kind, scores in (("per_class", "classInstScores"), ("per_category", "categoryInstScores")):
        for name, iiou in ours[kind].items():
            assert_same(iiou, theirs[scores][name])
    assert_same(ours["mean_iiou"], theirs["averageScoreInstClasses"])
    assert_same(ours["mean_category_iiou"], theirs["averageScoreInstCategories"])


VOID_WITH_NUMBERS = (1, 4, 5, 6, 29, 30)  # own car, static, dynamic, ground, caravan, trailer


def write_objects(root: Path, seed: int) -> None:
    """Three pictures full of objects: boxes, from a pixel to a fifth of the picture, over each other.

    They are of some of the classes that have instances, of void labels, and groups without a number; some
    come in two parts. Each is found, found in part, missed, or taken for its neighbour in the category.
    """
    rng = np.random.default_rng(seed)
    evaluated = [label.id for label in CITYSCAPES_LABELS if label.has_instances and not label.ignore_in_eval]
    present = rng.choice(evaluated, rng.integers(2, len(evaluated)), replace=False)  # the others never are
    for i in range(3):
        truth = rng.choice([7, 8, 11, 21, 23], (6, 10)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
        prediction = np.where(rng.random(truth.shape) < 0.9, truth, rng.choice([0, 7, 23], truth.shape))
        instances = truth.astype(np.uint16)
        for number in [*range(38), 998, 999]:
            label = int(rng.choice(VOID_WITH_NUMBERS if rng.random() < 0.2 else present))
            group = rng.random() < 0.15
            taken = rng.choice([label, int(rng.choice(present)), 7, 0], p=[0.6, 0.2, 0.1, 0.1])
            share = rng.choice([0.0, 0.5, 1.0])
            for _ in range(rng.integers(1, 3)):
                height, width = (1, 1) if rng.random() < 0.3 else rng.integers(1, 20, 2)
                y, x = rng.integers(0, truth.shape[0]), rng.integers(0, truth.shape[1])
                box = np.s_[y : y + height, x : x + width]
                truth[box] = label
                instances[box] = label if group else label * 1000 + number
                seen = rng.random(truth[box].shape) < share
                prediction[box] = np.where(seen, taken, rng.choice([7, 0, *present], truth[box].shape))
        name = f"munster_{i:06}_000019"
        prediction[np.isin(prediction, (29, 30))] = 0  # the one difference that `metrics.cityscapes` tells of
        for path, pixels in (
            (f"leftImg8bit/val/munster/{name}_leftImg8bit.png", np.zeros((*truth.shape, 3), np.uint8)),
            (f"gtFine/val/munster/{name}_gtFine_labelIds.png", truth),
            (f"gtFine/val/munster/{name}_gtFine_instanceIds.png", instances),
            (f"results/{name}.png", prediction.astype(np.uint8)),
        ):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / path)


@pytest.mark.parametrize("seed", range(8))
def test_random_objects_equal_the_official_script(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_objects(tmp_path, seed)
    samples = find_samples(tmp_path, "val")
    ours, theirs = run_with_instances(samples, tmp_path / "results", monkeypatch)
    assert_instances_equal(ours["instances"]["scores"], theirs)
    for name, scores in ours["scores"]["per_class"].items():
        expected = theirs["classScores"][name]
        assert np.isnan(expected) if scores["iou"] is None else scores["iou"] == expected
    # what was meant to be there is: lone pixels, objects found, missed and in part; groups and void are not
    each = [Instance(*counts) for counts in ours["instances"]["counts"]]
    assert any(one.pixels == 1 for one in each)
    assert any(one.pixels > 200 for one in each)
    assert any(one.found == 0 for one in each)
    assert any(0 < one.found < one.category_found for one in each)
    known = [np.array(Image.open(path)) for path in sorted(tmp_path.glob("gtFine/*/*/*_instanceIds.png"))]
    numbered = np.concatenate([np.unique(ids[ids > 1000]) // 1000 for ids in known])
    assert set(numbered) & set(VOID_WITH_NUMBERS)
    assert len(each) == (~np.isin(numbered, VOID_WITH_NUMBERS)).sum()
    assert any(((ids >= 24) & (ids < 1000)).any() for ids in known)
    assert None in ours["instances"]["scores"]["per_class"].values()


def test_objects_worked_by_hand() -> None:
    """A person of 4 pixels, 3 of them found and 1 called a rider; a car of 2, missed; a group of persons."""
    person, rider, car, sky = 11, 12, 13, 10
    ids = np.array([[24000, 24000, 24000, 24000, 26001, 26001, 24, 29000, 23]], np.uint16)
    mask = np.array([[person, person, person, rider, sky, VOID, person, car, sky]], np.uint8)
    objects = count_instances(mask, ids)
    assert objects == [Instance(person, 4, 3, 4), Instance(car, 2, 0, 0)]
    label = np.array([[person] * 4 + [car] * 2 + [person, VOID, sky]], np.uint8)
    matrix = ConfusionMatrix(19)
    matrix.update(torch.tensor(mask), torch.tensor(label))
    result = instance_scores(objects, matrix)
    # person: no false alarm (the car taken for a person would be one); rider: one pixel of alarm alone
    assert result.classes["person"] == pytest.approx(3 / 4)
    assert result.classes["rider"] == result.classes["car"] == 0
    assert np.isnan(result.classes["bus"])
    assert result.categories == {"human": 1.0, "vehicle": 0.0}
    # by weight: a small person counts as much as a large one, a false alarm as itself
    weight = 3462.4756337644
    both = [Instance(person, 1, 0, 0), Instance(person, 100, 100, 100)]
    alarm = ConfusionMatrix(19)
    alarm.counts[sky, person] = 50
    expected = weight / (weight + weight + 50)
    assert instance_scores(both, alarm).classes["person"] == pytest.approx(expected)


def test_saved_road_predictions_get_our_road_iou_from_the_official_script(tree: Path) -> None:
    samples = find_samples(tree, "val")
    ours = run_ours(samples, get_scheme("road"), save=tree / "saved")
    theirs = run_official(samples, tree / "saved")
    assert ours.scores.iou[1] == theirs["classScores"]["road"]
