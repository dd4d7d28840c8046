"""The scores beyond the confusion matrix: categories, single objects, outlines, the probability of road."""

from collections.abc import Mapping
from typing import Any, Final

from roadseg.report.html.page import Cell, Table, percent

# section of a document -> scores in it, and what they are called
_NAMES: Final = {
    "overall": {
        "mean_accuracy": "Mean accuracy (recall of the classes)",
        "frequency_weighted_iou": "Frequency-weighted IoU",
    },
    "categories": {"mean_iou": "IoU of categories, mean"},
    "instances": {"mean_iiou": "iIoU, mean"},
    "boundary": {"mean_iou": "Boundary IoU", "mean_f": "Boundary F"},
    "road": {
        "max_f": "MaxF", "average_precision": "Average precision", "average_precision_11": "AP at 11 recalls",
        "precision": "Precision at MaxF", "recall": "Recall at MaxF",
        "false_positive_rate": "False positive rate at MaxF",
        "false_negative_rate": "False negative rate at MaxF", "ece": "Calibration error (ECE)",
    },
    "birdseye": {
        "max_f": "Bird's-eye MaxF", "average_precision_11": "Bird's-eye AP at 11 recalls",
        "precision": "Bird's-eye precision (PRE)", "recall": "Bird's-eye recall (REC)",
        "false_positive_rate": "Bird's-eye false positive rate (FPR)",
        "false_negative_rate": "Bird's-eye false negative rate (FNR)",
    },
}  # fmt: skip
_BOOTSTRAP: Final = "The intervals are bootstraps over the pictures."
_NO_INTERVAL: Final = (
    "From MaxF on, scores have none: they come from a histogram of the probability of road, which is kept "
    "for all pictures together."
)


def further_scores(document: Mapping[str, Any], overall: Mapping[str, Any]) -> Table:
    """A row for each score of the sections that `document` has, after two of the confusion matrix itself.

    overall: {"scores": ..., "confidence": ...} of that matrix.
    """
    rows: list[list[Cell]] = []
    for section, names in _NAMES.items():
        found = overall if section == "overall" else document.get(section) or {}
        for key, name in names.items():
            if (value := found.get("scores", {}).get(key)) is not None:
                ends = found.get("confidence", {}).get(key)
                between = f"{percent(ends[0], 1)} – {percent(ends[1], 1)}" if ends else "–"
                rows.append([Cell(name), Cell(percent(value), value), Cell(between, ends and ends[0])])
        if section == "categories" and found:
            each = found["scores"]["per_class"].items()
            rows += [
                [Cell(f"IoU of {name}"), Cell(percent(of["iou"]), of["iou"]), Cell("–")] for name, of in each
            ]
    heads = [("Score", False), ("%", True), ("95 % interval", True)]
    if all(between.value is None for *_, between in rows):
        return Table("Further scores", heads[:2], [row[:2] for row in rows], narrow=True)
    note = f"{_BOOTSTRAP} {_NO_INTERVAL}" if document.get("road") else _BOOTSTRAP
    return Table("Further scores", heads, rows, note=note, narrow=True)
