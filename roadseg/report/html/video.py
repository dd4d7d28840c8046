"""The page of `roadseg video`, from the documents that it leaves behind."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from roadseg.errors import OutputError
from roadseg.report.html import plots
from roadseg.report.html.facts import facts
from roadseg.report.html.page import Cell, Figure, Figures, Gallery, Headline, Page, Picture, Table

_TOLD: Final = (
    "command_line", "input", "weights", "weights_sha256", "device", "engine", "imgsz", "threshold", "view",
    "smooth", "codec",
)  # fmt: skip

_CAPTION: Final = (
    "Temporal consistency: IoU of the road with that of the frame before, moved along with the picture (mTC, "
    "Varghese et al. 2020). It is lower where masks flicker, and does not tell whether they are right. The "
    "first frame has none, nor has one after a cut."
)


def video_page(stem: Path, frames: Sequence[tuple[float, str]] = ()) -> Page:
    """The page of a video, from `stem`.json and `stem`.csv; frames: seconds and address of pictures.

    Raises OutputError.
    """
    path = stem.with_name(stem.name + ".json")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        with stem.with_name(stem.name + ".csv").open(encoding="utf-8-sig", newline="") as file:
            rows = [
                {key: float(value or "nan") for key, value in row.items()} for row in csv.DictReader(file)
            ]
        return _page(document, rows, frames)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path}: is no video's report that a page can be made from ({error!r})") from error


def _page(document: Mapping[str, Any], rows: Sequence[Mapping[str, float]], frames: Any) -> Page:
    settings = {key: value for key, value in document["settings"].items() if key in _TOLD}
    written, seconds = document["frames_written"], document["seconds"]
    times, road, changed = (
        [row[name] for row in rows] for name in ("seconds", "road_percent", "changed_percent")
    )
    sure, steady = ([100 * row[name] for row in rows] for name in ("confidence", "consistency"))
    told = {"damaged": "packets or frames were damaged", "missing": "frames are missing"}
    problems = [f"{document[key]} {what}" for key, what in told.items() if document[key]]
    if document["stopped_by"]:
        problems.append(f"it was {document['stopped_by']} before its end")
    page = Page(
        command="video",
        title=f"Road in {Path(str(settings.get('input', 'a video'))).name}",
        subtitle=f"{written} frames, {document['width']} × {document['height']}, "
        f"{document['frames_per_second']:.4g} frames/s",
        warning=("Not all is well: " + "; ".join(problems) + ".") if problems else "",
        headlines=[
            Headline("Confidence", f"{100 * document['mean_confidence']:.1f}", "%"),
            Headline("Changed per frame", f"{document['mean_changed_percent']:.2f}", "% of a frame"),
            Headline("Speed", f"{written / seconds:.1f}", "frames/s"),
        ],
        facts=facts(
            settings,
            source=f"{document['codec']}, {document['frames_per_second']:.6g} frames/s",
            frames=written,
            time=f"{seconds:.1f} s",
            roadseg_version=document["roadseg_version"],
        ),
    )
    panels: list[tuple[str, str, Sequence[float], str | None]] = [
        ("Changed since the frame before", "% of the frame", changed, "zero"),
        ("Confidence: mean probability of the class that each pixel shows", "%", sure, None),
    ]
    caption = ""
    if (share := document["mean_road_percent"]) is not None:
        page.headlines.insert(0, Headline("Road, on average", f"{share:.1f}", "% of a frame"))
        panels.insert(0, ("Road", "% of the frame", road, "zero"))
    if (consistent := document["mean_consistency"]) is not None:
        page.headlines.insert(-1, Headline("Temporal consistency", f"{100 * consistent:.2f}", "%"))
        panels.append(("Temporal consistency", "%", steady, None))
        caption = _CAPTION
    course = plots.over_time("Road, its change, confidence and consistency over time", times, panels)
    page.sections.append(Figures("Over time", [Figure("", course, caption, wide=True)]))
    if frames:
        shots = [Picture(f"{at:.1f} s", source) for at, source in frames]
        page.sections.insert(0, Gallery("Frames", [("", shots)]))
    notes = [*document["passed_over"], *document["left_out"]]
    if notes:
        page.sections.append(
            Table("What was passed over or left out", [("What", False)], [[Cell(n)] for n in notes])
        )
    return page
