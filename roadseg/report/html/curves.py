"""Curves over the threshold, from histograms of the probability of road."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from roadseg.report.html import plots
from roadseg.report.html.page import Figure

_POINTS: Final = 400  # of a curve that is drawn: more are not seen
_BINS: Final = 16


def curve_figures(histogram: Sequence[Sequence[int]]) -> list[Figure]:
    """Precision over recall, IoU and F1 over the threshold, and reliability.

    histogram: two rows of counts of pixels, level l of L standing for the probability l / (L - 1): where
    there is no road, and where there is. No figures where the truth has no road.
    """
    counts = np.asarray(histogram, np.float64)
    false, true = (row[::-1].cumsum()[::-1] for row in counts)
    if not true[0]:
        return []
    threshold = np.linspace(0, 1, counts.shape[1])
    with np.errstate(invalid="ignore"):
        precision = true / (true + false)
    recall, iou = true / true[0], true / (true[0] + false)
    f1 = 2 * true / (true[0] + true + false)
    best, best_f = int(iou.argmax()), int(f1.argmax())
    evenly = np.linspace(0, len(threshold) - 1, min(_POINTS, len(threshold))).round().astype(int)
    over_recall = np.searchsorted(-recall, -np.linspace(1, 0, _POINTS)).clip(max=len(recall) - 1)
    over_recall = np.unique(np.append(over_recall, evenly))
    area = float(np.sum(-np.diff(recall, append=0) * np.nan_to_num(precision)))
    low = 0.0 if np.nanmin(precision) < 0.5 else 50.0

    def points(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> plots.Points:
        return (100 * x[at]).tolist(), (100 * y[at]).tolist()

    precision_recall = plots.lines(
        "Precision over recall",
        [("precision", points(recall, precision, over_recall))],
        xlabel="recall %",
        ylabel="precision %",
        mark=(100 * recall[best_f], 100 * precision[best_f], f"best F1 {100 * f1[best_f]:.1f}"),
        xlim=(0, 101),
        ylim=(low, 101),
    )
    over_threshold = plots.lines(
        "IoU and F1 over the threshold",
        [
            ("IoU", (threshold[evenly].tolist(), (100 * iou[evenly]).tolist())),
            ("F1", (threshold[evenly].tolist(), (100 * f1[evenly]).tolist())),
        ],
        xlabel="threshold",
        ylabel="%",
        mark=(threshold[best], 100 * iou[best], f"best IoU {100 * iou[best]:.2f} at {threshold[best]:.2f}"),
        xlim=(0, 1),
    )
    return [
        Figure("Precision over recall", precision_recall, f"Average precision {100 * area:.2f} %."),
        Figure("IoU and F1 over the threshold", over_threshold),
        Figure("Reliability", _reliability(counts), "A calibrated model lies on the dashed line."),
    ]


def _reliability(counts: np.ndarray) -> str:
    level = np.linspace(0, 1, counts.shape[1])
    place = (level * _BINS).astype(int).clip(max=_BINS - 1)
    pixels, road, weight = (
        np.bincount(place, values, _BINS) for values in (counts.sum(0), counts[1], counts.sum(0) * level)
    )
    there = pixels > 0
    said, true = 100 * weight[there] / pixels[there], 100 * road[there] / pixels[there]
    return plots.lines(
        "Reliability",
        [("observed", (said.tolist(), true.tolist()))],
        xlabel="probability of road, %",
        ylabel="share that is road, %",
        xlim=(0, 100),
        ylim=(0, 101),
        diagonal=True,
    )
