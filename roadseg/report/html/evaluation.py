"""The page of `roadseg eval`, from the documents that it leaves behind."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from roadseg.errors import OutputError
from roadseg.report.html.album import NoPictures, Pictures
from roadseg.report.html.curves import curve_figures
from roadseg.report.html.facts import facts
from roadseg.report.html.intervals import Tally, intervals
from roadseg.report.html.page import Page
from roadseg.report.html.scores import Scored, css, headlines, sections

_NONE: Final = NoPictures()


def eval_page(folder: Path, pictures: Pictures = _NONE) -> Page:
    """The page of an evaluation, from `scores.json` and `per_image.csv` in `folder`. Raises OutputError."""
    document, scored = read_scored(folder)
    settings = dict(document["settings"])
    histogram = document.get("road_histogram")
    curves = curve_figures(histogram) if histogram else []
    pictures_per_second = settings.pop("pictures_per_second", None)
    return Page(
        command="eval",
        title=f"Scores on {Path(settings['data']).name or settings['data']}"
        if "data" in settings
        else "Scores",
        subtitle=f"{settings.get('split', '')} · {len(scored.tallies)} pictures".lstrip(" ·"),
        headlines=headlines(scored),
        facts=facts(
            settings,
            speed=pictures_per_second and f"{pictures_per_second:.1f} pictures/s",
            pictures=len(scored.tallies),
            roadseg_version=document["roadseg_version"],
        ),
        sections=sections(scored, pictures, curves=curves),
    )


def read_scored(folder: Path) -> tuple[dict[str, Any], Scored]:
    """The documents of an evaluation. Raises OutputError when there are none, or other ones."""
    path = folder / "scores.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        classes, colors = (document["label_scheme"][key] for key in ("classes", "colors"))
        with (folder / "per_image.csv").open(encoding="utf-8-sig", newline="") as file:
            tallies = [_tally(row, classes) for row in csv.DictReader(file)]
        return document, Scored(
            classes,
            document["counts"],
            document["scores"],
            document["per_image"],
            tallies,
            intervals(tallies, classes),
            [css(color) for color in colors] if len(classes) > 2 else [],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path}: is no evaluation that a page can be made from ({error!r})") from error


def _tally(row: Mapping[str, str], classes: Sequence[str]) -> Tally:
    tp, fp, fn = (tuple(int(row[f"{kind} {name}"]) for name in classes) for kind in ("tp", "fp", "fn"))
    return Tally(row["key"], tp, fp, fn)
