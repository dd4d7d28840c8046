"""How `roadseg video` of several inputs runs and looks."""

from dataclasses import dataclass
from pathlib import Path

from roadseg.cli import render
from roadseg.config import InferConfig, VideoConfig
from roadseg.engine.memory import silent
from roadseg.engine.predict import Predictor
from roadseg.engine.videos import (
    Runner,
    VideoWorker,
    find_videos,
    refuse_report,
    refuse_to_mix,
    segment_videos,
)
from roadseg.errors import ConfigError
from roadseg.media.video_writer import CONTAINERS
from roadseg.model.checkpoint import DEFAULT_WEIGHTS
from roadseg.model.exported import load_weights
from roadseg.report.run import Row, RunReport

_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Batch:
    """Which videos of how many, and who does them."""

    sources: list[str]
    shard: tuple[int, int] = (1, 1)
    skip_existing: bool = False
    ray: str | None = None


def run_videos(
    batch: Batch, weights: Path | None, config: VideoConfig, infer: InferConfig, as_json: bool, quiet: bool
) -> int:
    """Segment the videos into the folder `config.out`, show how it went, and return the exit code."""
    index, count = batch.shard
    if not 1 <= index <= count:
        raise ConfigError(f"shard is {index}/{count}, but must be i/n with i from 1 to n.")
    if config.masks or config.mask_video:
        raise ConfigError("--masks and --mask-video are for one video; leave them out.")
    if Path(config.out).suffix.lower() in CONTAINERS:
        raise ConfigError(
            f"--out {config.out}: is the name of a video; several, --skip-existing, --shard and --ray need a "
            "folder there."
        )
    jobs = find_videos(batch.sources)
    if not (config.overwrite or batch.skip_existing):
        refuse_report(Path(config.out), batch.shard)
    checkpoint = load_weights(weights)
    digest = checkpoint.digest()
    predictor = Predictor(checkpoint, infer, note=silent if quiet else render.note)
    settings = {
        "command_line": render.command_line(),
        "weights": str(weights or DEFAULT_WEIGHTS),
        "weights_sha256": digest,
        "device": f"ray {batch.ray}" if batch.ray else str(predictor.device),
        "imgsz": predictor.imgsz,
        "classes": infer.classes,
        "threshold": infer.threshold,
    }
    if batch.skip_existing:
        refuse_to_mix(config, jobs[index - 1 :: count], settings)
    report = RunReport(command="video", settings=settings, classes=predictor.scheme.classes)
    run: Runner = VideoWorker(predictor, batch.skip_existing).run
    if batch.ray:
        from roadseg.engine.remote import Remote, RemoteVideos

        remote = Remote(batch.ray, str(weights) if weights else None, infer)
        run = RemoteVideos(remote, batch.skip_existing).run
    with render.progress("Segmenting", "videos", quiet) as update:

        def progress(row: Row, done: int, total: int) -> None:
            update(done, total)

        segment_videos(config, jobs, batch.shard, report, run, progress)
    if as_json:
        render.print_json(report.to_dict())
    else:
        _show(report, Path(config.out))
    return report.exit_code


def _show(report: RunReport, folder: Path) -> None:
    totals = report.totals()
    counts = ", ".join(f"{totals[name]} {name}" for name in ("ok", "skipped", "failed") if totals[name])
    videos = render.count(totals["inputs"], "video")
    render.out.print(f"{videos}: {counts or 'none'} in {render.duration(totals['seconds'])}", markup=False)
    named = [row for row in report.rows if row.error]
    for row in named[:_MOST_NAMED]:
        error = str(row.error)
        render.error(error if Path(row.input).name in error else f"{row.input}: {error}")
    if len(named) > _MOST_NAMED:
        render.note(f"... and {len(named) - _MOST_NAMED} more; the report lists all.")
    render.out.print(f"Videos: {folder}", markup=False)
