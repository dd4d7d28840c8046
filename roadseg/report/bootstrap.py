"""How sure a difference between two runs is: the paired bootstrap over pictures.

Pictures are drawn with replacement, the same ones for every run, so what is hard for all of them cancels.
Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile intervals).
"""

import warnings
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

RESAMPLES: Final = 10_000
LEVEL: Final = 0.95
_CHUNK: Final = 2_000_000  # draws held at once


def draws(pictures: int, seed: int, resamples: int = RESAMPLES) -> Iterator[Float64]:
    """How often each picture is drawn: float64 [resamples, pictures] in pieces, the same for one seed."""
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // pictures)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        picked = rng.integers(pictures, size=(rows, pictures)) + pictures * np.arange(rows)[:, None]
        times = np.bincount(picked.ravel(), minlength=rows * pictures)
        yield times.reshape(rows, pictures).astype(np.float64)


def interval(values: Float64) -> tuple[float, float]:
    """The percentile interval of resampled `values`, undefined ones (NaN) left out; NaN where all are."""
    tail = (1 - LEVEL) / 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all NaN
        low, high = np.nanquantile(values, (tail, 1 - tail))
    return float(low), float(high)
