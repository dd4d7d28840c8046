"""The record of a run: what became of each input, as JSON for programs and as a table for people.

The JSON keeps the raw confusion counts of every picture, so that the reports of shards add up.
The table opens in a spreadsheet.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args

from roadseg.documents import header, read_document, reading, to_json
from roadseg.errors import OutputError
from roadseg.media.find import REPORT_NAME
from roadseg.media.output import write_text
from roadseg.media.table import csv_text

_MOST_PIXELS: Final = 1 << 53  # what JSON's numbers hold exactly; no picture comes near
OUTLINE_COUNTS: Final = 6
"""How many numbers `metrics.boundary.BoundaryCounts` has, which comes with torch."""
Status = Literal["ok", "failed", "skipped"]
Counts = Sequence[
    Sequence[int]
]  # rows truth, columns prediction, as `metrics.ConfusionMatrix.to_list` gives them


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of one input."""

    input: str
    """Its name in this run: the path below the input folder, with `/`."""
    status: Status = "ok"
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Kind (mask, overlay, ...) -> path below the report's folder."""
    width: int | None = None
    height: int | None = None
    road_fraction: float | None = None
    """Share of its pixels that are road, 0..1."""
    seconds: float | None = None
    iou: float | None = None
    """Against its label, if there was one: of road for a road model, else the mean over classes."""
    counts: Counts | None = None
    boundary: Counts | None = None
    """Counts of outlines, as `metrics.boundary.BoundaryCounts`: of class 1 of two, else of every class."""
    error: str | None = None
    earlier: bool = False
    """Whether the row is of an earlier run into the same folder, which this one did not touch."""


_ROW: Final = tuple(f.name for f in fields(Row))


@dataclass(frozen=True, slots=True)
class Shard:
    """The part of a job that a run did: every `count`-th input, from the `index`-th on (from 1)."""

    index: int
    count: int
    inputs: int
    """Of the whole job."""

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def reports_in(folder: Path) -> list[Path]:
    """The JSON files of the runs into `folder`: of a whole one and of shards."""
    return sorted(path for path in folder.glob("report*.json") if REPORT_NAME.fullmatch(path.name))


@dataclass(kw_only=True)
class RunReport:
    """The rows of a run in the order of its inputs, and what the run was. Not for several threads at once."""

    command: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Plain types: weights, device, imgsz, ..."""
    classes: tuple[str, ...] = ()
    """What the rows and columns of the counts are."""
    rows: list[Row] = field(default_factory=list)
    scores: Mapping[str, Any] | None = None
    """Plain types: scores computed from the sum of all counts."""
    boundary: Mapping[str, Any] | None = None
    """Plain types: the scores of outlines, and the sums that they come from."""
    road: Mapping[str, Any] | None = None
    """Plain types: the histogram of the probability of road, over all scored pictures, and its scores."""
    earlier_runs: list[Mapping[str, Any]] = field(default_factory=list)
    """Settings and times of the runs that left rows here."""
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    finished: datetime | None = None
    """When it was written; None: it is not."""
    stopped_by: str | None = None
    """Why the run ended before its last input; None: it did not."""
    replacing: bool = False
    """Whether outputs may still be those of an earlier run, which this one is to replace but for its rows."""
    shard: Shard | None = None
    """None: the run did the whole job."""

    # ------------------------------------------------------------ while it runs

    def done(self, row: Row) -> Row:
        """Add the row of an input that is finished."""
        self.rows.append(row)
        return row

    def failed(self, input: str, error: Exception) -> Row:
        """Add the row of an input that could not be done, with the error's message."""
        return self.done(Row(input=input, status="failed", error=str(error)))

    def skipped(self, input: str, outputs: Mapping[str, str]) -> Row:
        """Add the row of an input whose outputs were there already."""
        return self.done(Row(input=input, status="skipped", outputs=outputs))

    def carry_over(self, earlier: "RunReport") -> None:
        """Take in the report of an earlier run into the same folder, which this one is about to replace.

        Skipped inputs get their measurements back, so that totals and scores cover them. Rows of inputs that
        were no part of this run follow at the end, marked `earlier`; they do not count for the exit code.
        """
        known = {row.input: row for row in earlier.rows if row.status != "failed"}
        self.rows = [
            replace(known[row.input], status="skipped", earlier=False)
            if row.status == "skipped" and row.width is None and row.input in known
            else row
            for row in self.rows
        ]
        own = {row.input for row in self.rows}
        self.rows += [replace(row, earlier=True) for row in earlier.rows if row.input not in own]
        self.earlier_runs = [*earlier.earlier_runs, earlier._about()]

    # ------------------------------------------------------------ its sums

    @property
    def exit_code(self) -> int:
        """0: all done or skipped; 3: some inputs failed; 1: all failed, or the run stopped before its end."""
        status = self._status()
        if self.stopped_by is not None or (status["failed"] and not status["ok"] + status["skipped"]):
            return 1
        return 3 if status["failed"] else 0

    @property
    def counts(self) -> list[list[int]] | None:
        """The sum of all rows' counts; None when no row has any."""
        matrices = [row.counts for row in self.rows if row.counts is not None]
        if not matrices:
            return None
        return [[sum(cells) for cells in zip(*lines, strict=True)] for lines in zip(*matrices, strict=True)]

    def totals(self) -> dict[str, Any]:
        """Numbers of inputs by what became of them, and means over the rows that have a value."""
        status = self._status()
        return {
            "inputs": status.total(),
            **{name: status[name] for name in get_args(Status)},
            "earlier": sum(row.earlier for row in self.rows),
            "scored": sum(row.counts is not None for row in self.rows),
            "mean_road_fraction": _mean(row.road_fraction for row in self.rows),
            "mean_iou_per_image": _mean(row.iou for row in self.rows),
            "seconds": None if self.finished is None else (self.finished - self.started).total_seconds(),
        }

    def standing(self, inputs: int, out: Path) -> str:
        """For people, after the run was stopped: how far it came with so many inputs, and how to go on."""
        status = self._status()
        done, what = status["ok"] + status["skipped"], "videos" if self.command == "video" else "pictures"
        return (
            f"{done} of {inputs} {what} are done in {out}: the same command goes on with --skip-existing "
            "(and without --overwrite)."
        )

    def _status(self) -> Counter[str]:
        return Counter(row.status for row in self.rows if not row.earlier)

    # ------------------------------------------------------------ on disk

    def write(self, folder: Path, name: str = "report") -> tuple[Path, Path]:
        """Write `name`.json and `name`.csv into `folder`, over older ones. Returns the paths. OutputError."""
        self.finished = datetime.now(UTC)
        json_path, csv_path = folder / f"{name}.json", folder / f"{name}.csv"
        try:
            write_text(csv_path, self.to_csv())
            write_text(json_path, to_json(self.to_dict()))
        except OutputError:
            self.finished = None
            raise
        return json_path, csv_path

    def to_dict(self) -> dict[str, Any]:
        """Plain types, as in the JSON file."""
        return {
            **header("segment"),
            **self._about(),
            "classes": list(self.classes),
            "totals": self.totals(),
            "counts": self.counts,
            "scores": self.scores,
            "boundary": self.boundary,
            "road": self.road,
            "earlier_runs": self.earlier_runs,
            "rows": [{name: getattr(row, name) for name in _ROW} for row in self.rows],
        }

    @classmethod
    def read(cls, path: Path) -> Self:
        """The report in a JSON file. OutputError when it is none, or of another version of roadseg."""
        with reading(path, "move it away, or give --overwrite"):
            return cls.from_dict(read_document(path)[1])

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The report that `to_dict` gave. ValueError, KeyError or TypeError when it is none."""
        if data["schema"] != header("segment")["schema"]:
            raise ValueError(f"it is {data['schema']}, not roadseg/segment")
        if not all(isinstance(name, str) for name in data["classes"]):
            raise ValueError(f"its classes are {data['classes']}, and no names")
        for row in data["rows"]:
            _require_row(row, len(data["classes"]))
        return cls(
            command=str(data["command"]),
            settings=dict(data["settings"]),
            classes=tuple(data["classes"]),
            rows=[Row(**{name: row[name] for name in _ROW if name in row}) for row in data["rows"]],
            scores=data["scores"],
            boundary=data.get("boundary"),  # older versions had neither
            road=data.get("road"),
            earlier_runs=list(data["earlier_runs"]),
            started=datetime.fromisoformat(data["started"]),
            finished=datetime.fromisoformat(data["finished"]),
            stopped_by=data["stopped_by"],
            replacing=bool(data.get("replacing")),  # older versions had none
            shard=Shard(**data["shard"]) if data["shard"] else None,
        )

    def _about(self) -> dict[str, Any]:
        return {
            "command": self.command,
            "started": self.started.isoformat(timespec="milliseconds"),
            "finished": self.finished and self.finished.isoformat(timespec="milliseconds"),
            "stopped_by": self.stopped_by,
            "replacing": self.replacing,
            "shard": self.shard and asdict(self.shard),
            "settings": self.settings,
        }

    def to_csv(self) -> str:
        """A row for each input."""
        kinds = list(dict.fromkeys(kind for row in self.rows for kind in row.outputs))
        facts = ["width", "height", "road_fraction", "seconds", "iou", "error"]
        rows = (
            [row.input, row.status]
            + [row.outputs.get(kind) for kind in kinds]
            + [_short(getattr(row, fact)) for fact in facts]
            for row in self.rows
        )
        return csv_text(["input", "status", *kinds, *facts], rows)


def _require_row(row: Mapping[str, Any], classes: int) -> None:
    """ValueError for a row that nothing can be counted with: of a file that was edited, or damaged."""
    numbers = (row[name] for name in ("width", "height", "road_fraction", "seconds", "iou"))
    counts = row["counts"]
    sound = (
        isinstance(row["input"], str)
        and row["status"] in get_args(Status)
        and all(isinstance(text, str) for pair in row["outputs"].items() for text in pair)
        and all(value is None or (type(value) in (int, float) and math.isfinite(value)) for value in numbers)
        and isinstance(row["error"], str | None)
        and isinstance(row["earlier"], bool)
    )
    if counts is not None:
        sound = sound and _is_table(counts, classes, classes + 1)
    if (outlines := row.get("boundary")) is not None:
        rows = 1 if classes == 2 else classes
        sound = sound and counts is not None and _is_table(outlines, rows, OUTLINE_COUNTS)
    if not sound:
        raise ValueError(f"the row of {row['input']!r} is damaged")


def _is_table(lines: Counts, rows: int, columns: int) -> bool:
    """Whether it is of that shape and holds numbers of pixels."""
    return (
        len(lines) == rows
        and all(len(line) == columns for line in lines)
        and all(type(n) is int and 0 <= n < _MOST_PIXELS for line in lines for n in line)
    )


def _mean(values: Iterable[float | None]) -> float | None:
    given = [value for value in values if value is not None]
    return math.fsum(given) / len(given) if given else None


def _short(value: object) -> object:
    return float(f"{value:.6g}") if isinstance(value, float) else value
