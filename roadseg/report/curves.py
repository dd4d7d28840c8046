"""The course of a training: a table (results.csv), a picture (curves.png) and a document (report.json)."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from roadseg.documents import header
from roadseg.labels import LabelScheme
from roadseg.media.output import atomic_write, write_text
from roadseg.media.table import csv_text

# Okabe & Ito 2008: told apart by colour-blind readers too.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def write_results(path: Path, history: Sequence[dict[str, Any]]) -> None:
    """Write one line an epoch; a value that an epoch does not have stays empty. Raises OutputError."""
    names = list(dict.fromkeys(name for row in history for name in row))
    rows = ([_short(row.get(name)) for name in names] for row in history)
    write_text(path, csv_text(names, rows))


def _short(value: object) -> object:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def training_report(
    settings: dict[str, Any],
    scheme: LabelScheme,
    folder: Path,
    history: Sequence[dict[str, Any]],
    finished: bool,
) -> dict[str, Any]:
    """What report.json of a training holds, in plain types; finished: there will be no more epochs."""
    best = max(
        (row for row in history if row["score"] is not None), key=lambda row: row["score"], default=None
    )
    rows = [{k: None if v is not None and v != v else v for k, v in row.items()} for row in history]
    return {
        **header("train"),
        "settings": settings,
        "label_scheme": scheme.to_dict(),
        "folder": str(folder),
        "finished": finished,
        "stopped_early": finished and len(history) < settings["epochs"],
        "epochs": len(history),
        "best_epoch": best and best["epoch"],
        "best_score": best and best["score"],
        "seconds": round(sum(row["seconds"] for row in history), 1),
        "history": rows,
    }


def write_curves(path: Path, history: Sequence[dict[str, Any]]) -> None:
    """Draw loss and learning rate, and every validation score, over the epochs. Raises OutputError."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    losses.plot(epochs, [row["loss"] for row in history], color=COLORS[0], marker=".", label="training loss")
    losses.set(xlabel="epoch", ylabel="loss", title="Training")
    rates = losses.twinx()
    rates.plot(epochs, [row["lr"] for row in history], color="0.6", linestyle=":", label="learning rate")
    rates.set(ylabel="learning rate", yscale="log" if any(row["lr"] for row in history) else "linear")
    losses.legend(handles=[*losses.lines, *rates.lines], loc="upper right", frameon=False)
    _draw_scores(scores, [row for row in history if row["score"] is not None])
    for axes in (losses, scores):
        axes.grid(alpha=0.25)
        axes.spines[["top"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    atomic_write(path, image.getvalue())


def _draw_scores(axes: Axes, validated: Sequence[dict[str, Any]]) -> None:
    axes.set(xlabel="epoch", ylabel="score", title="Validation")
    if not validated:
        return
    names = [n for n in validated[-1] if n.endswith(("_road_iou", "_miou", "_pixel_accuracy"))]
    for i, name in enumerate(names):
        accuracy = name.endswith("_pixel_accuracy")
        axes.plot(
            [row["epoch"] for row in validated],
            [row.get(name, math.nan) for row in validated],
            color=COLORS[i // 2 % len(COLORS)],
            linestyle="--" if accuracy else "-",
            alpha=0.5 if accuracy else 1.0,
            marker="" if accuracy else ".",
            label=name.replace("_", " "),
        )
    best = max(validated, key=lambda row: row["score"])
    axes.axvline(best["epoch"], color="0.5", linewidth=0.8)
    axes.annotate(
        f" best {best['score']:.4f}", (best["epoch"], 0.02), xycoords=("data", "axes fraction"), color="0.4"
    )
    axes.legend(loc="lower right", frameon=False, fontsize="small")
