"""Curves over the threshold, from histograms of the probability of road."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from roadseg.metrics.curves import RoadHistogram, reliability, road_curve
from roadseg.report.html import plots
from roadseg.report.html.page import Figure, percent

_POINTS: Final = 400  # of a curve that is drawn: more are not seen


def curve_figures(road: Mapping[str, Any] | None) -> list[Figure]:
    """Precision over recall, IoU over the threshold, and reliability.

    road: that section of scores.json. No figures without it, or where the truth has no road.
    """
    if road is None or not road["scores"]["road_pixels"]:
        return []
    histogram, scores = RoadHistogram(road["counts"]), road["scores"]
    curve = road_curve(histogram)
    last = len(curve.threshold) - 1
    evenly = np.linspace(0, last, _POINTS).round().astype(int)
    # evenly by recall, too: most levels lie where it hardly changes
    by_recall = np.searchsorted(-curve.recall, -np.linspace(1, 0, _POINTS)).clip(max=last)
    at = np.unique(np.append(evenly, by_recall))
    at = at[~np.isnan(curve.precision[at])]
    precision_recall = plots.lines(
        "Precision over recall",
        [("precision", ((100 * curve.recall[at]).tolist(), (100 * curve.precision[at]).tolist()))],
        xlabel="recall %",
        ylabel="precision %",
        mark=(100 * scores["recall"], 100 * scores["precision"], f"MaxF {percent(scores['max_f'])}"),
        xlim=(0, 101),
        ylim=(0 if np.nanmin(curve.precision) < 0.5 else 50, 101),
    )
    best = f"best {percent(scores['max_iou'])} at {scores['max_iou_threshold']:.2f}"
    over_threshold = plots.lines(
        "IoU over the threshold",
        [("IoU", (curve.threshold[evenly].tolist(), (100 * curve.iou[evenly]).tolist()))],
        xlabel="threshold",
        ylabel="IoU %",
        mark=(scores["max_iou_threshold"], 100 * scores["max_iou"], best),
        xlim=(0, 1),
        ylim=(0, 101),
    )
    area, error = percent(scores["average_precision"]), percent(scores["ece"])
    trust = f"A calibrated model lies on the dashed line; this one is off by {error} % on average (ECE)."
    return [
        Figure("Precision over recall", precision_recall, f"Average precision {area} %."),
        Figure("IoU over the threshold", over_threshold),
        Figure("Reliability", _reliability(histogram), trust),
    ]


def _reliability(histogram: RoadHistogram) -> str:
    pixels, probability, share = reliability(histogram)
    there = pixels > 0
    return plots.lines(
        "Reliability",
        [("observed", ((100 * probability[there]).tolist(), (100 * share[there]).tolist()))],
        xlabel="probability of road, %",
        ylabel="share that is road, %",
        xlim=(0, 100),
        ylim=(0, 101),
        diagonal=True,
    )
