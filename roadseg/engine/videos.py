"""Many videos, each as `video` makes one: into one folder, with a row each in one report."""

import contextlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from roadseg.config import VideoConfig
from roadseg.documents import read_document
from roadseg.engine.predict import Predictor
from roadseg.engine.video import segment_video
from roadseg.errors import BusyError, MediaError, OutputError, RoadsegError
from roadseg.media.find import find_images
from roadseg.media.images import output_stems
from roadseg.report.run import Row, RunReport, Shard
from roadseg.report.video import VideoReport

Progress = Callable[[Row, int, int], None]
SUFFIX: Final = ".mp4"
# Settings that make a video what it is: what an earlier run has made is skipped only if they are the same.
_DECISIVE: Final = (
    *("weights_sha256", "classes", "imgsz", "threshold", "smooth", "start", "end", "stride", "fps"),
    *("view", "opacity", "codec", "crf", "audio"),
)
_SECONDS_TO_LOOK_AGAIN: Final = 2.0
# What documents of runs and of their shards are called: some disks do not tell capitals apart.
_RUN: Final = re.compile(r"(report|scores)(-[^/]*of[^/]*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class VideoJob:
    """A video, its name in the report, and the path of its results without suffix, below the folder."""

    source: str
    name: str
    stem: str


Runner = Callable[[VideoConfig, Sequence[VideoJob], Mapping[str, Any], RunReport, Progress | None], None]
"""Does jobs, and adds their rows to the report in their order."""


def find_videos(sources: Sequence[str]) -> list[VideoJob]:
    """The videos of files and `.txt` lists, the longest file first, each file once.

    In that order every n-th one is a fair share, and workers end at about the same time. Raises MediaError.
    """
    for source in sources:
        if Path(source).is_dir():
            raise MediaError(f"{source}: is a folder; one of pictures is a video of its own: give it alone")
    found = find_images(*sources)
    jobs = []
    for job, stem in zip(found, _beside_the_report(output_stems(found)), strict=True):
        size = job.path.stat().st_size if job.path.is_file() else 0
        jobs.append((-size, VideoJob(str(job.path), job.relative.as_posix(), stem)))
    return [job for _, job in sorted(jobs, key=lambda one: one[0])]


def _beside_the_report(paths: Sequence[Path]) -> list[str]:
    """Stems whose files are not taken for the report in their folder: `video-report` for `report`."""
    stems = [path.as_posix() for path in paths]
    taken = {stem.casefold() for stem in stems}
    for i, stem in enumerate(stems):
        if _RUN.fullmatch(stem):
            while stem.casefold() in taken:
                stem = f"video-{stem}"
            stems[i] = stem
    return stems


def segment_videos(
    config: VideoConfig,
    jobs: Sequence[VideoJob],
    shard: tuple[int, int],
    report: RunReport,
    run: Runner,
    progress: Progress | None = None,
) -> None:
    """Make a video of each job below the folder `config.out`, and write `report` there at the end.

    shard: (i, n), every n-th job from the i-th on. A video that fails has a row that says why; Ctrl-C and
    bugs end the run, with a report of what is done. Raises OutputError where a report is there already.
    """
    index, count = shard
    report.shard = Shard(index, count, len(jobs)) if count > 1 else None
    folder, name = Path(config.out), "report" if count == 1 else f"report-{index}of{count}"
    own = jobs[index - 1 :: count]
    try:
        run(config, own, report.settings, report, progress)
    except BaseException as error:
        report.stopped_by = "Ctrl-C" if isinstance(error, KeyboardInterrupt) else f"{error}" or repr(error)
        with contextlib.suppress(OutputError):  # the first error is the one to tell
            report.write(folder, name)
        error.add_note(report.standing(len(own), folder))
        raise
    report.write(folder, name)


def refuse_to_mix(config: VideoConfig, jobs: Sequence[VideoJob], settings: Mapping[str, Any]) -> None:
    """OutputError if what an earlier run has made of a job, and is to be skipped, had other settings."""
    wanted = {**settings, **config.to_dict()}
    for job in jobs:
        out = Path(config.out, job.stem + SUFFIX)
        before = (_finished(out) or {"settings": wanted})["settings"]
        for name in _DECISIVE:
            if before.get(name) != wanted.get(name):
                what = "other weights"
                if name != "weights_sha256":
                    what = f"{name} {before.get(name)}, this one has {wanted.get(name)}"
                raise OutputError(
                    f"{out}: is of a run with {what}; choose another output folder, or --overwrite"
                )


def refuse_report(folder: Path, shard: tuple[int, int]) -> None:
    """OutputError if the report of such a run is in `folder`."""
    index, count = shard
    path = folder / ("report.json" if count == 1 else f"report-{index}of{count}.json")
    if path.exists():
        raise OutputError(
            f"{path}: is there already; give --skip-existing, --overwrite, or another output folder"
        )


class VideoWorker:
    """Does one job after another with one network."""

    def __init__(self, predictor: Predictor, skip_existing: bool) -> None:
        self.predictor, self.skip_existing = predictor, skip_existing

    def do(self, config: VideoConfig, job: VideoJob, settings: Mapping[str, Any]) -> Row:
        """The row of the job. config.out is the folder. Raises what is no fault of the video alone."""
        # what a run that died has left of this video is replaced: its report says that it is ours
        again = config.overwrite or self.skip_existing
        own = replace(config, out=str(Path(config.out, job.stem + SUFFIX)), overwrite=again)
        while True:
            document = _finished(Path(own.out)) if self.skip_existing else None
            if document:
                return _skipped(job, own.out, document)
            report = VideoReport(settings={**settings, "input": job.source, **own.to_dict()})
            try:
                segment_video(own, self.predictor, job.source, report)
            except BusyError as error:
                if not self.skip_existing:
                    return Row(input=job.name, status="failed", error=str(error))
                time.sleep(
                    _SECONDS_TO_LOOK_AGAIN
                )  # the same part runs twice: one does it, the other skips it
            except RoadsegError as error:
                return Row(input=job.name, status="failed", error=str(error))
            else:
                return _row(job, report.to_dict(), skipped=False)

    def run(
        self,
        config: VideoConfig,
        jobs: Sequence[VideoJob],
        settings: Mapping[str, Any],
        report: RunReport,
        progress: Progress | None,
    ) -> None:
        """A `Runner`, in this process."""
        for job in jobs:
            row = report.done(self.do(config, job, settings))
            if progress:
                progress(row, len(report.rows), len(jobs))


def _finished(out: Path) -> Mapping[str, Any] | None:
    """What the report beside `out` says, if it is of a whole run and its video is there."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kind, document = read_document(out.with_suffix(".json"))
        if kind == "video" and document["finished"] and not document["stopped_by"] and out.exists():
            return document
    return None


def _skipped(job: VideoJob, out: str, document: Mapping[str, Any]) -> Row:
    """The row of what is done, of the same video: of a relative path, as in older reports, nobody knows."""
    before = Path(document.get("source") or document["settings"].get("input") or "")
    if before.is_absolute() and before.resolve() != Path(job.source).resolve():
        error = f"{out}: is there already, of another video, {before}; choose another output folder"
        return Row(input=job.name, status="failed", error=f"{job.source}: {error}")
    return _row(job, document, skipped=True)


def _row(job: VideoJob, document: Mapping[str, Any], *, skipped: bool) -> Row:
    road = document["mean_road_percent"]
    harm = {name: document[name] for name in ("damaged", "missing") if document[name]}
    return Row(
        input=job.name,
        status="skipped" if skipped else "ok",
        outputs={"video": job.stem + SUFFIX, "table": f"{job.stem}.csv", "report": f"{job.stem}.json"},
        width=document["width"],
        height=document["height"],
        road_fraction=None if road is None else road / 100,
        seconds=document["seconds"],
        error=", ".join(f"{count} frames {name}" for name, count in harm.items()) or None,
    )
