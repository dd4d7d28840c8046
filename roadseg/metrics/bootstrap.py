"""How sure a score is, or the difference of two runs: intervals from drawing the pictures again.

The pictures of a data set are a sample of all that might have been taken. The percentile bootstrap draws as
many of them, with replacement, again and again, scores every draw by the sum of its counts, and reports the
quantiles between which most of those scores lie. Two runs are drawn alike (a paired bootstrap): what is hard
for both cancels in their difference.

Source: Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13. The unit that is drawn is
a picture, not a pixel: pixels of one picture depend on each other. So do frames of one drive; intervals over
pictures of few drives are too narrow.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from roadseg.metrics.confusion import ConfusionMatrix

RESAMPLES: Final = 1000
LEVEL: Final = 0.95
_CHUNK: Final = 2_000_000  # draws held at once

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


def draws(pictures: int, seed: int, resamples: int = RESAMPLES) -> Iterator[Float64]:
    """How often each picture is drawn: float64 [resamples, pictures] in pieces, the same for one seed."""
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // pictures)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        picked = rng.integers(pictures, size=(rows, pictures)) + pictures * np.arange(rows)[:, None]
        times = np.bincount(picked.ravel(), minlength=rows * pictures)
        yield times.reshape(rows, pictures).astype(np.float64)


def interval(values: Float64, level: float = LEVEL) -> tuple[float, float] | None:
    """The percentile interval of resampled `values`, undefined ones (NaN) left out; None where all are."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resampled_sums(counts: Int64, resamples: int, seed: int) -> Iterator[Int64]:
    """The sum of the counts of as many pictures as there are, drawn with replacement; `resamples` times.

    counts: one entry per picture, [N, ...].
    """
    flat = counts.reshape(len(counts), -1).astype(np.float64)  # sums below 2^53 are exact, and fast
    for draws_BN in draws(len(counts), seed, resamples):
        yield from (draws_BN @ flat).astype(np.int64).reshape(-1, *counts.shape[1:])


def class_counts(matrix: ConfusionMatrix) -> Int64:
    """What the scores of a matrix need: tp, pixels in the truth, pixels predicted, int64 [K, 3]."""
    counts = np.array(matrix.to_list(), np.int64)
    square = counts[:, :-1]
    return np.stack([square.diagonal(), counts.sum(axis=1), square.sum(axis=0)], axis=1)


def confidence_intervals(
    matrices: Sequence[ConfusionMatrix],
    classes: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> dict[str, Any]:
    """Intervals of the scores of all pictures together, from the matrix of each; plain types.

    A score's entry is [low, high]; None where it is undefined in every draw, or there is one picture only.
    """
    drawn: list[dict[str, Float64]] = []
    if len(matrices) > 1:
        counts = np.stack([class_counts(matrix) for matrix in matrices])
        drawn = [_scores(sums) for sums in resampled_sums(counts, resamples, seed)]

    def between(name: str, k: int | None = None) -> list[float] | None:
        ends = interval(np.array([draw[name] if k is None else draw[name][k] for draw in drawn]), level)
        return list(ends) if ends else None

    return {
        "level": level,
        "resamples": resamples,
        "seed": seed,
        "images": len(matrices),
        **{name: between(name) for name in _OVERALL},
        "per_class": {
            name: {score: between(score, k) for score in _OF_CLASS} for k, name in enumerate(classes)
        },
    }


_OVERALL: Final = ("mean_iou", "mean_f1", "mean_accuracy", "pixel_accuracy", "frequency_weighted_iou")
_OF_CLASS: Final = ("iou", "precision", "recall", "f1")


def _scores(sums_K3: Int64) -> dict[str, Float64]:
    """The scores as in `confusion.scores`, of counts [K, 3]."""
    tp, truth, predicted = sums_K3.T.astype(np.float64)
    pixels = truth.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        iou, recall = tp / (truth + predicted - tp), tp / truth
        f1 = 2 * tp / (truth + predicted)
        return {
            "iou": iou,
            "precision": tp / predicted,
            "recall": recall,
            "f1": f1,
            "mean_iou": _mean(iou),
            "mean_f1": _mean(f1),
            "mean_accuracy": _mean(recall),
            "pixel_accuracy": tp.sum() / pixels,
            "frequency_weighted_iou": (truth * iou)[truth > 0].sum() / pixels,
        }


def _mean(values: Float64) -> Float64:
    """Mean of the values that are not NaN; NaN without any."""
    defined = values[~np.isnan(values)]
    return np.asarray(defined.mean() if len(defined) else np.nan)
