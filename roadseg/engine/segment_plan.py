"""What a run of `segment` is to do: its tasks, their outputs, and which an earlier run has done already."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from roadseg.config import SegmentConfig
from roadseg.documents import reading
from roadseg.engine.results import OUTPUTS
from roadseg.engine.scoring import road_counts
from roadseg.errors import OutputError
from roadseg.media.images import ImageJob, output_stems
from roadseg.report.run import RunReport, reports_in


@dataclass(frozen=True, slots=True)
class Task:
    """A job, its outputs (kind -> path below the output folder), and whether they make it needless.

    known: the earlier report has its measurements, which a run that was killed did not live to write.
    """

    job: ImageJob
    outputs: dict[str, str]
    skip: bool
    known: bool

    @property
    def name(self) -> str:
        return self.job.relative.as_posix()


def plan(
    config: SegmentConfig,
    jobs: Sequence[ImageJob],
    earlier: RunReport | None,
    others: Sequence[RunReport] = (),
) -> list[Task]:
    """Return the tasks of this shard. Raises OutputError: outputs exist, or would land among the inputs.

    others: reports of other parts of the work.
    """
    out = Path(config.out)
    _refuse_to_mix(out, jobs)
    rows = earlier.rows if earlier else []
    known = {row.input for row in rows if row.width}
    # with labels, a picture that was never scored is not done yet
    scored = {row.input for row in rows if row.counts}
    reports = [*others, earlier] if earlier else others
    every = [row for one in reports for row in one.rows]
    # files of these, and kinds of files that a row has not, are of a run before, which was to be replaced
    failed = {row.input for row in every if row.status == "failed"}
    written = {row.input: set(row.outputs) for row in every if row.width}
    replacing = any(one.replacing for one in reports)
    wanted = {"mask": True, "overlay": config.overlay, "probs": config.save_probs}
    kinds = {kind: place for kind, place in OUTPUTS.items() if wanted[kind]}
    index, count = config.shard
    suffixes = ("json", "csv", "html") if config.html else ("json", "csv")
    files = [out / f"{config.report_name}.{suffix}" for suffix in suffixes]
    found = [path for path in files if path.exists()]
    tasks = []
    # names come from all jobs, so that shards agree on them
    for job, stem in list(zip(jobs, output_stems(jobs), strict=True))[index - 1 :: count]:
        outputs = {kind: f"{folder}/{stem.as_posix()}{suffix}" for kind, (folder, suffix) in kinds.items()}
        there = [out / path for path in outputs.values() if (out / path).exists()]
        found += there
        name = job.relative.as_posix()
        done = len(there) == len(outputs) and name not in failed
        done = done and (not config.labels or name in scored) and (not replacing or name in written)
        done = done and set(outputs) <= written.get(name, set(outputs))
        tasks.append(Task(job, outputs, config.existing == "skip" and done, name in known))
    if found and config.existing == "refuse":
        raise OutputError(
            f"{found[0]}: is there already; give --overwrite, --skip-existing or another output folder"
        )
    if found:
        _check_owner(out, found[0])
    return tasks


def _check_owner(out: Path, found: Path) -> None:
    """What is to be replaced must be ours: a report of roadseg's lies in every folder that it wrote into."""
    for path in reports_in(out):
        with contextlib.suppress(OutputError):
            RunReport.read(path)
            return
    raise OutputError(
        f"{found}: is there already, and no report of roadseg's beside it: it may be somebody's own; move it "
        "away, or choose another output folder"
    )


def _refuse_to_mix(out: Path, jobs: Sequence[ImageJob]) -> None:
    """Results must not land among the inputs: neither beside them, nor in folders that inputs come from."""
    resolved = out.resolve()
    results = [resolved / folder for folder, _ in OUTPUTS.values()]
    for folder in dict.fromkeys(job.path.parent for job in jobs):
        if any(folder.resolve().is_relative_to(result) for result in results):
            raise OutputError(
                f"{out}: its results are among the inputs ({folder}); choose another output folder"
            )
    for root in dict.fromkeys(map(_root, jobs)):
        if root is not None and root.resolve() == resolved:
            raise OutputError(f"{out}: is the input folder; choose another output folder")


def _root(job: ImageJob) -> Path | None:
    """The input folder that the job's relative path starts from; None where it starts elsewhere."""
    depth = len(job.relative.parts)
    return Path(*job.path.parts[:-depth]) if job.path.parts[-depth:] == job.relative.parts else None


# Settings that make masks what they are: all runs into one folder must agree on them.
_DECISIVE = ("weights_sha256", "imgsz", "tile", "tta", "threshold", "ids")


def earlier_reports(config: SegmentConfig, report: RunReport) -> tuple[RunReport | None, list[RunReport]]:
    """The report to carry on with, where inputs may be skipped, and those of other parts of the work.

    Raises OutputError where one of them is of masks that ours must not be mixed with.
    """
    if config.existing != "skip":
        return None, []
    out = Path(config.out)
    path = out / f"{config.report_name}.json"
    others = []
    for place in reports_in(out):
        if place != path:
            others.append(RunReport.read(place))
            _require_the_same(place, others[-1], report)
    if not path.exists():
        return None, others
    earlier = RunReport.read(path)
    with reading(path, "move it away, or give --overwrite"):
        road_counts(earlier)  # found out now, and not at the end of the run
    _require_the_same(path, earlier, report)
    return earlier, others


def _require_the_same(path: Path, earlier: RunReport, report: RunReport) -> None:
    if earlier.classes != report.classes:
        raise OutputError(f"{path}: is of a model with other classes; choose another output folder")
    for name in _DECISIVE:
        before, now = earlier.settings.get(name), report.settings.get(name)
        if before != now:
            what = "other weights" if name == "weights_sha256" else f"{name} {before}, this one has {now}"
            raise OutputError(
                f"{path}: is of a run with {what}, and their masks must not be mixed; choose another output "
                "folder, or --overwrite"
            )
    for name in ("labels", "label_format"):
        before, now = earlier.settings.get(name), report.settings.get(name)
        if before and now and _place(before) != _place(now):
            raise OutputError(
                f"{path}: is of a run with {name} {before}, this one has {now}, and their scores must not be "
                "mixed; choose another output folder, or --overwrite"
            )


def _place(name: str) -> str:
    return os.path.realpath(name)
