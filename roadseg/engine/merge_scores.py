"""Shards of one `eval` put together, from the counts of each picture: the scores of the run in one piece."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from roadseg.engine.evaluation import Evaluation, ImageResult, gather, scores_document, total
from roadseg.engine.measures import Extras
from roadseg.engine.merge import Part, in_order, merged_settings, require_same
from roadseg.errors import ReportError
from roadseg.labels import LabelScheme
from roadseg.metrics import ConfusionMatrix, scores
from roadseg.metrics.boundary import BoundaryCounts
from roadseg.metrics.cityscapes import Instance
from roadseg.metrics.curves import RoadHistogram
from roadseg.report.run import Shard


def merge_scores(
    shards: Sequence[tuple[Path, Mapping[str, Any]]], *, partial: bool = False
) -> tuple[Evaluation, dict[str, Any]]:
    """Return the evaluation of all pictures, and its document; its `stopped_by` says what it lacks.

    Raises ReportError as `merge` does, and ValueError, KeyError or TypeError for a document that was edited.
    """
    first_path, first = shards[0]
    parts = []
    for path, document in shards:
        if not document.get("shard"):
            raise ReportError(f"{path}: is a whole run, no shard; only what `eval --shard` wrote is merged")
        one, two = Shard(**first["shard"]), Shard(**document["shard"])
        facts = {
            "number of shards": (one.count, two.count),
            "number of inputs": (one.inputs, two.inputs),
            "label_scheme": (first["label_scheme"], document["label_scheme"]),
        }
        require_same(first_path, path, facts, first["settings"], document["settings"])
        parts.append(Part(path, two, _images(document)))
    images, lacking = in_order(parts, partial)
    ordered = sorted((document for _, document in shards), key=lambda one: one["shard"]["index"])
    scheme = LabelScheme.from_dict(first["label_scheme"])
    outlined = tuple(map(scheme.classes.index, (first["boundary"] or {"classes": []})["classes"]))
    whole = gather(scheme, images, outlined, _sum(ordered, "road"), _sum(ordered, "birdseye"))
    document = scores_document(whole, merged_settings([one["settings"] for one in ordered]))
    if lacking:
        document["stopped_by"] = "; ".join(f"shard {what}" for what in lacking)
    return whole, document


def _sum(documents: Sequence[Mapping[str, Any]], section: str) -> RoadHistogram | None:
    return total(RoadHistogram(one[section]["counts"]) if one.get(section) else None for one in documents)


def _images(document: Mapping[str, Any]) -> list[ImageResult]:
    scheme = document["label_scheme"]["classes"]
    missing = set(document["missing"])
    errors = {entry["key"]: entry["error"] for entry in document["failed"]}
    images = []
    for image in document["images"]:
        key, matrix, found = image["key"], ConfusionMatrix.from_counts(image["counts"]), image["instances"]
        extras = Extras(
            tuple(BoundaryCounts(*counts) for counts in image["boundary"]),
            None if found is None else tuple(Instance(*counts) for counts in found),
        )
        images.append(
            ImageResult(key, matrix, scores(matrix, scheme), extras, key in missing, errors.get(key))
        )
    return images
