"""The page of `roadseg segment`: scores where there were labels, else how much road there is."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import fmean
from typing import Any, Final

from roadseg import __version__
from roadseg.media.overlay import Color
from roadseg.metrics import ConfusionMatrix
from roadseg.metrics.bootstrap import confidence_intervals
from roadseg.report.html import plots
from roadseg.report.html.album import NoPictures, Pictures
from roadseg.report.html.curves import curve_figures
from roadseg.report.html.facts import facts
from roadseg.report.html.further import further_scores
from roadseg.report.html.page import (
    Cell,
    Figure,
    Figures,
    Gallery,
    Headline,
    Page,
    Picture,
    Section,
    Table,
    address,
    percent,
)
from roadseg.report.html.scores import IN_A_GROUP, MOST_ROWS, Scored, css, headlines, sections
from roadseg.report.html.tally import Tally
from roadseg.report.run import Row, RunReport

_NONE: Final = NoPictures()


def segment_page(report: RunReport, pictures: Pictures = _NONE, colors: Sequence[Color] = ()) -> Page:
    """The page of a run over pictures: scores where there were labels, else how much road there is.

    colors: of each class, as `pictures` show it.
    """
    totals = report.totals()
    rate = totals["seconds"] and totals["ok"] and f"{totals['ok'] / totals['seconds']:.1f} pictures/s"
    counted = ", ".join(f"{totals[name]} {name}" for name in ("ok", "skipped", "failed") if totals[name])
    page = Page(
        command=report.command,
        title="Road in pictures" if "road" in report.classes else "Classes in pictures",
        subtitle=f"{totals['inputs']} pictures: {counted or 'none'}",
        warning=f"The run stopped before its end: {report.stopped_by}" if report.stopped_by else "",
        facts=facts(
            report.settings,
            time=totals["seconds"] is not None and f"{totals['seconds']:.1f} s",
            speed=rate or None,
            started=_when(report.started),
            curves=_no_curves(report),
            roadseg_version=__version__,
        ),
    )
    rows = {row.input: row for row in report.rows}

    def link(key: str) -> str | None:
        outputs = rows[key].outputs
        path = outputs.get("overlay") or outputs.get("mask")
        return address(path) if path else None

    if failed := _failures(report.rows):
        page.sections.append(failed)
    if report.scores and (counts := report.counts):
        of_pictures = [(row.input, row.counts) for row in report.rows if row.counts]
        tallies = [Tally.from_counts(*each) for each in of_pictures]
        whole, each = (report.scores[part] for part in ("global", "per_image"))
        matrices = [ConfusionMatrix.from_counts(counts_of_it) for _, counts_of_it in of_pictures]
        between = confidence_intervals(matrices, report.classes)
        scored = Scored(report.classes, counts, whole, each, tallies, between)
        page.headlines = headlines(scored)
        further = further_scores(
            {"boundary": report.boundary, "road": report.road}, {"scores": whole, "confidence": between}
        )
        curves = curve_figures(report.road)
        page.sections += sections(scored, pictures, link, further=further, curves=curves)
    else:
        shares = [row for row in report.rows if row.road_fraction is not None]
        page.headlines = _shares(report, totals, shares)
        page.sections += _unscored(report, shares, pictures, colors, link)
    return page


def _no_curves(report: RunReport) -> str | None:
    """Why there are no curves over the threshold, although there are scores and a road."""
    if not report.scores or report.road or not (len(report.classes) == 2 or "road" in report.classes):
        return None
    return "left out: of the pictures that were scored in an earlier run, their part cannot be told"


def _when(time: datetime) -> str:
    return time.astimezone().strftime("%Y-%m-%d %H:%M")


def _failures(rows: Sequence[Row]) -> Table | None:
    failed = [[Cell(row.input), Cell(row.error or "")] for row in rows if row.status == "failed"]
    title = f"{len(failed)} inputs failed" if len(failed) > 1 else "One input failed"
    shown = failed[:MOST_ROWS]
    note = f"The first {MOST_ROWS}; the CSV file beside this page has all." if len(failed) > MOST_ROWS else ""
    return Table(title, [("Input", False), ("Why", False)], shown, note=note) if failed else None


def _shares(report: RunReport, totals: Mapping[str, Any], rows: Sequence[Row]) -> list[Headline]:
    found = [Headline("Pictures", f"{totals['ok'] + totals['skipped']}")]
    if rows:
        shares = [row.road_fraction or 0.0 for row in rows]
        found.append(Headline("Road, on average", percent(fmean(shares), 1), "% of a picture"))
        found.append(Headline("Without any road", str(sum(share == 0 for share in shares)), "pictures"))
    if totals["seconds"]:
        found.append(Headline("Speed", f"{totals['ok'] / totals['seconds']:.1f}", "pictures/s"))
    return found


def _unscored(
    report: RunReport, rows: Sequence[Row], pictures: Pictures, colors: Sequence[Color], link: Any
) -> list[Section]:
    found: list[Section] = []
    shares = [row.road_fraction or 0.0 for row in rows]
    ranked = sorted(rows, key=lambda row: row.road_fraction or 0.0)
    shots: dict[str, Picture] = {}

    def gather(group: Sequence[Row]) -> list[Picture]:
        for row in group:
            if row.input not in shots and (source := pictures.large(row.input)):
                shots[row.input] = Picture(row.input, source, f"road {percent(row.road_fraction, 1)} %")
        return [shots[row.input] for row in group if row.input in shots]

    if len(ranked) > 1:
        svg = plots.histogram("Road in each picture", shares, "road, % of the picture")
        found.append(Figures("Over the pictures", [Figure("Road in each picture", svg)]))
    size = IN_A_GROUP
    middle = (len(ranked) - size) // 2
    groups = [("", list(rows))]
    if len(ranked) > 3 * size:
        typical = ranked[middle : middle + size]
        groups = [("Least road", ranked[:size]), ("Median", typical), ("Most road", ranked[-size:][::-1])]
    filled = [(name, shown) for name, group in groups if (shown := gather(group))]
    if filled:
        legend = [(css(color), name) for color, name in zip(colors, report.classes, strict=False) if color]
        found.append(Gallery("Examples", filled, legend))
    every = [row for row in report.rows if row.status != "failed"]
    with_pictures = any(pictures.small(row.input) for row in every)
    lines = []
    for row in every[:MOST_ROWS]:
        small = pictures.small(row.input)
        caption = "" if row.road_fraction is None else f"road {percent(row.road_fraction, 1)} %"
        shot = Picture(row.input, small, caption, link(row.input) or "") if small else None
        size_text = f"{row.width} × {row.height}" if row.width else "–"
        numbers = [
            Cell(percent(row.road_fraction, 1), row.road_fraction, bar=row.road_fraction),
            Cell(size_text, float((row.width or 0) * (row.height or 0))),
            Cell("–" if row.seconds is None else f"{row.seconds:.2f}", row.seconds),
        ]
        lines.append(
            [
                *([Cell(picture=shot)] if with_pictures else []),
                Cell(row.input, link=link(row.input)),
                *numbers,
            ]
        )
    heads = [("", False)] if with_pictures else []
    heads += [("Picture", False), ("Road %", True), ("Size", True), ("Seconds", True)]
    note = f"The first {MOST_ROWS}; the CSV file beside this page has all." if len(every) > MOST_ROWS else ""
    if lines:
        title = f"All {len(every)} pictures" if len(every) > 1 else "The picture"
        found.append(Table(title, heads, lines, note=note, folded=len(lines) > 12))
    return found
