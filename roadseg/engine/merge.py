"""Shards of one segmentation put together: the report that the whole job would have left in one run."""

from collections.abc import Sequence
from pathlib import Path

from roadseg.documents import reading
from roadseg.engine.scoring import RoadCounts, road_counts, score_run
from roadseg.errors import ReportError
from roadseg.report.run import Row, RunReport

# Settings that shards may have of their own. Weights are told apart by their digest, wherever they lie, and
# every shard has its --shard on its command line.
_OWN = ("command_line", "device", "weights")


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
    given: dict[int, tuple[Path, RunReport]] = {}
    for path, report in shards:
        assert report.shard
        index = report.shard.index
        if index in given:
            raise ReportError(
                f"{path}: is shard {report.shard} again, after {given[index][0]}; give each once"
            )
        given[index] = path, report
    assert first.shard
    count, inputs = first.shard.count, first.shard.inputs
    lacking = [f"{i}/{count} is missing" for i in range(1, count + 1) if i not in given]
    rows: dict[int, Row] = {}
    for index, (path, report) in given.items():
        own = [row for row in report.rows if not row.earlier]
        expected = len(range(index - 1, inputs, count))
        if report.stopped_by is not None or len(own) < expected:
            lacking.append(f"{index}/{count} is unfinished ({len(own)} of {expected} inputs)")
        if len(own) > expected:
            raise ReportError(
                f"{path}: has {len(own)} inputs, but shard {index}/{count} of {inputs} has {expected}"
            )
        rows |= {index - 1 + i * count: row for i, row in enumerate(own)}
    if lacking and not partial:
        raise ReportError(
            f"{shards[0][0].parent}: the shards are not complete: {'; '.join(lacking)}. Run them, or give "
            "--partial to do without."
        )
    reports = [report for _, (_, report) in sorted(given.items())]
    merged = RunReport(
        command=first.command,
        settings={
            **first.settings,
            **{name: _listed(reports, name) for name in _OWN if name in first.settings},
        },
        classes=first.classes,
        rows=[row for _, row in sorted(rows.items())],
        earlier_runs=[run for report in reports for run in report.earlier_runs],
        started=min(report.started for report in reports),
        finished=max(report.finished for report in reports if report.finished),
        stopped_by="; ".join(f"shard {what}" for what in lacking) or None,
    )
    own_names = {row.input for row in merged.rows}
    merged.rows += [
        row for report in reports for row in report.rows if row.earlier and row.input not in own_names
    ]
    _refuse_twice(merged.rows)
    score_run(merged, [_road(*shard) for shard in given.values()])
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
    names = dict.fromkeys([*one.settings, *two.settings])
    facts |= {name: (one.settings.get(name), two.settings.get(name)) for name in names if name not in _OWN}
    for name, (before, now) in facts.items():
        if before != now:
            raise ReportError(
                f"{path}: is a shard of another run than {first_path}: {name} is {now}, there {before}; "
                "merge shards of one run only"
            )


def _road(path: Path, report: RunReport) -> RoadCounts | None:
    with reading(path, "run that shard again"):
        return road_counts(report)


def _listed(reports: Sequence[RunReport], name: str) -> str:
    return ", ".join(dict.fromkeys(str(report.settings.get(name)) for report in reports))


def _refuse_twice(rows: Sequence[Row]) -> None:
    seen: set[str] = set()
    for row in rows:
        if row.input in seen:
            raise ReportError(f"{row.input}: is in two shards; each input may be counted once only")
        seen.add(row.input)
