"""The page of `roadseg eval`, from the document that it leaves behind."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from roadseg.documents import read_document
from roadseg.errors import OutputError
from roadseg.report.html.album import NoPictures, Pictures
from roadseg.report.html.curves import curve_figures
from roadseg.report.html.facts import facts
from roadseg.report.html.further import further_scores
from roadseg.report.html.page import Cell, Page, Section, Table
from roadseg.report.html.scores import Scored, css, headlines, sections
from roadseg.report.html.tally import Tally

_NONE: Final = NoPictures()


def eval_page(folder: Path, pictures: Pictures = _NONE) -> Page:
    """The page of an evaluation, from `scores.json` in `folder`. Raises OutputError."""
    document, scored = read_scored(folder)
    settings = dict(document["settings"])
    rate = settings.pop("pictures_per_second", None)
    data = str(settings.get("data", ""))
    return Page(
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
        sections=[*_problems(document), *scored_sections(document, scored, pictures)],
    )


def scored_sections(document: Mapping[str, Any], scored: Scored, pictures: Pictures = _NONE) -> list[Section]:
    """All that is told of the scores in a scores.json, as `read_scored` gives them."""
    curves = curve_figures(document.get("road"))
    return sections(scored, pictures, further=further_scores(document, document), curves=curves)


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


def _problems(document: Mapping[str, Any]) -> list[Section]:
    rows = [[Cell(key), Cell("no prediction")] for key in document.get("missing", ())]
    rows += [[Cell(failed["key"]), Cell(failed["error"])] for failed in document.get("failed", ())]
    title = f"{len(rows)} pictures counted as missed" if len(rows) > 1 else "One picture counted as missed"
    return [Table(title, [("Picture", False), ("Why", False)], rows)] if rows else []
