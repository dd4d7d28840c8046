"""A comparison as people read it: tables of text for the terminal and Markdown, and a page of HTML."""

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from roadseg import __version__
from roadseg.report.compare import RESAMPLES, ROAD_SHARE, Against, Comparison, Row, measures
from roadseg.report.html.facts import called, plain
from roadseg.report.html.page import fill
from roadseg.report.html.scores import difference_legend
from roadseg.report.kept import KeptPictures, Shot

SHOWN: Final = 10
"""Pictures that are listed where the runs disagree most; JSON and CSV have all."""
_BYTES: Final = 3_000_000
"""Of the pictures in a page; further ones are small."""
_COMMANDS: Final = {"roadseg/scores": "eval"}  # where a document is not called after its command
_NO_SHARES: Final = ("seconds", "frames per second", "loss of the best epoch")


@dataclass(frozen=True)
class Table:
    """Rows of text; the first column names what the others tell."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def number(name: str, value: float | None) -> str:
    """A headline number: a share in percent, a count as it is, a dash where it is undefined."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return str(value)
    return f"{value:.4g}" if name in _NO_SHARES else f"{100 * value:.2f} %"


def points(value: float) -> str:
    """A difference of shares in percentage points, signed."""
    return "–" if math.isnan(value) else f"{100 * value:+.2f}"


def is_sure(values: tuple[float, float, float]) -> bool:
    """Whether the interval leaves out 0."""
    _, low, high = values
    return low > 0 or high < 0


def tables(comparison: Comparison) -> list[Table]:
    """All that there is to tell, the most important first."""
    names = [run.name for run in comparison.runs]
    found = [
        Table(
            "As each run reported",
            ["", *names],
            [[m, *(number(m, run.headline.get(m)) for run in comparison.runs)] for m in measures(comparison)],
        )
    ]
    for one in comparison.against:
        rows = [
            [
                name,
                points(values[0]),
                f"{points(values[1])} to {points(values[2])}",
                "yes" if is_sure(values) else "no",
            ]
            for name, values in one.measures.items()
        ]
        found.append(Table(title(one), ["", "points", "95 % interval", "beyond chance"], rows))
    disagreements = _disagreements(comparison)
    return [*found, disagreements] if disagreements else found


def _disagreements(comparison: Comparison) -> Table | None:
    apart = _apart(comparison)
    if not apart:
        return None
    return Table(
        f"Where they disagree most ({comparison.measure})",
        ["picture", *(run.name for run in comparison.runs), "points apart"],
        [[r.picture, *(number("", v) for v in r.values), f"{100 * r.spread:.2f}"] for r in apart],
    )


def _apart(comparison: Comparison) -> list[Row]:
    """The pictures that are listed, where the runs disagree most."""
    return [row for row in comparison.rows[:SHOWN] if row.spread > 0]


def title(one: Against) -> str:
    """What a table of differences is of."""
    return f"{one.run} less {one.baseline}"


def notes(comparison: Comparison) -> list[str]:
    """What one must know to read the tables, in sentences."""
    said = [f"{run.name}: {note}." for run in comparison.runs for note in run.notes]
    for name, pictures in comparison.left_out.items():
        what = "1 picture" if len(pictures) == 1 else f"{len(pictures)} pictures"
        said.append(f"{name} has {what} that another run lacks; differences leave out what not all have.")
    return said


def tally_line(comparison: Comparison, one: Against) -> str:
    """On how many pictures a run is above the first one, and below."""
    more, less = ("finds more road", "less") if comparison.measure == ROAD_SHARE else ("is better", "worse")
    undefined = f"; {one.undefined} have no value in one of them" if one.undefined else ""
    return (
        f"{one.run} {more} than {one.baseline} on {one.higher} of {len(comparison.rows)} pictures, {less} on "
        f"{one.lower}, the same on {one.same}{undefined}."
    )


def method(comparison: Comparison) -> str:
    """How the intervals came about."""
    return (
        f"Differences are over the {len(comparison.rows)} pictures that all runs have. 95 % intervals: "
        f"paired bootstrap over pictures, {RESAMPLES} draws, seed {comparison.seed}, percentiles."
    )


# ---------------------------------------------------------------- Markdown


def to_markdown(comparison: Comparison) -> str:
    """The tables as GitHub-flavoured Markdown."""
    lines = [f"# {_marked(heading(comparison))}"]
    if said := notes(comparison):
        lines += ["", *(f"- {_marked(note)}" for note in said)]
    for table in tables(comparison):
        lines += ["", f"## {_marked(table.title)}", "", _line(table.columns)]
        lines.append("|" + "|".join([" --- ", *[" ---: "] * (len(table.columns) - 1)]) + "|")
        lines += map(_line, table.rows)
        lines += [
            f"\n{_marked(tally_line(comparison, one))}"
            for one in comparison.against
            if title(one) == table.title
        ]
    if comparison.against:
        lines += ["", _marked(method(comparison))]
    return "\n".join([*lines, "", f"roadseg {__version__}", ""])


def heading(comparison: Comparison) -> str:
    """The runs by name."""
    *names, last = [run.name for run in comparison.runs]
    return f"{', '.join(names)} and {last}" if names else last


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_marked, cells)) + " |"


def _marked(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return html.escape(re.sub(r"([\\`*_\[\]|~])", r"\\\1", " ".join(text.split())), quote=False)


# ---------------------------------------------------------------- HTML


def to_html(comparison: Comparison) -> str:
    """One page that needs nothing else: light or dark as the reader likes, every name escaped.

    Pictures are those that the runs kept, in their own pages and folders.
    """
    pictures = _pictures(comparison)
    return fill(
        "roadseg.report",
        "comparison.html",
        ("sort.js", "enlarge.js", "enlarge.css") if pictures["any"] else ("sort.js",),
        pictures=pictures,
        heading=heading(comparison),
        command=_COMMANDS.get(comparison.runs[0].schema, comparison.runs[0].schema.removeprefix("roadseg/")),
        runs=comparison.runs,
        notes=notes(comparison),
        headline=tables(comparison)[0],
        differences=[_pair(comparison, i) for i in range(len(comparison.against))],
        disagreements=_disagreements(comparison),
        method=method(comparison) if comparison.against else "",
        settings=_settings(comparison),
    )


def _pictures(comparison: Comparison) -> dict[str, Any]:
    """Each picture where the runs disagree most, as every run has it; None where it kept none."""
    rows = _apart(comparison)
    names = {row.picture for row in rows}
    runs = [KeptPictures(run, names) for run in comparison.runs] if rows else []
    found: list[Shot] = []
    lines = []
    for row in rows:
        shots = []
        for run, kept, value in zip(comparison.runs, runs, row.values, strict=True):
            spent = sum(len(shot.source) + len(shot.large) for shot in found)
            shot = kept.shot(row.picture, small=spent > _BYTES)
            found += [shot] if shot else []
            shots.append({"run": run.name, "value": number("", value), "shot": shot})
        lines.append({"name": row.picture, "apart": f"{100 * row.spread:.2f}", "shots": shots})
    classes = comparison.runs[0].classes
    return {
        "any": bool(found),
        "lines": lines,
        "measure": comparison.measure,
        "legend": difference_legend(classes) if any(shot.difference for shot in found) else [],
    }


def _pair(comparison: Comparison, index: int) -> dict[str, Any]:
    """A run against the first: its table with a bar for each interval, and a dot for each picture."""
    one = comparison.against[index]
    reach = max((abs(v) for values in one.measures.values() for v in values if not math.isnan(v)), default=0)
    reach = reach or 1.0
    rows = []
    for name, values in one.measures.items():
        shown = not any(map(math.isnan, values))
        middle, low, high = (50 + 48 * value / reach for value in values) if shown else (50.0, 50.0, 50.0)
        rows.append(
            {
                "name": name,
                "points": points(values[0]),
                "interval": f"{points(values[1])} to {points(values[2])}",
                "sure": "up" if values[1] > 0 else "down" if values[2] < 0 else "",
                "bar": {"low": low, "width": high - low, "middle": middle} if shown else None,
            }
        )
    return {
        "title": title(one),
        "tally": tally_line(comparison, one),
        "rows": rows,
        "dots": _dots(comparison, index + 1),
        "across": f"{one.baseline}: {comparison.measure}",
        "up": f"{one.run}: {comparison.measure}",
    }


def _dots(comparison: Comparison, index: int) -> dict[str, Any]:
    """Each picture by its value in the first run and in run `index`, on a square of 100 units."""
    pairs = [(row.picture, row.values[0], row.values[index]) for row in comparison.rows]
    known = [(name, x, y) for name, x, y in pairs if x is not None and y is not None]
    most = max((max(x, y) for _, x, y in known), default=1.0)
    least = min((min(x, y) for _, x, y in known), default=0.0)
    # fifths have quarters that are round; IoU ends at 100 %
    high = math.ceil(5 * most) / 5 if comparison.measure == ROAD_SHARE else 1.0
    low = min(math.floor(5 * least) / 5, high - 0.2)

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    return {
        "points": [
            {"x": place(x), "y": 100 - place(y), "title": f"{name}: {100 * x:.2f} % and {100 * y:.2f} %"}
            for name, x, y in known
        ],
        "ticks": [{"at": 25 * i, "label": f"{100 * (low + (high - low) * i / 4):.4g}"} for i in range(5)],
    }


def _settings(comparison: Comparison) -> list[dict[str, Any]]:
    names = dict.fromkeys(name for run in comparison.runs for name in run.settings)
    rows = []
    for name in names:
        values = [run.settings.get(name) for run in comparison.runs]
        rows.append(
            {
                "name": called(name),
                "values": list(map(plain, values)),
                "differs": any(v != values[0] for v in values),
            }
        )
    return sorted(rows, key=lambda row: not row["differs"])
