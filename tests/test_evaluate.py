"""Evaluation: files in, counts and scores out. A fake predictor reads its answer from the red channel."""

import csv
import json
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from roadseg.dataset.samples import Sample
from roadseg.engine import evaluate as evaluate_module
from roadseg.engine.evaluate import Evaluation, evaluate, scores_document, write_evaluation
from roadseg.engine.measures import Measures
from roadseg.errors import CheckpointError, ConfigError, DatasetError, MediaError, OutputError
from roadseg.labels import ENCODINGS, LabelScheme, UInt8Array, get_scheme
from roadseg.metrics import ConfusionMatrix, scores
from roadseg.metrics.bootstrap import confidence_intervals
from roadseg.metrics.boundary import BoundaryCounts, boundary_scores, count_boundaries
from roadseg.metrics.curves import RoadHistogram, road_scores

VOID = 255
ROAD = get_scheme("road")


@dataclass
class RedChannel:
    """Predicts what the pictures say; notes what it was asked."""

    scheme: LabelScheme = ROAD
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    batches: list[int] = field(default_factory=list)

    def predict(self, images: Sequence[UInt8Array]) -> list[UInt8Array]:
        self.batches.append(len(images))
        return [rgb_HWC[..., 0] for rgb_HWC in images]


def make_sample(
    folder: Path, key: str, prediction: UInt8Array, label: UInt8Array, encoding: str = "road-index"
) -> Sample:
    """A picture that is answered with `prediction`, and its label file."""
    image_path, label_path = folder / "images" / f"{key}.png", folder / "masks" / f"{key}.png"
    for path, pixels in ((image_path, np.stack([prediction] * 3, axis=-1)), (label_path, label)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return Sample(image_path, label_path, ENCODINGS[encoding], "val", key.split("/")[0], key)


def rows(*values: Sequence[int]) -> UInt8Array:
    return np.array(values, np.uint8)


@pytest.fixture
def three(tmp_path: Path) -> list[Sample]:
    """Three pictures of three sizes. Counts of each as [[tn, fp, -], [fn, tp, -]] of road:"""
    return [
        # [[1, 1], [1, 2]] and one void: road 2/4, background 1/3
        make_sample(tmp_path, "a/1", rows([0, 1, 0], [1, 1, 1]), rows([0, 0, 1], [1, 1, VOID])),
        # [[0, 0], [0, 4]]: road 1, background absent
        make_sample(tmp_path, "a/2", rows([1], [1], [1], [1]), rows([1], [1], [1], [1])),
        # [[2, 0, 1], [0, 0, 0]]: a background pixel left without class: background 2/3, road absent
        make_sample(tmp_path, "b/1", rows([0, 0, VOID]), rows([0, 0, 0])),
    ]


def random_samples(folder: Path, number: int, scheme: str = "road") -> list[Sample]:
    rng = np.random.default_rng(7)
    classes = get_scheme(scheme).num_classes
    samples = []
    for i in range(number):
        size = rng.integers(1, 12, 2)
        label = rng.integers(0, classes, size, dtype=np.uint8)
        prediction = np.where(rng.random(size) < 0.7, label, rng.integers(0, classes, size, dtype=np.uint8))
        label[rng.random(size) < 0.2] = VOID
        encoding = {"road": "road-index", "cityscapes19": "cityscapes-labelTrainIds"}[scheme]
        samples.append(make_sample(folder, f"s/{i:03}", prediction, label, encoding))
    return samples


# --- counting


def test_counts_and_scores_worked_by_hand(three: list[Sample]) -> None:
    result = evaluate(RedChannel(), three, ROAD, batch_size=2, workers=2)
    assert [(image.key, image.matrix.to_list()) for image in result.images] == [
        ("a/1", [[1, 1, 0], [1, 2, 0]]),
        ("a/2", [[0, 0, 0], [0, 4, 0]]),
        ("b/1", [[2, 0, 1], [0, 0, 0]]),
    ]
    assert result.matrix.to_list() == [[3, 1, 1], [1, 6, 0]]
    assert result.scores.iou == (3 / 6, 6 / 8)
    assert result.scores.pixels == 12
    assert result.images[0].scores.iou == (1 / 3, 2 / 4)
    # background over the pictures a/1 and b/1, road over a/1 and a/2
    assert result.per_image.iou == pytest.approx(((1 / 3 + 2 / 3) / 2, (1 / 2 + 1) / 2))
    assert result.per_image.mean_iou == pytest.approx(((1 / 3 + 1 / 2) / 2 + 1 + 2 / 3) / 3)
    assert result.scheme == ROAD


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (3, 1), (4, 5), (100, 2)])
def test_neither_batches_nor_threads_change_the_result(tmp_path: Path, batch_size: int, workers: int) -> None:
    samples = random_samples(tmp_path, 11)
    predictor, seen = RedChannel(), []
    result = evaluate(
        predictor,
        samples,
        ROAD,
        batch_size=batch_size,
        workers=workers,
        progress=lambda done, total: seen.append((done, total)),
    )
    expected = ConfusionMatrix(2)
    for sample in samples:
        prediction, label = (np.array(Image.open(path)) for path in (sample.image, sample.label))
        expected.update(torch.tensor(prediction[..., 0]), torch.tensor(label))
    assert result.matrix.to_list() == expected.to_list()
    assert result.scores == scores(expected, ROAD.classes)
    assert [image.key for image in result.images] == [sample.key for sample in samples]
    assert sum(predictor.batches) == 11  # the last short batch counts too
    assert max(predictor.batches) == min(batch_size, 11)
    assert [done for done, _ in seen] == np.cumsum(predictor.batches).tolist()
    assert {total for _, total in seen} == {11}


def test_parts_of_a_data_set_add_up_to_the_whole(tmp_path: Path) -> None:
    samples = random_samples(tmp_path, 9)

    def run(part: list[Sample]) -> Evaluation:
        return evaluate(RedChannel(), part, ROAD, batch_size=4, workers=1)

    assert (run(samples[:2]).matrix + run(samples[2:]).matrix).to_list() == run(samples).matrix.to_list()


def test_pictures_of_nothing_but_void_have_no_score(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, "v/1", rows([0, 1]), rows([VOID, VOID]))
    result = evaluate(RedChannel(), [sample], ROAD, batch_size=1, workers=1)
    assert result.scores.pixels == 0
    assert math.isnan(result.scores.mean_iou)
    assert math.isnan(result.per_image.mean_iou)


def test_pictures_are_read_ahead_but_not_all_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits in memory is bounded, whatever the size of the data set."""
    samples = random_samples(tmp_path, 40)
    started = 0
    lock = threading.Lock()
    read_pair = evaluate_module.read_pair

    def counting_read(sample: Sample, scheme: LabelScheme) -> tuple[UInt8Array, UInt8Array]:
        nonlocal started
        with lock:
            started += 1
        return read_pair(sample, scheme)

    monkeypatch.setattr(evaluate_module, "read_pair", counting_read)
    predicted, most_waiting = 0, 0

    class Watching(RedChannel):
        def predict(self, images: Sequence[UInt8Array]) -> list[UInt8Array]:
            nonlocal predicted, most_waiting
            most_waiting = max(most_waiting, started - predicted)
            predicted += len(images)
            return super().predict(images)

    evaluate(Watching(), samples, ROAD, batch_size=4, workers=3)
    assert started == 40
    assert most_waiting <= 3 * 4  # a batch, and two batches ahead of it


# --- what ends a run


def test_no_samples_is_an_error() -> None:
    with pytest.raises(DatasetError, match="no pictures to evaluate"):
        evaluate(RedChannel(), [], ROAD, batch_size=1, workers=1)


def test_a_model_for_other_classes_is_refused_before_anything_is_read(three: list[Sample]) -> None:
    predictor = RedChannel(scheme=get_scheme("cityscapes19"))
    with pytest.raises(CheckpointError, match=r"predicts the classes 'cityscapes19'.*read as 'road'"):
        evaluate(predictor, three, ROAD, batch_size=1, workers=1)
    assert predictor.batches == []


def test_picture_and_label_of_different_sizes(three: list[Sample]) -> None:
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(three[1].label)
    with pytest.raises(
        DatasetError, match=r"masks/a/2\.png: the label is 2x2, but its picture 2\.png is 1x4"
    ):
        evaluate(RedChannel(), three, ROAD, batch_size=1, workers=2)


def test_a_damaged_picture_ends_the_run(three: list[Sample]) -> None:
    three[2].image.write_bytes(three[2].image.read_bytes()[:40])
    with pytest.raises(MediaError, match=r"images/b/1\.png"):
        evaluate(RedChannel(), three, ROAD, batch_size=1, workers=2)


def test_an_unknown_label_value_ends_the_run(three: list[Sample]) -> None:
    Image.fromarray(rows([0, 7, 0])).save(three[2].label)
    with pytest.raises(DatasetError, match=r"masks/b/1\.png: holds 7"):
        evaluate(RedChannel(), three, ROAD, batch_size=1, workers=2)


def test_an_error_of_the_predictor_comes_through_and_leaves_no_thread(tmp_path: Path) -> None:
    class Failing(RedChannel):
        def predict(self, images: Sequence[UInt8Array]) -> list[UInt8Array]:
            raise RuntimeError("out of memory")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="out of memory"):
        evaluate(Failing(), random_samples(tmp_path, 30), ROAD, batch_size=2, workers=4)
    assert threading.active_count() == before


# --- what is written


def test_scores_json_holds_scores_counts_and_settings(three: list[Sample], tmp_path: Path) -> None:
    result = evaluate(RedChannel(), three, ROAD, batch_size=2, workers=1)
    out = tmp_path / "new" / "folder"
    table_path, scores_path = write_evaluation(
        result, out, scores_document(result, {"weights": "bundled", "imgsz": 512})
    )
    assert sorted(out.iterdir()) == sorted([table_path, scores_path])  # nothing temporary is left
    report = json.loads(scores_path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert (report["schema"], report["version"]) == ("roadseg/scores", 1)
    assert report["settings"] == {"weights": "bundled", "imgsz": 512}
    assert LabelScheme.from_dict(report["label_scheme"]) == ROAD
    assert report["counts"] == [[3, 1, 1], [1, 6, 0]]
    assert report["scores"]["per_class"]["road"]["iou"] == 0.75
    assert report["per_image"]["images"] == 3
    # Anyone can compute the scores again from the counts alone.
    assert scores(ConfusionMatrix.from_counts(report["counts"]), ROAD.classes).to_dict() == report["scores"]


def test_per_image_csv_worked_by_hand(three: list[Sample], tmp_path: Path) -> None:
    result = evaluate(RedChannel(), three, ROAD, batch_size=2, workers=1)
    table_path, _ = write_evaluation(result, tmp_path / "out")
    with table_path.open(encoding="utf-8-sig", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["key"] for row in table] == ["a/1", "a/2", "b/1"]
    assert table[0] == {
        "key": "a/1",
        "pixels": "5",
        "mean_iou": str((1 / 3 + 1 / 2) / 2),
        "pixel_accuracy": "0.6",
        "iou background": str(1 / 3),
        "tp background": "1",
        "fp background": "1",
        "fn background": "1",
        "iou road": "0.5",
        "tp road": "2",
        "fp road": "1",
        "fn road": "1",
        "problem": "",
    }
    assert (table[1]["iou background"], table[1]["iou road"]) == ("", "1.0")  # absent: empty, not 0
    assert (table[2]["fn background"], table[2]["iou road"]) == ("1", "")


def test_results_of_a_void_data_set_are_valid_json(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, "v/1", rows([0, 1]), rows([VOID, VOID]))
    result = evaluate(RedChannel(), [sample], ROAD, batch_size=1, workers=1)
    _, scores_path = write_evaluation(result, tmp_path / "out")
    report = json.loads(scores_path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert report["scores"]["mean_iou"] is None


def test_a_folder_that_cannot_be_written_is_named(three: list[Sample], tmp_path: Path) -> None:
    result = evaluate(RedChannel(), three, ROAD, batch_size=2, workers=1)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="file"):
        write_evaluation(result, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


# --- saved predictions


def test_predictions_are_saved_as_official_ids(tmp_path: Path) -> None:
    scheme = get_scheme("cityscapes19")
    sample = make_sample(
        tmp_path, "ulm/ulm_1_2", rows([0, 18, VOID]), rows([0, 18, 3]), "cityscapes-labelTrainIds"
    )
    evaluate(
        RedChannel(scheme), [sample], scheme, batch_size=1, workers=1, save_predictions=tmp_path / "saved"
    )
    with Image.open(tmp_path / "saved" / "ulm" / "ulm_1_2_labelIds.png") as image:
        assert np.array(image).tolist() == [[7, 33, 0]]  # road, bicycle, and no class: unlabeled


def test_classes_without_official_ids_cannot_be_saved(tmp_path: Path) -> None:
    predictor = RedChannel(get_scheme("idd7"))
    sample = make_sample(tmp_path, "s/1", rows([0]), rows([0]), "idd-lite")
    with pytest.raises(ConfigError, match="idd7"):
        evaluate(
            predictor,
            [sample],
            predictor.scheme,
            batch_size=1,
            workers=1,
            save_predictions=tmp_path / "saved",
        )
    assert predictor.batches == []
    assert not (tmp_path / "saved").exists()


def test_two_pictures_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    samples = [make_sample(tmp_path / root, "s/1", rows([0]), rows([0])) for root in ("one", "two")]
    with pytest.raises(DatasetError, match="two pictures are called s/1"):
        evaluate(RedChannel(), samples, ROAD, batch_size=1, workers=1, save_predictions=tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


# --- what is counted beside the confusion matrix


@dataclass
class WithRoad(RedChannel):
    """Its probability of road is 0.9 where it says road, and 0.2 elsewhere."""

    def predict_with_road(self, images: Sequence[UInt8Array]) -> list[tuple[UInt8Array, np.ndarray]]:
        masks = self.predict(images)
        return [(mask, np.where(mask == 1, 0.9, 0.2).astype(np.float32)) for mask in masks]


def test_measures_are_those_of_each_picture_and_add_up(tmp_path: Path) -> None:
    samples = random_samples(tmp_path, 9)
    measures = Measures(ROAD, boundary=True)

    def run(part: list[Sample]) -> dict[str, Any]:
        result = evaluate(WithRoad(), part, ROAD, batch_size=4, workers=2, measures=measures)
        _, path = write_evaluation(result, tmp_path / "out")
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
        return report

    whole, *parts = run(samples), run(samples[:4]), run(samples[4:])
    for i, sample in enumerate(samples):
        prediction, label = (np.array(Image.open(path)) for path in (sample.image, sample.label))
        (expected,) = count_boundaries(prediction[..., 0], label, [1])
        assert whole["images"][i]["boundary"] == [list(expected)]
    assert whole["images"] == parts[0]["images"] + parts[1]["images"]
    for section in ("boundary", "road"):
        total = np.array(parts[0][section]["counts"]) + np.array(parts[1][section]["counts"])
        assert total.tolist() == whole[section]["counts"]
    road = whole["road"]
    assert road["scores"] == road_scores(RoadHistogram(road["counts"])).to_dict()
    assert sum(map(sum, road["counts"])) == whole["scores"]["pixels"]
    # with two levels only, the best threshold is the mask's own, or all is road
    assert road["scores"]["max_f"] >= whole["scores"]["per_class"]["road"]["f1"]
    counts = BoundaryCounts(*whole["boundary"]["counts"][0])
    assert whole["boundary"]["scores"]["per_class"]["road"] == boundary_scores(counts).to_dict()
    matrices = [ConfusionMatrix.from_counts(image["counts"]) for image in whole["images"]]
    assert whole["confidence"] == confidence_intervals(matrices, ROAD.classes)
    low, high = whole["confidence"]["per_class"]["road"]["iou"]
    assert low < whole["scores"]["per_class"]["road"]["iou"] < high
    assert whole["categories"] is whole["instances"] is None


def test_the_table_has_outlines(tmp_path: Path) -> None:
    label = np.zeros((30, 40), np.uint8)
    label[10:20, 10:20] = 1
    sample = make_sample(tmp_path, "a/1", np.roll(label, 1, axis=1), label)
    result = evaluate(
        WithRoad(), [sample], ROAD, batch_size=1, workers=1, measures=Measures(ROAD, boundary=True)
    )
    table_path, _ = write_evaluation(result, tmp_path / "out")
    with table_path.open(encoding="utf-8-sig", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["boundary_iou road"], row["boundary_f road"]) == (str(18 / 54), "1.0")


def test_each_picture_is_on_a_line_and_texts_are_as_they_were(three: list[Sample], tmp_path: Path) -> None:
    result = evaluate(RedChannel(), three, ROAD, batch_size=2, workers=1)
    settings = {"data": "[a,  b] {c}]\n[", "list": [1, 2]}
    _, scores_path = write_evaluation(result, tmp_path / "out", scores_document(result, settings))
    text = scores_path.read_text(encoding="utf-8")
    assert json.loads(text)["settings"] == settings
    lines = [line for line in text.splitlines() if '"counts": [[' in line]
    assert len(lines) == 1 + len(three)  # of all pictures, and of each
