"""The page of `roadseg train`, from the documents that it leaves behind."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from roadseg import __version__
from roadseg.errors import OutputError
from roadseg.report.html import plots
from roadseg.report.html.album import NoPictures, Pictures
from roadseg.report.html.evaluation import read_scored, scored_sections
from roadseg.report.html.facts import facts, plain
from roadseg.report.html.page import Cell, Figure, Figures, Gallery, Headline, Page, Picture, Section, Table
from roadseg.report.html.scores import headlines

VALIDATION: Final = "val"  # folder of the best epoch's scores, one below it for each data set
_FIRST: Final = (
    "command_line",
    "data",
    "model",
    "classes",
    "weights",
    "device",
    "imgsz",
    "batch_size",
    "lr",
    "seed",
)
_HEADS: Final = {
    "epoch": "Epoch", "lr": "Learning rate", "loss": "Loss", "score": "Score", "seconds": "Seconds",
}  # fmt: skip
_FORMS: Final = {"epoch": ".0f", "skipped": ".0f", "lr": ".2e", "seconds": ".1f"}
Rows = Sequence[Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Course:
    """What a training did: its settings, a row for each epoch, and of them those that were validated."""

    config: Mapping[str, Any]
    rows: Rows
    validated: Rows
    seconds: float

    @property
    def best(self) -> Mapping[str, float] | None:
        """The row of the best epoch; None where none was validated."""
        return max(self.validated, key=lambda row: row["score"], default=None)


def read_course(folder: Path) -> Course:
    """The course of the training in `folder`, from `config.json` and `results.csv`. Raises OutputError."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        with (folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
            rows = [{k: float(v) if v else math.nan for k, v in row.items()} for row in csv.DictReader(file)]
        validated = [row for row in rows if not math.isnan(row["score"])]
        return Course(config, rows, validated, sum(row["seconds"] for row in rows))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{folder}: holds no training that a page can be made from ({error!r})") from error


def sheet_path(folder: Path, epoch: int) -> Path:
    """Where the picture of predictions of an epoch (from 1) lies in the folder of a training."""
    return folder / "samples" / f"epoch_{epoch:04d}.jpg"


def train_page(
    folder: Path,
    sheet: str | None = None,
    ran: Mapping[str, Any] | None = None,
    shelves: Mapping[str, Pictures] | None = None,
) -> Page:
    """The page of a training, from `config.json`, `results.csv` and `val/` in `folder`. Raises OutputError.

    sheet: the address of a picture of predictions of the best epoch; ran: what no document says
    (command_line, device, and pictures of an epoch); shelves: data set -> the pictures of its val part.
    """
    course = read_course(folder)
    config, rows, best, seconds = course.config, course.rows, course.best, course.seconds
    told = {key: config[key] for key in _FIRST if key in config} | dict(ran or {})
    if "pictures" in told and seconds:  # kept in tenths of a second, of which tiny epochs take none
        told["speed"] = f"{told['pictures'] * len(rows) / seconds:.1f} pictures/s, validation included"
    page = Page(
        command="train",
        title=folder.resolve().name,
        subtitle=f"{len(rows)} of {config['epochs']} epochs, {_duration(seconds)}",
        facts=facts(told, time=_duration(seconds), roadseg_version=__version__),
    )
    if best:
        page.subtitle += f"; the best is epoch {best['epoch']:.0f}"
    page.sections.append(Figures("Course", _curves(rows, course.validated, best)))
    page.sections += _best(folder, page, shelves or {})
    if sheet and best:
        shot = Picture("Picture, truth, prediction", sheet, f"epoch {best['epoch']:.0f}")
        page.sections.append(Gallery("Predictions", [("", [shot])], wide=True))
    page.sections.append(_epochs(rows))
    others = [[Cell(key), Cell(plain(value))] for key, value in config.items()]
    page.sections.append(Table("Recipe", [("Setting", False), ("Value", False)], others, folded=True))
    return page


def _best(folder: Path, page: Page, shelves: Mapping[str, Pictures]) -> list[Section]:
    """What `eval` tells of the best epoch on each data set; the headlines are those of the first ones."""
    found: list[Section] = []
    folders = sorted((folder / VALIDATION).glob("*/scores.json"))
    for path in folders:
        document, scored = read_scored(path.parent)
        name, epoch = path.parent.name, document["settings"]["epoch"]
        page.headlines += [
            Headline(f"{h.name}, {name}" if len(folders) > 1 else h.name, h.value, h.unit, h.interval)
            for h in headlines(scored)[: 2 if len(folders) > 1 else None]
        ]
        found += [
            replace(section, title=f"{section.title} – {name} val, epoch {epoch}")
            for section in scored_sections(document, scored, shelves.get(name, NoPictures()))
        ]
    return found


def _curves(rows: Rows, validated: Rows, best: Mapping[str, float] | None) -> list[Figure]:
    epochs = [row["epoch"] for row in rows]
    over: dict[str, Any] = {"xlabel": "epoch", "integer": True}
    loss = plots.lines(
        "Training loss", [("loss", (epochs, [row["loss"] for row in rows]))], ylabel="loss", **over
    )
    rates = [row["lr"] for row in rows]
    rate = plots.lines("Learning rate", [("rate", (epochs, rates))], ylabel="learning rate", **over)
    figures = [Figure("Training loss", loss), Figure("Learning rate", rate)]
    kinds = {"_road_iou": "IoU of road", "_miou": "Mean IoU", "_pixel_accuracy": "Pixel accuracy"}
    at = [row["epoch"] for row in validated]
    for suffix, title in reversed(kinds.items()) if validated else ():
        names = [name for name in validated[-1] if name.endswith(suffix)]
        series = [(name.removesuffix(suffix), (at, [100 * row[name] for row in validated])) for name in names]
        mark = None
        if best and len(names) == 1 and suffix != "_pixel_accuracy":
            mark = (best["epoch"], 100 * best["score"], f"best {100 * best['score']:.2f}")
        if series:
            svg = plots.lines(f"{title}, validation", series, ylabel="%", mark=mark, **over)
            figures.insert(0, Figure(f"{title}, validation", svg))
    return figures


def _epochs(rows: Rows) -> Table:
    names = list(rows[0]) if rows else []
    lines = [
        [Cell(_number(name, row[name]), row[name] if row[name] == row[name] else None) for name in names]
        for row in rows
    ]
    titles = [_HEADS.get(name) or name.replace("_", " ").replace("iou", "IoU") for name in names]
    heads = [
        (title + (" %" if _is_share(name) else ""), True) for name, title in zip(names, titles, strict=True)
    ]
    return Table("Epochs", heads, lines, folded=len(lines) > 12, sorted_by=0)


def _is_share(name: str) -> bool:
    return name == "score" or name.endswith(("_iou", "_miou", "_accuracy"))


def _number(name: str, value: float) -> str:
    if math.isnan(value):
        return "–"
    if _is_share(name):
        return f"{100 * value:.2f}"
    return f"{value:{_FORMS.get(name, '.4f')}}"


def _duration(seconds: float) -> str:
    """As 2 h 05 min, 3 min 20 s or 12.5 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest:02d} s"
