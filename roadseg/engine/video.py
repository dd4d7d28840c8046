"""From a video to a video: decoder -> network -> smoothing -> drawing -> encoder, each in its own time.

Each stage runs in a thread of its own, a few frames ahead of the next: memory does not grow with the length
of the video. Frames keep their order, and sound and subtitles pass through between them.
"""

import math
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from threading import Event

from roadseg.config import VideoConfig
from roadseg.engine.ahead import Background
from roadseg.engine.pages import write_video_page
from roadseg.engine.predict import Predictor
from roadseg.engine.smoothing import TemporalSmoother
from roadseg.engine.video_claim import claimed
from roadseg.engine.video_output import Reader, VideoOutput
from roadseg.engine.video_stages import Drawn, draw, predict
from roadseg.errors import MediaError
from roadseg.media.frame_folder import FrameFolder
from roadseg.media.video import FFmpegReader
from roadseg.media.video_frame import Cut, Size
from roadseg.report.video import VideoReport

Progress = Callable[[int, int], None]
"""Called after each frame with the frames done, and how many there will be (0: unknown)."""
# Seconds that the reader has to end in.
_PATIENCE = 2.0


def open_source(source: str, small: Size, config: VideoConfig) -> Reader:
    """Open a video, camera, stream, or folder of pictures. Raises MediaError."""
    cut = Cut(config.start, math.inf if config.end is None else config.end, config.stride)
    if Path(source).is_dir():
        return FrameFolder(Path(source), small, Fraction(config.fps).limit_denominator(1001), cut)
    return FFmpegReader(source, small, cut, copy=config.audio == "copy")


def segment_video(
    config: VideoConfig,
    predictor: Predictor,
    source: str,
    report: VideoReport,
    progress: Progress | None = None,
    stop: Event | None = None,
) -> None:
    """Write the video of `config.out`, with table, report and picture beside it.

    When `stop` is set, the frames done so far become a whole video, and `report.stopped_by` says so;
    KeyboardInterrupt if there is none yet. Any other end before the end leaves no video, and is raised:
    MediaError (nothing to read), OutputError (outputs are there already, or cannot be written), ConfigError
    (codec and container do not fit).
    """
    started = time.perf_counter()
    out, stop = Path(config.out), stop or Event()
    with claimed(config, source) as claim, open_source(source, predictor.input_size, config) as reader:
        output = VideoOutput(config, predictor, reader, report, claim)
        try:
            _convert(config, predictor, reader, output, progress, stop)
            if not output.done:
                if stop.is_set():
                    raise KeyboardInterrupt
                raise MediaError(
                    f"{source}: has no frame in the part that was asked for; look at --start and --end"
                )
            output.finish()
        except BaseException:
            output.discard()
            raise
        if stop.is_set():
            report.stopped_by = "interrupted"
        report.settings = {**report.settings, "engine": predictor.facts()}
        info = reader.info
        report.facts = {
            "source": str(Path(source).resolve()) if Path(source).exists() else source,
            "width": info.width,
            "height": info.height,
            "codec": info.codec,
            "frames_per_second": float(info.rate),
            "frames_by_the_container": info.frames or None,
            "frames_written": output.done,
            "frames_found_in_the_output": output.done,
            "damaged": reader.damaged + output.damaged,
            "passed_over": reader.passed_over,
            "left_out": output.left_out,
            "missing": reader.missing,
            "outputs": output.outputs,
            "seconds": round(time.perf_counter() - started, 3),
        }
        report.write(out.with_suffix(""), finished=not config.html)
        if config.html:
            write_video_page(out.with_suffix(""), report)
            report.finish(out.with_suffix(""))


def _convert(
    config: VideoConfig,
    predictor: Predictor,
    reader: Reader,
    output: VideoOutput,
    progress: Progress | None,
    stop: Event,
) -> None:
    """Take every frame from reader to output, until the end or until `stop` is set."""
    batch_size = config.batch_size or predictor.batch_size
    ahead, smoother = 2 * batch_size, TemporalSmoother(config.smooth)
    frames = Background(reader, ahead)
    seen = Background(predict(frames, predictor, smoother, batch_size), ahead)
    drawn = Background(draw(seen, predictor, config), ahead, stop)
    try:
        for item in drawn:
            output.take(item)
            if progress and isinstance(item, Drawn):
                progress(output.done, output.expected)
    finally:
        for stage in (drawn, seen, frames):
            stage.close()
        # A camera or a stream that has stalled keeps its thread: nobody is to wait for it, nor to close it.
        if not frames.ended(_PATIENCE):
            reader.abandon()
