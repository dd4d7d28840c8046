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
from roadseg.labels import CITYSCAPES_LABELS, ENCODINGS, LabelScheme, UInt8Array, decode_label, get_scheme

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


def run_official(samples: list[Sample], predictions: Path) -> dict[str, Any]:
    """Run the official script in this process; what it prints goes to stdout."""
    args = SimpleNamespace(
        **{
            **vars(official.args),
            "predictionPath": str(predictions),
            "predictionWalk": None,
            "evalLabels": [],
            "evalInstLevelScore": False,  # needs *_instanceIds.png
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


def test_saved_road_predictions_get_our_road_iou_from_the_official_script(tree: Path) -> None:
    samples = find_samples(tree, "val")
    ours = run_ours(samples, get_scheme("road"), save=tree / "saved")
    theirs = run_official(samples, tree / "saved")
    assert ours.scores.iou[1] == theirs["classScores"]["road"]
