"""The page of `roadseg eval`, from the document that it leaves behind."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from roadseg.documents import read_document
from roadseg.errors import OutputError
from roadseg.report.html.album import NoPictures, Pictures
from roadseg.report.html.curves import curve_figures
from roadseg.report.html.facts import facts
from roadseg.report.html.page import Cell, Page, Table, percent
from roadseg.report.html.scores import Scored, css, headlines, sections
from roadseg.report.html.tally import Tally

_NONE: Final = NoPictures()
# section of the document -> scores in it, and what they are called
_FURTHER: Final = {
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


def eval_page(folder: Path, pictures: Pictures = _NONE) -> Page:
    """The page of an evaluation, from `scores.json` in `folder`. Raises OutputError."""
    document, scored = read_scored(folder)
    settings = dict(document["settings"])
    rate = settings.pop("pictures_per_second", None)
    data = str(settings.get("data", ""))
    page = Page(
        command="eval",
        title=f"Scores on {Path(data).name or data}" if data else "Scores",
        subtitle=f"{settings.get('split', '')} · {len(scored.tallies)} pictures".lstrip(" ·"),
        headlines=headlines(scored),
        facts=facts(
            settings,
            speed=rate and f"{rate:.1f} pictures/s",
            pictures=len(scored.tallies),
            roadseg_version=document["roadseg_version"],
        ),
        sections=sections(scored, pictures, curves=curve_figures(document.get("road"))),
    )
    if further := _further(document):
        page.sections.insert(1, further)
    if problems := _problems(document):
        page.sections.insert(0, problems)
    return page


def read_scored(folder: Path) -> tuple[dict[str, Any], Scored]:
    """The document of an evaluation. Raises OutputError when there is none, or another one."""
    path = folder / "scores.json"
    try:
        kind, document = read_document(path)
        if kind != "scores":
            raise ValueError(f"it is of {document['schema']}")
        classes, colors = (document["label_scheme"][key] for key in ("classes", "colors"))
        return document, Scored(
            classes,
            document["counts"],
            document["scores"],
            document["per_image"],
            [Tally.from_counts(image["key"], image["counts"]) for image in document["images"]],
            document["confidence"],
            [css(color) for color in colors] if len(classes) > 2 else [],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path}: is no evaluation that a page can be made from ({error!r})") from error


def _further(document: Mapping[str, Any]) -> Table | None:
    """The scores beyond the confusion matrix, of what was counted."""
    rows = []
    for section, names in _FURTHER.items():
        scores = (document.get(section) or {}).get("scores", {})
        for key, name in names.items():
            if (value := scores.get(key)) is not None:
                rows.append([Cell(name), Cell(percent(value), value)])
    return Table("Further scores", [("Score", False), ("%", True)], rows, narrow=True) if rows else None


def _problems(document: Mapping[str, Any]) -> Table | None:
    rows = [[Cell(key), Cell("no prediction")] for key in document.get("missing", ())]
    rows += [[Cell(failed["key"]), Cell(failed["error"])] for failed in document.get("failed", ())]
    title = f"{len(rows)} pictures counted as missed" if len(rows) > 1 else "One picture counted as missed"
    return Table(title, [("Picture", False), ("Why", False)], rows) if rows else None
