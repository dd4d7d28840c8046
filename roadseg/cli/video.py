"""How `roadseg video` runs and looks."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import FrameType

from roadseg.cli import render
from roadseg.config import InferConfig, VideoConfig
from roadseg.engine.memory import silent
from roadseg.engine.predict import Predictor
from roadseg.engine.video import segment_video
from roadseg.model.checkpoint import DEFAULT_WEIGHTS
from roadseg.model.exported import load_weights
from roadseg.report.video import VideoReport

_MOST_NAMED = 10  # pictures of a folder that could not be read


def default_out(source: str) -> str:
    """`a/drive.mov` -> `drive.roadseg.mp4` in the working folder; for cameras `stream.roadseg.mp4`."""
    stem = "stream" if "://" in source or source.isdecimal() else Path(source).resolve().stem
    return f"{stem}.roadseg.mp4"


def run_video(
    source: str, weights: Path | None, config: VideoConfig, infer: InferConfig, as_json: bool, quiet: bool
) -> int:
    """Segment the video, show how it went, and return the exit code."""
    checkpoint = load_weights(weights)
    digest = checkpoint.digest()
    predictor = Predictor(checkpoint, infer, note=silent if quiet else render.note)
    settings = {
        "command_line": render.command_line(),
        "input": source,
        "weights": str(weights or DEFAULT_WEIGHTS),
        "weights_sha256": digest,
        "device": str(predictor.device),
        "imgsz": predictor.imgsz,
        "classes": infer.classes,
        "threshold": infer.threshold,
        **config.to_dict(),
    }
    report = VideoReport(settings=settings)
    with render.progress("Segmenting", "frames", quiet) as update, _asked_to_stop() as stop:
        segment_video(config, predictor, source, report, update, stop)
    if as_json:
        render.print_json(report.to_dict())
    else:
        _show(report, config, quiet)
    return report.exit_code


@contextmanager
def _asked_to_stop() -> Iterator[Event]:
    """An event that Ctrl-C and SIGTERM set: no frame is left half-written.

    People press twice while the video is being finished, which takes a second or two; a third stops at once.
    """
    stop = Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            signal.signal(signal.SIGINT, signal.default_int_handler)
        stop.set()

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as in a shell's background jobs
            signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(report: VideoReport, config: VideoConfig, quiet: bool) -> None:
    facts, found = report.facts, report.to_dict()
    written, seconds = facts["frames_written"], facts["seconds"]
    if report.stopped_by:
        render.note(
            f"Interrupted: the video holds the {render.count(written, 'frame')} up to then; the same command "
            "with --overwrite begins again."
        )
    whole = config.start == 0 and config.end is None and config.stride == 1
    of = f" of {facts['frames_by_the_container']}" if whole and facts["frames_by_the_container"] else ""
    render.out.print(
        f"{written}{of} frames in {render.duration(seconds)}, {written / seconds:.1f} frames/s", markup=False
    )
    if found["mean_road_percent"] is not None:
        render.out.print(f"road: {found['mean_road_percent']:.1f} % of a frame on average", markup=False)
    if facts["damaged"]:
        render.error(f"{facts['damaged']} packets or frames were damaged and passed over or patched.")
    for what in [] if quiet else facts["left_out"]:
        render.note(what)
    for why in facts["passed_over"][:_MOST_NAMED]:
        render.error(why)
    if len(facts["passed_over"]) > _MOST_NAMED:
        render.error(f"... and {len(facts['passed_over']) - _MOST_NAMED} more; the .json names all of them.")
    if facts["missing"]:
        render.error(
            f"{facts['missing']} frames that the file promises are not in it: it is cut short, or has holes."
        )
    stem = Path(config.out).with_suffix("")
    render.out.print(
        f"Video: {config.out}\nReport: {stem}{'.html, .csv' if config.html else '.csv'}, .json, .png",
        markup=False,
    )
