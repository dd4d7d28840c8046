"""What `segment`, `eval` and `video` have done on a cluster: each chunk by the engine, as on one machine."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from roadseg.config import InferConfig, SegmentConfig, VideoConfig
from roadseg.dataset.samples import Sample
from roadseg.engine.cluster import ATTEMPTS, Cluster
from roadseg.engine.evaluate import evaluate
from roadseg.engine.evaluation import Evaluation, join
from roadseg.engine.measures import Measures
from roadseg.engine.predict import Predictor
from roadseg.engine.results import ResultWriter, TruthReader
from roadseg.engine.scoring import RoadCounts
from roadseg.engine.segment_plan import Task
from roadseg.engine.segment_stages import Progress, run_tasks
from roadseg.engine.tiles import make_predictor
from roadseg.engine.videos import Progress as VideoProgress
from roadseg.engine.videos import VideoJob, VideoWorker
from roadseg.errors import MediaError, RoadsegError
from roadseg.media.images import allow_pixels, max_pixels
from roadseg.model.exported import load_weights
from roadseg.report.html.album import Album, Sketch, Sketches
from roadseg.report.run import Row, RunReport

# Pictures of a chunk: a worker reads and writes them beside its network, as `segment` does, so a few batches.
_MOST: Final = 32


@dataclass(frozen=True)
class Remote:
    """Where to work, and with which network: weights is a path that every node has, or None."""

    address: str
    weights: str | None
    infer: InferConfig

    def predictor(self) -> Predictor:
        """In a worker."""
        return make_predictor(load_weights(Path(self.weights) if self.weights else None), self.infer)


# ---------------------------------------------------------------- segment


@dataclass(frozen=True)
class _Segmented:
    """What a worker tells of a chunk: the rows of its inputs, up to the error if there was one."""

    rows: list[Row]
    sketches: dict[str, Sketch]
    road: RoadCounts | None
    error: RoadsegError | None


def segment_remotely(
    remote: Remote,
    config: SegmentConfig,
    predictor: Predictor,
    tasks: Sequence[Task],
    truth: TruthReader | None,
    writer: ResultWriter,
    report: RunReport,
    progress: Progress | None,
) -> None:
    """A `Runner` of `segment`, once `remote` is given: rows in the order of the tasks, whoever did them."""
    rows: dict[int, Row] = {}
    with closing(Cluster(remote.address, gpus=remote.infer.device != "cpu")) as cluster:
        try:
            for places, result in cluster.work(partial(_segmenter, remote, config), tasks, _MOST):
                if result is None:
                    task = tasks[places[0]]
                    why = f"{task.job.path}: {ATTEMPTS} workers died of it, each on its own; try it alone"
                    result = _Segmented([Row(input=task.name, status="failed", error=why)], {}, None, None)
                for key, drawn in result.sketches.items():
                    if writer.album:
                        writer.album.keep(key, *drawn)
                for place, row in zip(places, result.rows, strict=False):
                    rows[place] = row
                    if progress:
                        progress(row, len(rows), len(tasks))
                if result.road:
                    writer.scorer.take(result.road)
                if result.error:
                    raise result.error
        finally:
            report.rows += [row for _, row in sorted(rows.items())]


def _segmenter(remote: Remote, config: SegmentConfig) -> Callable[[Sequence[Task]], _Segmented]:
    predictor = remote.predictor()

    def work(tasks: Sequence[Task]) -> _Segmented:
        sketches = Sketches(predictor.scheme) if config.html else None
        writer = ResultWriter(Path(config.out), predictor.scheme, config.opacity, config.ids, sketches)
        truth = None
        if config.labels:
            truth = TruthReader(Path(config.labels), config.label_format, predictor.scheme)
        report = RunReport(command="segment")
        error = None
        try:
            with allow_pixels(config.max_megapixels * 10**6):
                run_tasks(config, predictor, tasks, truth, writer, report, None)
        except RoadsegError as reason:
            error = reason
        return _Segmented(report.rows, sketches.drawn if sketches else {}, writer.scorer.road, error)

    return work


# ---------------------------------------------------------------- eval


def evaluate_remotely(
    remote: Remote,
    samples: Sequence[Sample],
    measures: Measures,
    *,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
    save_predictions: Path | None = None,
    album: Album | None = None,
) -> Evaluation:
    """What `evaluate` finds, with the same pictures for `album`. Raises what it raises."""
    parts: dict[int, Evaluation] = {}
    done = 0
    with closing(Cluster(remote.address, gpus=remote.infer.device != "cpu")) as cluster:
        drawn = album is not None
        make = partial(_evaluator, remote, measures, workers, save_predictions, drawn, max_pixels())
        for places, result in cluster.work(make, samples, _MOST):
            if result is None:
                raise MediaError(f"{samples[places[0]].image}: {ATTEMPTS} workers died of it; try it alone")
            parts[places[0]], sketches = result
            for key, sketch in sketches.items():
                if album:
                    album.keep(key, *sketch)
            done += len(places)
            if progress:
                progress(done, len(samples))
    return join([part for _, part in sorted(parts.items())])


def _evaluator(
    remote: Remote, measures: Measures, workers: int, save: Path | None, drawn: bool, most_pixels: int
) -> Callable[[Sequence[Sample]], tuple[Evaluation, dict[str, Sketch]]]:
    predictor = remote.predictor()

    def work(samples: Sequence[Sample]) -> tuple[Evaluation, dict[str, Sketch]]:
        sketches = Sketches(predictor.scheme)
        with allow_pixels(most_pixels):
            done = evaluate(
                predictor,
                samples,
                predictor.scheme,
                batch_size=predictor.batch_size,
                workers=workers,
                save_predictions=save,
                measures=measures,
                look=sketches.add if drawn else None,
            )
        return done, sketches.drawn

    return work


# ---------------------------------------------------------------- video


@dataclass(frozen=True)
class RemoteVideos:
    """Hands out one video at a time: what a frame's mask is depends on the frames before it."""

    remote: Remote
    skip_existing: bool

    def run(
        self,
        config: VideoConfig,
        jobs: Sequence[VideoJob],
        settings: Mapping[str, Any],
        report: RunReport,
        progress: VideoProgress | None,
    ) -> None:
        """A `videos.Runner`."""
        rows: dict[int, Row] = {}
        with closing(Cluster(self.remote.address, gpus=self.remote.infer.device != "cpu")) as cluster:
            try:
                for places, row in cluster.work(partial(self._worker, config, settings), jobs, 1):
                    (place,) = places
                    why = f"{jobs[place].source}: {ATTEMPTS} workers died of it; try it alone"
                    rows[place] = row or Row(input=jobs[place].name, status="failed", error=why)
                    if progress:
                        progress(rows[place], len(rows), len(jobs))
            finally:
                report.rows += [row for _, row in sorted(rows.items())]

    def _worker(
        self, config: VideoConfig, settings: Mapping[str, Any]
    ) -> Callable[[Sequence[VideoJob]], Row]:
        worker = VideoWorker(self.remote.predictor(), self.skip_existing)
        return lambda jobs: worker.do(config, jobs[0], settings)
