"""The result of an evaluation, and what of it goes into scores.json: raw counts, and the scores of their sum.

Whoever adds the raw counts of several files (`counts`, `road.counts`, `birdseye.counts`, `boundary.counts`,
all rows of `instances.counts` and of `images`) and scores the sum has the scores of one run over all of their
pictures.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import reduce
from typing import Any

import torch

from roadseg.documents import header
from roadseg.engine.measures import Extras
from roadseg.labels import LabelScheme
from roadseg.metrics import ConfusionMatrix, PerImageScores, Scores, cityscapes, per_image, scores
from roadseg.metrics.bootstrap import confidence_intervals
from roadseg.metrics.boundary import BAND, TOLERANCE, BoundaryCounts, summary
from roadseg.metrics.curves import RoadHistogram, road_scores
from roadseg.metrics.intervals import boundary_intervals, category_intervals, instance_intervals
from roadseg.report.run import Shard


@dataclass(frozen=True, slots=True)
class ImageResult:
    """The counts and scores of one picture; `key` is its sample's."""

    key: str
    matrix: ConfusionMatrix
    scores: Scores
    extras: Extras = field(default_factory=Extras)
    missing: bool = False
    """Whether there is no prediction for it: all of it is missed."""
    error: str | None = None
    """Why its prediction cannot be used: all of it is missed, too."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of a run: `scores` come from the sum of all counts, `per_image` is a mean over pictures."""

    scheme: LabelScheme
    images: tuple[ImageResult, ...]  # in the order of the samples
    matrix: ConfusionMatrix
    scores: Scores
    per_image: PerImageScores
    outlined: tuple[int, ...] = ()
    """The classes whose boundaries were counted."""
    histogram: RoadHistogram | None = None
    """Of the probability of road; None: only masks are known."""
    birdseye: RoadHistogram | None = None
    """The same of the road as seen from above; None: without calibrations."""

    @property
    def incomplete(self) -> bool:
        """Whether a prediction was missing or could not be used."""
        return any(image.missing or image.error for image in self.images)


def gather(
    scheme: LabelScheme,
    images: Iterable[ImageResult],
    outlined: tuple[int, ...] = (),
    histogram: RoadHistogram | None = None,
    birdseye: RoadHistogram | None = None,
) -> Evaluation:
    """The evaluation of these pictures."""
    each = tuple(images)
    total = ConfusionMatrix.from_counts(torch.stack([image.matrix.counts for image in each]).sum(0))
    return Evaluation(
        scheme=scheme,
        images=each,
        matrix=total,
        scores=scores(total, scheme.classes),
        per_image=per_image((image.scores for image in each), scheme.classes),
        outlined=outlined,
        histogram=histogram,
        birdseye=birdseye,
    )


def join(parts: Sequence[Evaluation]) -> Evaluation:
    """The evaluation of the pictures of all parts, in their order; at least one, all of one kind."""
    first = parts[0]
    images = (image for part in parts for image in part.images)
    return gather(
        first.scheme,
        images,
        first.outlined,
        total(part.histogram for part in parts),
        total(part.birdseye for part in parts),
    )


def total(histograms: Iterable[RoadHistogram | None]) -> RoadHistogram | None:
    """The sum of those that there are; None without any."""
    known = [histogram for histogram in histograms if histogram is not None]
    return reduce(lambda one, other: one + other, known) if known else None


def scores_document(
    evaluation: Evaluation, settings: Mapping[str, Any] | None = None, shard: Shard | None = None
) -> dict[str, Any]:
    """What scores.json holds: all that was counted and scored; a section that does not apply is None.

    settings: plain types that tell where the scores came from (weights, data, imgsz, ...).
    shard: the part of the data set that it is.
    """
    images = evaluation.images
    return {
        **header("scores"),
        "settings": dict(settings or {}),
        "shard": shard and asdict(shard),
        "label_scheme": evaluation.scheme.to_dict(),
        "counts": evaluation.matrix.to_list(),  # rows truth, columns prediction, last column no class
        "scores": evaluation.scores.to_dict(),
        "per_image": evaluation.per_image.to_dict(),
        "confidence": confidence_intervals([image.matrix for image in images], evaluation.scheme.classes),
        "categories": _categories(evaluation),
        "instances": _instances(evaluation),
        "boundary": _boundary(evaluation),
        "road": road_section(evaluation.histogram) if evaluation.histogram else None,
        "birdseye": road_section(evaluation.birdseye) if evaluation.birdseye else None,
        "missing": [image.key for image in images if image.missing],
        "failed": [{"key": image.key, "error": image.error} for image in images if image.error],
        "images": [
            {
                "key": image.key,
                "counts": image.matrix.to_list(),
                "boundary": [list(counts) for counts in image.extras.boundaries],
                "instances": _listed(image.extras.instances),
            }
            for image in images
        ],
    }


def _categories(evaluation: Evaluation) -> dict[str, Any] | None:
    if evaluation.scheme.classes != cityscapes.CLASSES:
        return None
    matrix = cityscapes.category_matrix(evaluation.matrix)
    return {
        "counts": matrix.to_list(),
        "scores": scores(matrix, cityscapes.CATEGORIES).to_dict(),
        "confidence": category_intervals([image.matrix for image in evaluation.images]),
    }


def _instances(evaluation: Evaluation) -> dict[str, Any] | None:
    """iIoU of the pictures whose objects are known; `counts` has a row for each object."""
    images = [
        (image.extras.instances, image.matrix)
        for image in evaluation.images
        if image.extras.instances is not None
    ]
    if not images:
        return None
    matrix = sum((each for _, each in images), ConfusionMatrix(evaluation.scheme.num_classes))
    objects = [instance for instances, _ in images for instance in instances]
    return {
        "images": len(images),
        "columns": list(cityscapes.Instance._fields),
        "counts": _listed(objects),
        "matrix": matrix.to_list(),
        "scores": cityscapes.instance_scores(objects, matrix).to_dict(),
        "confidence": instance_intervals(images),
    }


def _listed(instances: Sequence[cityscapes.Instance] | None) -> list[list[int]] | None:
    return None if instances is None else [list(instance) for instance in instances]


def _boundary(evaluation: Evaluation) -> dict[str, Any] | None:
    if not evaluation.outlined:
        return None
    classes = [evaluation.scheme.classes[k] for k in evaluation.outlined]
    return boundary_section([image.extras.boundaries for image in evaluation.images], classes)


def boundary_section(pictures: Sequence[Sequence[BoundaryCounts]], classes: Sequence[str]) -> dict[str, Any]:
    """How well outlines fit. pictures: of each one the counts of these classes, in this order."""
    counts = {
        name: reduce(BoundaryCounts.plus, of_class)
        for name, of_class in zip(classes, zip(*pictures, strict=True), strict=True)
    }
    return {
        "band": BAND,
        "tolerance": TOLERANCE,
        "classes": list(classes),
        "columns": list(BoundaryCounts._fields),
        "counts": [list(of_class) for of_class in counts.values()],
        "scores": summary(counts),
        "confidence": boundary_intervals(pictures),
    }


def road_section(histogram: RoadHistogram) -> dict[str, Any]:
    """`counts`: how many pixels (or cells) that are no road, and that are, have each level of probability."""
    return {
        "columns": ["other", "road"],
        "counts": histogram.counts.tolist(),
        "scores": road_scores(histogram).to_dict(),
    }
