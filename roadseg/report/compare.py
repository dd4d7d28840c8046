"""Runs side by side: what each reported, how sure the differences are, and where the runs disagree most."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from roadseg.documents import header
from roadseg.errors import ReportError
from roadseg.media.table import csv_text
from roadseg.metrics.bootstrap import LEVEL, draws, interval
from roadseg.report.resampling import Float64, Resampler
from roadseg.report.run import Counts

ROAD_SHARE: Final = "road share"
RESAMPLES: Final = 10_000
"""Of the bootstrap: whether an interval leaves out 0 must not hang on its seed."""
_NOWHERE: Final = (math.nan, math.nan)
Difference = Mapping[str, tuple[float, float, float]]
"""Measure -> difference, and the low and the high end of its interval."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a document tells of a run: `headline` as it reported it, and what it measured of each picture."""

    name: str
    path: Path
    schema: str
    document: Mapping[str, Any] = field(repr=False)
    settings: Mapping[str, Any]
    classes: tuple[str, ...] = ()
    headline: Mapping[str, float | None]
    """Shares are 0..1; None: undefined."""
    counts: Mapping[str, Counts] = field(default_factory=dict)
    """Picture -> its confusion counts."""
    bands: Mapping[str, Counts] = field(default_factory=dict)
    """Picture -> pixels of the bands along outlines, in both and in either: a row for each class that has
    any."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Picture -> its share of road, where nothing was scored."""
    notes: tuple[str, ...] = ()
    """What one should know before one compares."""

    @property
    def pictures(self) -> Sequence[str]:
        return list(self.counts or self.shares)


@dataclass(frozen=True)
class Row:
    """A picture that all runs have, and what each measured; None: undefined there."""

    picture: str
    values: tuple[float | None, ...]
    spread: float
    """The largest value less the smallest; 0 with fewer than two."""


@dataclass(frozen=True)
class Against:
    """A run against the first one, over the pictures that all runs have."""

    run: str
    baseline: str
    measures: Difference
    higher: int
    lower: int
    same: int
    undefined: int
    """Pictures where one of the two has no value."""


@dataclass(frozen=True)
class Comparison:
    """`measure` names the rows' values; None: the runs measured no pictures."""

    runs: Sequence[Run]
    measure: str | None = None
    rows: Sequence[Row] = ()
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Run -> its pictures that another run lacks."""
    against: Sequence[Against] = ()
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The document of `roadseg report`, in plain types."""
        rows = [{"picture": r.picture, "values": list(r.values), "spread": r.spread} for r in self.rows]
        return {
            **header("comparison"),
            "compared": self.runs[0].schema,
            "runs": [
                {
                    "name": run.name,
                    "path": str(run.path),
                    "settings": dict(run.settings),
                    "headline": dict(run.headline),
                    "notes": list(run.notes),
                }
                for run in self.runs
            ],
            "pictures": None
            if self.measure is None
            else {
                "measure": self.measure,
                "common": len(self.rows),
                "left_out": {name: list(pictures) for name, pictures in self.left_out.items()},
                "rows": rows,
            },
            "bootstrap": {"resamples": RESAMPLES, "seed": self.seed, "level": LEVEL}
            if self.against
            else None,
            "differences": [
                {
                    "run": one.run,
                    "baseline": one.baseline,
                    "measures": {
                        name: dict(zip(("difference", "low", "high"), map(_defined, values), strict=True))
                        for name, values in one.measures.items()
                    },
                    "higher": one.higher,
                    "lower": one.lower,
                    "same": one.same,
                    "undefined": one.undefined,
                }
                for one in self.against
            ],
        }

    def to_csv(self) -> str:
        """A row for each picture; of runs without pictures, a row for each headline number."""
        names = [run.name for run in self.runs]
        if self.measure is None:
            return csv_text(
                ["measure", *names],
                ([m, *(run.headline.get(m) for run in self.runs)] for m in measures(self)),
            )
        return csv_text(
            ["picture", *(f"{name}: {self.measure}" for name in names), "spread"],
            ([row.picture, *row.values, row.spread] for row in self.rows),
        )


def measures(comparison: Comparison) -> list[str]:
    """The names of all headline numbers, in their order."""
    return list(dict.fromkeys(name for run in comparison.runs for name in run.headline))


def compare(runs: Sequence[Run], seed: int = 0) -> Comparison:
    """Compare `runs` with the first of them; of one run alone there is but the headline.

    Raises ReportError for runs of different commands or classes, the same run twice, runs without a picture
    in common, and pictures whose labels are not the same in all runs.
    """
    first = runs[0]
    for i, run in enumerate(runs):
        for before in runs[:i]:
            if run.document == before.document:
                raise ReportError(f"{run.path}: is the same run as {before.path}; give each run once")
        if run.schema != first.schema:
            raise ReportError(
                f"{run.path}: is of {run.schema}, but {first.path} of {first.schema}; compare runs "
                "of one command"
            )
        if run.classes != first.classes:
            raise ReportError(
                f"{run.path}: is scored by the classes {_listed(run)}, but {first.path} by {_listed(first)}; "
                "compare runs with the same classes"
            )
    if len(runs) == 1 or not any(run.pictures for run in runs):
        return Comparison(runs, seed=seed)
    for run in runs:
        if bool(run.counts) != bool(first.counts):
            bare, scored = (run, first) if first.counts else (first, run)
            raise ReportError(
                f"{bare.path}: has no scores, but {scored.path} has; run it with --labels, too, or compare "
                "it with runs without labels"
            )
    common = [key for key in first.pictures if all(key in (run.counts or run.shares) for run in runs)]
    if not common:
        others = ", ".join(str(run.path) for run in runs[1:])
        raise ReportError(
            f"{first.path}: has no picture in common with {others}; compare runs over the same pictures"
        )
    outlines = all(run.bands for run in runs)
    resamplers = [_resampler(run, first, common, outlines) for run in runs]
    values = [
        scorer.iou_N() if scorer else np.array([run.shares[key] for key in common])
        for run, scorer in zip(runs, resamplers, strict=True)
    ]
    rows = [
        Row(key, tuple(map(_defined, each)), _spread(each))
        for key, each in zip(common, zip(*(v.tolist() for v in values), strict=True), strict=True)
    ]
    differences = _differences(
        [_Scored(scorer, value) for scorer, value in zip(resamplers, values, strict=True)], seed
    )
    return Comparison(
        runs,
        measure=_measure(first),
        rows=sorted(rows, key=lambda row: -row.spread),
        left_out={
            run.name: gone for run in runs if (gone := [k for k in run.pictures if k not in set(common)])
        },
        against=[
            _against(run, first, difference, value, values[0])
            for run, difference, value in zip(runs[1:], differences, values[1:], strict=True)
        ],
        seed=seed,
    )


@dataclass(frozen=True)
class _Scored:
    """The pictures of a run, in the order of all runs."""

    resampler: Resampler | None
    values_N: Float64

    def scores(self, draws_BN: Float64) -> dict[str, Float64]:
        if self.resampler:
            return self.resampler.scores(draws_BN)
        return {ROAD_SHARE: draws_BN @ self.values_N / draws_BN.sum(1)}


def _differences(runs: Sequence[_Scored], seed: int) -> list[Difference]:
    """Of each run but the first against it."""
    pictures = len(runs[0].values_N)
    once = np.ones((1, pictures))
    observed = [run.scores(once) for run in runs]
    drawn: list[list[dict[str, Float64]]] = [
        [run.scores(draws_BN) for run in runs] for draws_BN in draws(pictures, seed, RESAMPLES)
    ]
    return [
        {
            name: (
                float(value[0] - observed[0][name][0]),
                *(interval(np.concatenate([piece[i][name] - piece[0][name] for piece in drawn])) or _NOWHERE),
            )
            for name, value in observed[i].items()
        }
        for i in range(1, len(runs))
    ]


def _resampler(run: Run, first: Run, common: Sequence[str], outlines: bool) -> Resampler | None:
    if not run.counts:
        return None
    for key in common:
        here, there = ([sum(line) for line in of.counts[key]] for of in (run, first))
        if here != there:
            raise ReportError(
                f"{run.path}: was scored against another label of {key} than {first.path} (pixels by class "
                f"{here}, there {there}); score both against the same labels, at the same size"
            )
    bands_NC2 = np.array([run.bands[key] for key in common], np.int64) if outlines else None
    return Resampler(np.array([run.counts[key] for key in common], np.int64), run.classes, bands_NC2)


def _against(run: Run, first: Run, measures: Difference, values_N: Float64, first_N: Float64) -> Against:
    difference = values_N - first_N
    return Against(
        run=run.name,
        baseline=first.name,
        measures=measures,
        higher=int((difference > 0).sum()),
        lower=int((difference < 0).sum()),
        same=int((difference == 0).sum()),
        undefined=int(np.isnan(difference).sum()),
    )


def _measure(run: Run) -> str:
    if not run.counts:
        return ROAD_SHARE
    return f"{run.classes[1]} IoU" if len(run.classes) == 2 else "mean IoU"


def _spread(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return max(known) - min(known) if known else 0.0


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _listed(run: Run) -> str:
    return ", ".join(run.classes[:8]) + (", ..." if len(run.classes) > 8 else "")
