"""The stages of `segment` in one process: readers -> batches -> predictor -> writers.

Threads read ahead of the network and write behind it, each by a few pictures only: memory does not grow with
the number of inputs. Rows come in the order of the inputs.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import islice
from typing import Final

import cv2

from roadseg.config import SegmentConfig
from roadseg.engine.ahead import map_ahead
from roadseg.engine.device import usable_cores
from roadseg.engine.memory import out_of_memory, too_large
from roadseg.engine.predict import Predictor
from roadseg.engine.results import Picture, Probabilities, ResultWriter, TruthReader
from roadseg.engine.scoring import road_plane
from roadseg.engine.segment_plan import Task
from roadseg.errors import LongNameError, MediaError, MemoryLimitError, OutputError, RoadsegError
from roadseg.labels import UInt8Array
from roadseg.media.crashes import Journal
from roadseg.media.images import read_rgb
from roadseg.report.run import Row, RunReport

Progress = Callable[[Row, int, int], None]
"""Called after each input with its row, the number of inputs done, and the number of all."""

Runner = Callable[
    [SegmentConfig, Predictor, Sequence[Task], TruthReader | None, ResultWriter, RunReport, Progress | None],
    None,
]
"""Does tasks, and adds their rows to the report in their order: `run_tasks`, or what does it elsewhere."""

_MOST_WORKERS: Final = 16

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
    workers = config.workers or min(_MOST_WORKERS, 2 * usable_cores())
    ahead = batch_size + workers
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
            error = _record_next(pending, report)
            if progress:
                progress(report.rows[-1], len(report.rows), len(tasks))
            hopeless = isinstance(error, OutputError) and not isinstance(error, LongNameError)
            if error and (hopeless or config.fail_fast):
                raise error

    def look(batch: list[_Read]) -> tuple[list[_Read], Iterator[_Predicted | MemoryLimitError]]:
        pictures = [result for _, result in batch if isinstance(result, Picture)]
        return batch, iter(_predict(predictor, pictures, config.save_probs))

    with contextlib.ExitStack() as stack:
        stack.enter_context(_opencv_threads(1))
        network = stack.enter_context(predictor.threads())
        # Where each core has its thread, that one reads and writes as well: more threads would only push one
        # another off the cores (4 to 8 % slower on two of them).
        shared = config.workers is None and predictor.takes_all_cores
        pool = network if shared else stack.enter_context(ThreadPoolExecutor(workers))
        try:
            with (
                contextlib.closing(map_ahead(pool, read, tasks, ahead)) as reads,
                contextlib.closing(
                    map_ahead(network, look, _batches(reads, batch_size), predictor.calls_ahead)
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
                _record_next(pending, report)


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


def _record_next(pending: deque[tuple[Task, _Outcome]], report: RunReport) -> RoadsegError | None:
    """`_record` the first one, which stays there while it is waited for: Ctrl-C then loses no row."""
    outcome = pending[0][1]
    if isinstance(outcome, Future):
        wait([outcome])
    return _record(*pending.popleft(), report)


def _record(task: Task, outcome: _Outcome, report: RunReport) -> RoadsegError | None:
    """Add the row of a task that is finished. Returns the error if the task failed."""
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
