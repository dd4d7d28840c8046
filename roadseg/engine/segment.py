"""From pictures to masks, overlays and a report: readers -> batches -> predictor -> writers.

Threads read ahead of the network and write behind it, each by a few pictures only: memory does not grow with
the number of inputs. Rows come in the order of the inputs.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import cv2

from roadseg.config import SegmentConfig
from roadseg.documents import reading
from roadseg.engine.ahead import map_ahead
from roadseg.engine.memory import out_of_memory, too_large
from roadseg.engine.pages import reopener
from roadseg.engine.predict import CALLS_AHEAD, Predictor
from roadseg.engine.results import OUTPUTS, Picture, Probabilities, ResultWriter, TruthReader
from roadseg.engine.scoring import road_counts, road_plane, score_run
from roadseg.errors import LongNameError, MediaError, MemoryLimitError, OutputError, RoadsegError
from roadseg.labels import UInt8Array
from roadseg.media.crashes import Journal
from roadseg.media.images import ImageJob, output_stems, read_rgb
from roadseg.report.html.album import Album
from roadseg.report.html.page import require_ours, write_page
from roadseg.report.html.segmentation import segment_page
from roadseg.report.run import Row, RunReport, Shard

Progress = Callable[[Row, int, int], None]
"""Called after each input with its row, the number of inputs done, and the number of all."""


def segment(
    config: SegmentConfig,
    predictor: Predictor,
    jobs: Sequence[ImageJob],
    report: RunReport,
    progress: Progress | None = None,
    run: "Runner | None" = None,
) -> None:
    """Predict every job, write its outputs and add its row to `report`, which is itself written at the end.

    run: does the tasks, in place of `run_tasks` in this process.

    A picture that cannot be read or scored becomes a failed row, and the others go on. What ends the run at
    once, after the writes in flight and with a report of what is done, is raised as it is: an output that
    cannot be written (the next one could not either), Ctrl-C, a bug, and with `fail_fast` the first failure.

    Raises, before anything is done: OutputError (outputs exist, or would land among the inputs), DatasetError
    (labels that the model's classes cannot be made from), ConfigError (no official ids for its classes).
    """
    out, scheme = Path(config.out), predictor.scheme
    report.classes = scheme.classes
    index, count = config.shard
    report.shard = Shard(index, count, len(jobs)) if count > 1 else None
    page = out / f"{config.report_name}.html"
    album = Album(page, scheme) if config.html else None
    writer = ResultWriter(out, scheme, config.opacity, config.ids, album)
    truth = TruthReader(Path(config.labels), config.label_format, scheme) if config.labels else None
    earlier = _earlier_report(config, report)
    tasks = _plan(config, jobs, earlier)
    if album:
        require_ours(page)
        album.reopen = reopener(
            {task.name: (task.job, task.outputs["mask"]) for task in tasks}, writer, truth
        )
    if not (out / f"{config.report_name}.json").exists():
        # Says whose folder this is from now on, even if the run is killed: `_check_owner` looks for it.
        begun = RunReport(command=report.command, settings=report.settings, classes=report.classes)
        begun.shard = report.shard
        begun.stopped_by = "it was killed, or is still running"
        begun.write(out, config.report_name)

    def finish() -> None:
        if earlier:
            report.carry_over(earlier)
        before = road_counts(earlier) if earlier else None
        score_run(report, [writer.scorer.road, before])
        report.settings = {**report.settings, "engine": predictor.facts()}
        report.write(out, config.report_name)
        if album:
            write_page(page, segment_page(report, album))

    try:
        with Journal(out / f".{config.report_name}.reading") as journal:
            here = partial(run_tasks, journal=journal)
            (run or here)(config, predictor, tasks, truth, writer, report, progress)
    except BaseException as error:
        report.stopped_by = "Ctrl-C" if isinstance(error, KeyboardInterrupt) else f"{error}" or repr(error)
        with contextlib.suppress(OutputError):  # the first error is the one to tell
            finish()
        error.add_note(report.standing(len(tasks), out))
        raise
    finish()


# ---------------------------------------------------------------- before the run


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


def _plan(config: SegmentConfig, jobs: Sequence[ImageJob], earlier: RunReport | None) -> list[Task]:
    out = Path(config.out)
    _refuse_to_mix(out, jobs)
    # with labels, a picture that was never scored is not done yet
    rows = earlier.rows if earlier else []
    scored = {row.input for row in rows if row.counts}
    known = {row.input for row in rows if row.width}
    wanted = {"mask": True, "overlay": config.overlay, "probs": config.save_probs}
    kinds = {kind: place for kind, place in OUTPUTS.items() if wanted[kind]}
    index, count = config.shard
    suffixes = ("json", "csv", "html") if config.html else ("json", "csv")
    reports = [out / f"{config.report_name}.{suffix}" for suffix in suffixes]
    found = [path for path in reports if path.exists()]
    tasks = []
    # names come from all jobs, so that shards agree on them
    for job, stem in list(zip(jobs, output_stems(jobs), strict=True))[index - 1 :: count]:
        outputs = {kind: f"{folder}/{stem.as_posix()}{suffix}" for kind, (folder, suffix) in kinds.items()}
        there = [out / path for path in outputs.values() if (out / path).exists()]
        found += there
        name = job.relative.as_posix()
        done = len(there) == len(outputs) and (not config.labels or name in scored)
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
    for path in out.glob("report*.json"):
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


# Settings that make masks what they are: two runs into one folder must agree on them.
_DECISIVE = ("weights", "imgsz", "tile", "threshold", "ids")


def _earlier_report(config: SegmentConfig, report: RunReport) -> RunReport | None:
    """The report to carry on with, where inputs may be skipped."""
    path = Path(config.out, f"{config.report_name}.json")
    if config.existing != "skip" or not path.exists():
        return None
    earlier = RunReport.read(path)
    with reading(path, "move it away, or give --overwrite"):
        road_counts(earlier)  # found out now, and not at the end of the run
    if earlier.classes != report.classes:
        raise OutputError(f"{path}: is of a model with other classes; choose another output folder")
    for name in _DECISIVE:
        before, now = earlier.settings.get(name), report.settings.get(name)
        if before != now:
            raise OutputError(
                f"{path}: is of a run with {name} {before}, this one has {now}, and their masks must not be "
                "mixed; choose another output folder, or --overwrite"
            )
    return earlier


Runner = Callable[
    [SegmentConfig, Predictor, Sequence[Task], TruthReader | None, ResultWriter, RunReport, Progress | None],
    None,
]
"""Does tasks, and adds their rows to the report in their order: `run_tasks`, or what does it elsewhere."""


# ---------------------------------------------------------------- the run

_Read = tuple[Task, Picture | Row | RoadsegError | None]
"""What became of reading a task; None: it is to be skipped; a row: so it is, and its mask says this."""
_Predicted = tuple[Picture, UInt8Array, Probabilities | None, Probabilities | None]
"""With what is to be written of the probabilities, and that of road, which is to be scored."""
_Outcome = Future[Row] | Row | RoadsegError | None
"""What becomes of a task: a row, now or to come, an error, or None if it is skipped."""


def run_tasks(
    config: SegmentConfig,
    predictor: Predictor,
    tasks: Sequence[Task],
    truth: TruthReader | None,
    writer: ResultWriter,
    report: RunReport,
    progress: Progress | None,
    journal: Journal | None = None,
) -> None:
    """A `Runner`: reads, segments and writes side by side, in this process.

    journal: hears of each file that is being read, so that the next run knows which one ended the process.
    """
    batch_size = config.batch_size or predictor.batch_size
    ahead = batch_size + config.workers
    pending: deque[tuple[Task, _Outcome]] = deque()  # in the order of the tasks

    def read(task: Task) -> _Read:
        if task.skip and task.known:
            return task, None
        if task.skip:
            with contextlib.suppress(MediaError):  # a mask that cannot be read is made again
                return task, writer.measured(task.name, task.outputs)
        start = time.perf_counter()
        try:
            files = (task.job.path, *(truth.files(task.job) if truth else ()))
            with journal.reading(*files) if journal else contextlib.nullcontext():
                rgb_HWC = read_rgb(task.job.path)
                truth_HW = truth.read(task.job, rgb_HWC.shape[:2]) if truth else None
        except RoadsegError as error:
            return task, error
        return task, Picture(task.name, task.outputs, rgb_HWC, truth_HW, time.perf_counter() - start)

    def settle(keep: int) -> None:
        """Add the rows of what is finished; wait until at most `keep` tasks are left."""
        while pending and (len(pending) > keep or _is_settled(pending[0][1])):
            error = _record(*pending.popleft(), report)
            if progress:
                progress(report.rows[-1], len(report.rows), len(tasks))
            hopeless = isinstance(error, OutputError) and not isinstance(error, LongNameError)
            if error and (hopeless or config.fail_fast):
                raise error

    def look(batch: list[_Read]) -> tuple[list[_Read], Iterator[_Predicted | MemoryLimitError]]:
        pictures = [result for _, result in batch if isinstance(result, Picture)]
        return batch, iter(_predict(predictor, pictures, config.save_probs))

    with _opencv_threads(1), ThreadPoolExecutor(config.workers) as pool, predictor.threads() as network:
        try:
            with (
                contextlib.closing(map_ahead(pool, read, tasks, ahead)) as reads,
                contextlib.closing(
                    map_ahead(network, look, _batches(reads, batch_size), CALLS_AHEAD)
                ) as looks,
            ):
                for batch, predicted in looks:
                    for task, result in batch:
                        found = next(predicted) if isinstance(result, Picture) else result
                        pending.append(
                            (task, pool.submit(writer.write, *found) if isinstance(found, tuple) else found)
                        )
                    settle(ahead)
            settle(0)
        finally:
            while pending:  # after an error or Ctrl-C: the writes in flight finish, and have their rows
                _record(*pending.popleft(), report)


@contextlib.contextmanager
def _opencv_threads(count: int) -> Iterator[None]:
    """Each picture has a thread already: OpenCV's own would only wait for a core, and for one another."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _batches(reads: Iterator[_Read], size: int) -> Iterator[list[_Read]]:
    while batch := list(islice(reads, size)):
        yield batch


def _predict(
    predictor: Predictor, pictures: Sequence[Picture], with_probabilities: bool
) -> list[_Predicted | MemoryLimitError]:
    """What `_seen` returns; a picture for which there is not enough memory fails for itself alone."""
    if not pictures:
        return []
    try:
        return list(_seen(predictor, pictures, with_probabilities))
    except Exception as error:
        if not out_of_memory(error):
            raise
        if len(pictures) == 1:
            return [too_large(pictures[0].rgb_HWC.shape[:2], error)]
    return [result for picture in pictures for result in _predict(predictor, [picture], with_probabilities)]


def _seen(predictor: Predictor, pictures: Sequence[Picture], with_probabilities: bool) -> list[_Predicted]:
    """Each picture, with its share of the time, and what the network says of it."""
    start = time.perf_counter()
    images = [picture.rgb_HWC for picture in pictures]
    found: list[tuple[UInt8Array, Probabilities | None, Probabilities | None]]
    if with_probabilities:
        both = predictor.predict_with_probabilities(images)
        found = [(mask_HW, every, road_plane(every, predictor.scheme)) for mask_HW, every in both]
    elif any(picture.truth_HW is not None for picture in pictures):
        found = [(mask_HW, None, road_HW) for mask_HW, road_HW in predictor.predict_with_road(images)]
    else:
        found = [(mask_HW, None, None) for mask_HW in predictor.predict(images)]
    share = (time.perf_counter() - start) / len(pictures)
    return [
        (replace(picture, seconds=picture.seconds + share), *one)
        for picture, one in zip(pictures, found, strict=True)
    ]


def _is_settled(outcome: _Outcome) -> bool:
    return not isinstance(outcome, Future) or outcome.done()


def _record(task: Task, outcome: _Outcome, report: RunReport) -> RoadsegError | None:
    """Add the task's row, waiting for it if need be. Returns the error if the task failed."""
    try:
        if isinstance(outcome, RoadsegError):
            raise outcome
        if outcome is None:
            report.skipped(task.name, task.outputs)
        else:
            report.done(outcome if isinstance(outcome, Row) else outcome.result())
    except RoadsegError as error:
        report.failed(task.name, error)
        return error
    return None
