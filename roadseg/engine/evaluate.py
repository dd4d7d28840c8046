"""Score a model on labelled pictures, at the size of the labels: over all of them, and each for itself."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from roadseg.dataset.samples import Sample, read_pair
from roadseg.documents import to_json
from roadseg.engine.ahead import map_ahead
from roadseg.engine.evaluation import Evaluation, ImageResult, gather, scores_document
from roadseg.engine.measures import Extras, Measures
from roadseg.errors import CheckpointError, ConfigError, DatasetError, OutputError
from roadseg.labels import LabelScheme, UInt8Array, label_ids
from roadseg.media.output import write_mask, write_text
from roadseg.media.table import csv_text
from roadseg.metrics import ConfusionMatrix, none_for_nan, scores
from roadseg.metrics.boundary import boundary_scores
from roadseg.metrics.curves import RoadHistogram
from roadseg.report.run import Shard

__all__ = [
    "REPORT_FILES",
    "Evaluation",
    "ImageResult",
    "evaluate",
    "per_image_table",
    "prediction_path",
    "refuse_to_replace",
    "report_files",
    "scores_document",
    "write_evaluation",
]

REPORT_FILES: Final = ("per_image.csv", "scores.json")


class MaskPredictor(Protocol):
    """What evaluation needs of a `Predictor`."""

    @property
    def scheme(self) -> LabelScheme: ...
    @property
    def device(self) -> torch.device: ...
    def predict(self, images: Sequence[UInt8Array]) -> list[UInt8Array]:
        """Map rgb_HWC uint8 pictures of any sizes to mask_HW uint8 class indices, each at its own size."""
        ...

    def predict_with_road(
        self, images: Sequence[UInt8Array]
    ) -> list[tuple[UInt8Array, NDArray[np.float32] | None]]:
        """Map pictures to masks, each with the probability_HW of road if there is a road. For `measures`."""
        ...


def evaluate(
    predictor: MaskPredictor,
    samples: Sequence[Sample],
    scheme: LabelScheme,
    *,
    batch_size: int,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
    save_predictions: Path | None = None,
    measures: Measures | None = None,
    look: Callable[[str, UInt8Array, UInt8Array, UInt8Array], None] | None = None,
) -> Evaluation:
    """Predict every sample and count its pixels against its label, at the label's own size.

    batch_size: pictures predicted at once; workers: threads that read files ahead (0: one, too).
    progress: called after every batch with the number of pictures done and their total.
    save_predictions: folder for `<key>_labelIds.png`, which cityscapesScripts score as they are.
    measures: what to count beside the confusion matrix; None: nothing, and no probabilities.
    look: called for every picture with its key, rgb_HWC, label_HW and mask_HW.

    The first file that cannot be read or does not fit ends the run: the score of the rest would not be the
    score of the data set. Raises DatasetError (no samples; a bad label; picture and label differ in size),
    MediaError (a bad picture), CheckpointError (the model predicts other classes), ConfigError (a negative
    number of workers; classes that have no Cityscapes ids cannot be saved) and OutputError (predictions
    cannot be written).
    """
    if workers < 0:
        raise ConfigError(f"workers is {workers}, but must be 0 or more.")
    if not samples:
        raise DatasetError("there are no pictures to evaluate; choose a split that has some")
    if predictor.scheme.classes != scheme.classes:
        raise CheckpointError(
            f"the model predicts the classes {predictor.scheme.name!r} ({_listed(predictor.scheme)}), but "
            f"the labels are read as {scheme.name!r} ({_listed(scheme)}); use weights made for these classes"
        )
    save = _prediction_writer(save_predictions, samples, scheme) if save_predictions else None
    matrices: list[ConfusionMatrix] = []
    extras: list[Extras] = []
    histograms: list[RoadHistogram | None] = [None, None]  # in the picture, and from above
    counting: list[Future[tuple[Extras, RoadHistogram | None, RoadHistogram | None]]] = []

    def read(sample: Sample) -> tuple[Sample, UInt8Array, UInt8Array]:
        return sample, *read_pair(sample, scheme)

    def settle() -> None:
        for future in counting:
            extra, *of_picture = future.result()
            extras.append(extra)
            for i, one in enumerate(of_picture):
                if one is not None:
                    before = histograms[i]
                    histograms[i] = one if before is None else before + one
        counting.clear()

    ahead = 2 * max(batch_size, workers)
    with (
        ThreadPoolExecutor(max(1, workers)) as pool,
        closing(map_ahead(pool, read, samples, ahead)) as pairs,
    ):
        while batch := list(islice(pairs, batch_size)):
            images = [rgb_HWC for _, rgb_HWC, _ in batch]
            predicted: Sequence[tuple[UInt8Array, NDArray[np.float32] | None]]
            if measures:
                predicted = predictor.predict_with_road(images)
            else:
                predicted = [(mask_HW, None) for mask_HW in predictor.predict(images)]
            settle()  # of the batch before: while it was counted, the network ran
            for (sample, rgb_HWC, label_HW), (mask_HW, road_HW) in zip(batch, predicted, strict=True):
                matrix = ConfusionMatrix(scheme.num_classes, predictor.device)
                matrix.update(torch.tensor(mask_HW), torch.tensor(label_HW))
                matrices.append(matrix)
                if measures:
                    counting.append(pool.submit(_count, measures, sample, mask_HW, label_HW, road_HW))
                if save:
                    save(sample, mask_HW)
                if look:
                    look(sample.key, rgb_HWC, label_HW, mask_HW)
            if progress:
                progress(len(matrices), len(samples))
        settle()

    counts = torch.stack([matrix.counts for matrix in matrices]).cpu()  # the one transfer of counts
    results = []
    for sample, image_counts, extra in zip(samples, counts, extras or [Extras()] * len(samples), strict=True):
        matrix = ConfusionMatrix.from_counts(image_counts)
        results.append(ImageResult(sample.key, matrix, scores(matrix, scheme.classes), extra))
    return gather(scheme, results, measures.outlined if measures else (), *histograms)


def _count(
    measures: Measures,
    sample: Sample,
    mask_HW: UInt8Array,
    label_HW: UInt8Array,
    road_HW: NDArray[np.float32] | None,
) -> tuple[Extras, RoadHistogram | None, RoadHistogram | None]:
    histograms = (None, None) if road_HW is None else measures.histograms(sample, road_HW, label_HW)
    return measures.count(sample, mask_HW, label_HW), *histograms


def prediction_path(folder: Path, sample: Sample) -> Path:
    """Where `evaluate` saves the prediction for a sample; cityscapesScripts look for that ending."""
    return folder / f"{sample.key}_labelIds.png"


def refuse_to_replace(paths: Iterable[Path]) -> None:
    """OutputError if one of `paths` is there already."""
    there = [path for path in paths if path.exists()]
    if there:
        more = f" (and {len(there) - 1} more)" if len(there) > 1 else ""
        raise OutputError(
            f"{there[0]}: is there already{more}; choose another folder, or replace it with --overwrite"
        )


def report_files(shard: Shard | None = None) -> tuple[str, str]:
    """Names of the table and of the document: `REPORT_FILES`, or a shard's own."""
    table, document = REPORT_FILES
    if shard is None:
        return table, document
    part = f"-{shard.index}of{shard.count}."
    return table.replace(".", part), document.replace(".", part)


def write_evaluation(
    evaluation: Evaluation,
    out_dir: Path,
    document: Mapping[str, Any] | None = None,
    shard: Shard | None = None,
) -> tuple[Path, Path]:
    """Write `per_image.csv` and then `scores.json` into `out_dir`, over those of an earlier run.

    document: its `scores_document`, with the settings that it tells; None: without any. shard: whose names
    the two files have.
    In the JSON an undefined score is null, and in the table an empty cell; the JSON carries all raw counts,
    so that shards add up. Returns the two paths. Raises OutputError when a file cannot be written.
    """
    table_path, scores_path = (out_dir / name for name in report_files(shard))
    write_text(table_path, per_image_table(evaluation))
    write_text(scores_path, to_json(document or scores_document(evaluation)))
    return table_path, scores_path


def per_image_table(evaluation: Evaluation) -> str:
    """One row a picture: its scores; by class IoU and true positive, false positive, missed pixels; outlines.

    The last column says what was wrong with its prediction.
    """
    classes = evaluation.scheme.classes
    of_class = [f"{column} {name}" for name in classes for column in ("iou", "tp", "fp", "fn")]
    rows: list[list[object]] = []
    outlines = [
        f"{score} {classes[k]}" for k in evaluation.outlined for score in ("boundary_iou", "boundary_f")
    ]
    for image in evaluation.images:
        row: list[object] = [image.key, image.scores.pixels]
        row += [none_for_nan(image.scores.mean_iou), none_for_nan(image.scores.pixel_accuracy)]
        counts = image.matrix.to_list()
        for k, iou in enumerate(image.scores.iou):
            right = counts[k][k]
            claimed = sum(line[k] for line in counts)
            row += [none_for_nan(iou), right, claimed - right, sum(counts[k]) - right]
        for counts_of_class in image.extras.boundaries:
            outline = boundary_scores(counts_of_class)
            row += [none_for_nan(outline.iou), none_for_nan(outline.f)]
        rows.append([*row, "no prediction" if image.missing else image.error])
    names = ["key", "pixels", "mean_iou", "pixel_accuracy", *of_class, *outlines, "problem"]
    return csv_text(names, rows)


def _listed(scheme: LabelScheme) -> str:
    return ", ".join(scheme.classes[:4]) + (", ..." if scheme.num_classes > 4 else "")


def _prediction_writer(
    folder: Path, samples: Sequence[Sample], scheme: LabelScheme
) -> Callable[[Sample, UInt8Array], None]:
    """The function that saves a sample's mask_HW as official label ids."""
    keys: set[str] = set()
    for sample in samples:
        if sample.key in keys:
            raise DatasetError(
                f"two pictures are called {sample.key} (one is {sample.image}): the prediction for one would "
                "overwrite the other's; evaluate one data set at a time"
            )
        keys.add(sample.key)
    # What is no class becomes 0, "unlabeled": a miss to the official script, which a 255 would crash.
    ids = np.zeros(256, np.uint8)
    ids[: scheme.num_classes] = label_ids(scheme)

    def save(sample: Sample, mask_HW: UInt8Array) -> None:
        write_mask(prediction_path(folder, sample), ids[mask_HW])

    return save
