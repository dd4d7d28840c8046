"""The parts of a page that tell how good masks are: headlines, classes, confusion, curves, best and worst."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from roadseg.media.overlay import FALSE, MISSED, RIGHT, VOID_GREY
from roadseg.report.html import plots
from roadseg.report.html.album import Pictures
from roadseg.report.html.page import (
    Cell,
    Figure,
    Figures,
    Gallery,
    Headline,
    Matrix,
    Picture,
    Section,
    Table,
    percent,
)
from roadseg.report.html.tally import Tally

IN_A_GROUP: Final = 4  # pictures, in each of worst, median and best
MOST_ROWS: Final = 2000  # a browser sorts them at once, and the page stays below a megabyte
_TABLE_COLUMNS: Final = (
    ("iou", "IoU %"),
    ("precision", "Precision %"),
    ("recall", "Recall %"),
    ("f1", "F1 %"),
)


@dataclass(frozen=True, slots=True)
class Scored:
    """What was scored. The dicts are those of `metrics.Scores` and `metrics.PerImageScores`."""

    classes: Sequence[str]
    counts: Sequence[Sequence[int]]
    """Rows truth, columns prediction, the last column (if there is one more) no class."""
    scores: Mapping[str, Any]
    per_image: Mapping[str, Any]
    tallies: Sequence[Tally]
    intervals: Mapping[str, Any]
    """[low, high] of each score, or None, as `metrics.bootstrap.confidence_intervals` gives them."""
    colors: Sequence[str] = ()
    """CSS colours of the classes."""

    @property
    def road(self) -> int | None:
        """The class that matters where there are two, as masks show it; None where all matter alike."""
        return 1 if len(self.classes) == 2 else None

    @property
    def judged_by(self) -> str:
        """The name of `score`."""
        return "mean IoU" if self.road is None else f"IoU of {self.classes[self.road]}"

    def score(self, tally: Tally) -> float:
        """What pictures are ranked by, 0..1: IoU of class 1 of two, else mean IoU; NaN if it is undefined."""
        return tally.mean_iou() if self.road is None else tally.iou(self.road)

    def ranked(self) -> list[Tally]:
        """The pictures that have a score, the worst first."""
        return sorted((t for t in self.tallies if not math.isnan(self.score(t))), key=self.score)


def headlines(scored: Scored) -> list[Headline]:
    """The numbers that a run is judged by, with 95 % intervals over pictures."""
    whole, between, road = scored.scores, scored.intervals, scored.road
    if road is None:
        names = {"mean_iou": "Mean IoU", "mean_accuracy": "Mean accuracy", "pixel_accuracy": "Pixel accuracy"}
        return [_headline(name, whole[key], between[key]) for key, name in names.items()]
    name = scored.classes[road]
    labels = {
        "iou": f"{name.capitalize()} IoU", "f1": "F1", "precision": "Precision", "recall": "Recall",
    }  # fmt: skip
    return [
        *(
            _headline(label, whole["per_class"][name][key], between["per_class"][name][key])
            for key, label in labels.items()
        ),
        _headline("Pixel accuracy", whole["pixel_accuracy"], between["pixel_accuracy"]),
    ]


def _headline(name: str, value: float | None, ends: Sequence[float] | None) -> Headline:
    between = f"95 %: {percent(ends[0], 1)} – {percent(ends[1], 1)}" if ends else None
    return Headline(name, percent(value), "" if value is None else "%", between)


def sections(
    scored: Scored,
    pictures: Pictures,
    link: Callable[[str], str | None] = lambda key: None,
    *,
    further: Table | None = None,
    curves: Sequence[Figure] = (),
) -> list[Section]:
    """Every part, in the order of the page. link: the address of a picture's own result, if there is one."""
    shots = {}
    ranked = scored.ranked()
    for tally in _extremes(ranked):
        if source := pictures.large(tally.key):
            caption = f"{scored.judged_by} {percent(scored.score(tally), 1)} %"
            shots[tally.key] = Picture(tally.key, source, caption)
    found: list[Section] = [class_table(scored), *([further] if further else [])]
    figures = list(curves)
    if len(ranked) > 1:
        values = [scored.score(tally) for tally in ranked]
        label = f"{scored.judged_by} of each picture"
        title = label[0].upper() + label[1:]
        figures.insert(0, Figure(title, plots.histogram(label, values, "IoU %")))
    if figures:
        found.append(Figures("Over the pictures and thresholds" if curves else "Over the pictures", figures))
    found.append(confusion(scored))
    if shots:
        found.append(_gallery(scored, ranked, shots))
    found.append(_every_picture(scored, pictures, link))
    return found


def class_table(scored: Scored) -> Table:
    """A row a class: the scores over all pixels, and IoU as a mean over pictures."""
    rows = []
    for k, name in enumerate(scored.classes):
        of_class = scored.scores["per_class"][name]
        each = scored.per_image["per_class"][name]["iou"]
        ends = scored.intervals["per_class"][name]["iou"]
        low, high = ends or (None, None)
        iou = of_class["iou"]
        rows.append(
            [
                Cell(name, swatch=scored.colors[k] if scored.colors else None),
                Cell(percent(iou), iou, bar=iou or 0.0, low=low, high=high),
                Cell(percent(each), each),
                *(Cell(percent(of_class[key]), of_class[key]) for key, _ in _TABLE_COLUMNS[1:]),
                Cell(_share(sum(scored.counts[k]), scored.scores["pixels"]), sum(scored.counts[k])),
            ]
        )
    heads = [("Class", False), ("IoU %", True), ("IoU per picture %", True)]
    heads += [(title, True) for _, title in _TABLE_COLUMNS[1:]] + [("Share of pixels %", True)]
    means = (scored.scores["mean_iou"], scored.per_image["mean_iou"])
    foot = [Cell("mean"), *(Cell(percent(mean)) for mean in means), *[Cell()] * 4]
    note = "Over all pixels of all pictures; void never counts."
    if len(scored.tallies) > 1:
        note += " The line on a bar is its 95 % interval: a bootstrap over the pictures."
    return Table("Classes", heads, rows, foot, note)


def confusion(scored: Scored) -> Matrix:
    """Of the pixels of each true class, how many were taken for which."""
    columns = list(scored.classes)
    if any(row[len(columns)] for row in scored.counts if len(row) > len(columns)):
        columns.append("no class")
    dense = len(columns) > 8
    cells = []
    for row in scored.counts:
        total = sum(row)
        shares = [cell / total if total else 0.0 for cell in row[: len(columns)]]
        texts = [_brief(share) if dense else f"{percent(share if total else None)} %" for share in shares]
        cells.append(
            [(t, s, f"{n:,}".replace(",", " ")) for t, s, n in zip(texts, shares, row, strict=False)]
        )
    note = "Rows are the truth, columns the prediction; each row adds up to 100 % of the pixels of its class."
    return Matrix("Confusion", scored.classes, columns, cells, note)


def difference_legend(classes: Sequence[str]) -> list[tuple[str, str]]:
    """What the colours of `overlay.difference` mean, as CSS colours."""
    grey = (css(VOID_GREY), "void: not judged")
    if len(classes) != 2:
        return [(css(FALSE), "taken for another class"), grey]
    name = classes[1]
    return [
        (css(RIGHT), f"{name}, and found"),
        (css(MISSED), f"missed: {name}, but not found"),
        (css(FALSE), f"false: found, but no {name}"),
        grey,
    ]


def css(color: Sequence[int]) -> str:
    """An RGB colour as CSS writes it."""
    return "#" + "".join(f"{part:02x}" for part in color)


def _extremes(ranked: Sequence[Tally]) -> list[Tally]:
    """The pictures that are shown: all of a few, else the worst, the median and the best."""
    if len(ranked) <= 3 * IN_A_GROUP:
        return list(ranked)
    middle = (len(ranked) - IN_A_GROUP) // 2
    return [*ranked[:IN_A_GROUP], *ranked[middle : middle + IN_A_GROUP], *ranked[-IN_A_GROUP:]]


def _gallery(scored: Scored, ranked: Sequence[Tally], shots: Mapping[str, Picture]) -> Gallery:
    shown = _extremes(ranked)
    if len(ranked) <= 3 * IN_A_GROUP:
        groups = [("", shown)]
        title = "Pictures, the worst first"
    else:
        size = IN_A_GROUP
        groups = [("Worst", shown[:size]), ("Median", shown[size:-size]), ("Best", shown[-size:][::-1])]
        title = "Worst, median and best pictures"
    filled = [(name, [shots[t.key] for t in group if t.key in shots]) for name, group in groups]
    note = f"By {scored.judged_by}; the prediction against the truth."
    return Gallery(title, [group for group in filled if group[1]], difference_legend(scored.classes), note)


def _every_picture(scored: Scored, pictures: Pictures, link: Callable[[str], str | None]) -> Table:
    ranked = scored.ranked()
    ranked += [tally for tally in scored.tallies if math.isnan(scored.score(tally))]
    rows = []
    for tally in ranked[:MOST_ROWS]:
        score = scored.score(tally)
        small, own = pictures.small(tally.key), link(tally.key)
        picture = small and Picture(tally.key, small, f"{scored.judged_by} {percent(score, 1)} %", own or "")
        values = [score, *_errors(scored, tally)]
        numbers = [Cell(percent(v), None if math.isnan(v) else v) for v in values]
        numbers[0] = Cell(numbers[0].text, numbers[0].value, bar=0.0 if math.isnan(score) else score)
        thumbnail = [Cell(picture=picture or None)] if pictures.small(ranked[0].key) else []
        rows.append([*thumbnail, Cell(tally.key, link=own), *numbers])
    heads = [("", False)] if rows and rows[0][0].text == "" else []
    heads += [("Picture", False), ("IoU %" if scored.road is not None else "Mean IoU %", True)]
    if scored.road is None:
        heads += [("Pixel accuracy %", True)]
        note = ""
    else:
        heads += [("Missed %", True), ("False %", True)]
        name = scored.classes[scored.road]
        note = f"Missed: of the true {name}. False: of what was taken for {name}."
    if len(ranked) > MOST_ROWS:
        note += f" The worst {MOST_ROWS} of {len(ranked)}; the CSV file beside this page has all."
    by = len(heads) - (2 if scored.road is None else 3)
    title = f"All {len(ranked)} pictures" if len(ranked) > 1 else "The picture"
    return Table(title, heads, rows, note=note.strip(), folded=len(ranked) > 12, sorted_by=by)


def _errors(scored: Scored, tally: Tally) -> list[float]:
    if scored.road is None:
        return [tally.pixel_accuracy()]
    return [1 - tally.recall(scored.road), 1 - tally.precision(scored.road)]


def _share(part: int, whole: int) -> str:
    return percent(part / whole if whole else None)


def _brief(share: float) -> str:
    return "" if share < 0.005 else f"{100 * share:.0f}"
