"""Shards of one job put together: the report that the whole would have left in one run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

from roadseg.documents import reading
from roadseg.engine.scoring import RoadCounts, road_counts, score_run
from roadseg.errors import ReportError
from roadseg.report.run import Row, RunReport, Shard

# Settings that shards may have of their own. Weights are told apart by their digest, wherever they lie, and
# every shard has its --shard on its command line.
_LISTED = ("command_line", "device", "weights")
_OWN = (*_LISTED, "engine", "seconds", "pictures_per_second")
_MOST_LISTED = 3

Item = TypeVar("Item")


@dataclass(frozen=True)
class Part(Generic[Item]):
    """A shard's items, where they were read from, and whether there should be more."""

    path: Path
    shard: Shard
    items: Sequence[Item]
    unfinished: bool = False


def in_order(parts: Sequence[Part[Item]], partial: bool) -> tuple[list[Item], list[str]]:
    """The items of all shards in the order of the job, and what is lacking.

    Raises ReportError for a shard that comes twice or has too much, and, without `partial`, for what lacks.
    """
    given: dict[int, Part[Item]] = {}
    for part in parts:
        before = given.setdefault(part.shard.index, part)
        if before is not part:
            raise ReportError(
                f"{part.path}: is shard {part.shard} again, after {before.path}; give each once"
            )
    count, inputs = parts[0].shard.count, parts[0].shard.inputs
    lacking = [f"{i}/{count} is missing" for i in range(1, count + 1) if i not in given]
    items: dict[int, Item] = {}
    for index, part in given.items():
        expected = len(range(index - 1, inputs, count))
        if part.unfinished or len(part.items) < expected:
            lacking.append(f"{index}/{count} is unfinished ({len(part.items)} of {expected} inputs)")
        if len(part.items) > expected:
            raise ReportError(
                f"{part.path}: has {len(part.items)} inputs, but shard {index}/{count} of {inputs} has "
                f"{expected}"
            )
        items |= {index - 1 + i * count: item for i, item in enumerate(part.items)}
    if lacking and not partial:
        raise ReportError(
            f"{parts[0].path.parent}: the shards are not complete: {'; '.join(lacking)}. Run them, or give "
            "--partial to do without."
        )
    return [item for _, item in sorted(items.items())], lacking


def merged_settings(every: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The settings of all shards as one: seconds add up; of others that are each one's own, the first few."""
    listed: dict[str, Any] = {}
    for name in _LISTED:
        values = dict.fromkeys(str(settings[name]) for settings in every if name in settings)
        more = f", ... ({len(values)} in all)" if len(values) > _MOST_LISTED else ""
        if values:
            listed[name] = ", ".join(islice(values, _MOST_LISTED)) + more
    paces = [(one["seconds"], one["pictures_per_second"]) for one in every if "pictures_per_second" in one]
    if seconds := sum(of_one for of_one, _ in paces):
        listed["seconds"] = round(seconds, 3)
        listed["pictures_per_second"] = round(sum(of_one * pace for of_one, pace in paces) / seconds, 3)
    return {**every[0], **listed}


def merge(shards: Sequence[tuple[Path, RunReport]], *, partial: bool = False) -> RunReport:
    """Put together the reports of shards, each with the path that it was read from.

    Rows come in the order of the job's inputs, so counts, scores and rows are those of a run that was not
    sharded. (The network rounds a batch by its size, so that in another batch a few pixels may have the next
    level in the histogram of probabilities; the sum is exact.) partial: shards may be missing or unfinished;
    the merged report's `stopped_by` says which.

    Raises ReportError for what is no shard, shards of different jobs (settings, weights, classes), a shard or
    an input that comes twice, and, without `partial`, missing or unfinished shards.
    """
    _, first = shards[0]
    for path, report in shards:
        _require_same_job(shards[0], (path, report))
    parts = []
    for path, report in shards:
        assert report.shard
        own = [row for row in report.rows if not row.earlier]
        parts.append(Part(path, report.shard, own, report.stopped_by is not None))
    rows, lacking = in_order(parts, partial)
    reports = [report for _, report in sorted(shards, key=lambda one: one[1].shard.index)]  # type: ignore[union-attr]
    merged = RunReport(
        command=first.command,
        settings=merged_settings([report.settings for report in reports]),
        classes=first.classes,
        rows=rows,
        earlier_runs=[run for report in reports for run in report.earlier_runs],
        started=min(report.started for report in reports),
        finished=max(report.finished for report in reports if report.finished),
        stopped_by="; ".join(f"shard {what}" for what in lacking) or None,
        replacing=any(report.replacing for report in reports),
    )
    own_names = {row.input for row in merged.rows}
    merged.rows += [
        row for report in reports for row in report.rows if row.earlier and row.input not in own_names
    ]
    _refuse_twice(merged.rows)
    score_run(merged, [_road(*shard) for shard in shards])
    return merged


def _require_same_job(first: tuple[Path, RunReport], other: tuple[Path, RunReport]) -> None:
    (first_path, one), (path, two) = first, other
    for where, report in (first, other):
        if report.shard is None:
            raise ReportError(
                f"{where}: is a whole run, no shard; only what `segment --shard` wrote is merged"
            )
    assert one.shard
    assert two.shard
    facts = {
        "number of shards": (one.shard.count, two.shard.count),
        "number of inputs": (one.shard.inputs, two.shard.inputs),
        "classes": (", ".join(one.classes), ", ".join(two.classes)),
    }
    require_same(first_path, path, facts, one.settings, two.settings)


def require_same(
    first: Path,
    other: Path,
    facts: Mapping[str, tuple[object, object]],
    settings: Mapping[str, Any],
    of_other: Mapping[str, Any],
) -> None:
    """ReportError where two shards differ in a fact (what each of them has), or in a setting that decides."""
    names = [name for name in dict.fromkeys([*settings, *of_other]) if name not in _OWN]
    for name, (before, now) in {
        **facts,
        **{name: (settings.get(name), of_other.get(name)) for name in names},
    }.items():
        if before != now:
            raise ReportError(
                f"{other}: is a shard of another run than {first}: {name} is {now}, there {before}; "
                "merge shards of one run only"
            )


def _road(path: Path, report: RunReport) -> RoadCounts | None:
    with reading(path, "run that shard again"):
        return road_counts(report)


def _refuse_twice(rows: Sequence[Row]) -> None:
    seen: set[str] = set()
    for row in rows:
        if row.input in seen:
            raise ReportError(f"{row.input}: is in two shards; each input may be counted once only")
        seen.add(row.input)
