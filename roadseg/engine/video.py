"""From a video to a video: decoder -> network -> smoothing -> drawing -> encoder, each in its own time.

Each stage runs in a thread of its own, a few frames ahead of the next: memory does not grow with the length
of the video. Frames keep their order, and sound and subtitles pass through between them.
"""

import math
import time
from collections.abc import Callable
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from threading import Event

from roadseg.config import VideoConfig
from roadseg.engine.ahead import in_background
from roadseg.engine.predict import Predictor
from roadseg.engine.smoothing import TemporalSmoother
from roadseg.engine.video_output import Reader, VideoOutput
from roadseg.engine.video_stages import Drawn, batch_size_of, draw, predict
from roadseg.errors import MediaError, OutputError
from roadseg.media.frame_folder import FrameFolder
from roadseg.media.output import cannot_write
from roadseg.media.video import Cut, FFmpegReader, Size
from roadseg.media.video_writer import count_frames, partial_of
from roadseg.report.video import VideoReport, written_by

Progress = Callable[[int, int], None]
"""Called after each frame with the frames done, and how many there will be (0: unknown)."""
# Frames fewer than the container's count by which a video is complete all the same: edit lists hide some.
_TOLERATED_LOSS = 2


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

    When `stop` is set, the frames done so far become a whole video, and `report.stopped_by` says so. Any
    other end before the end leaves no video, and is raised: MediaError (nothing to read), OutputError
    (outputs are there already, or cannot be written), ConfigError (codec and container do not fit).
    """
    started = time.perf_counter()
    out = Path(config.out)
    _refuse_to_overwrite(config, source)
    stop = stop or Event()
    with open_source(source, predictor.input_size, config) as reader:
        output = VideoOutput(config, predictor, reader, report)
        batch_size = config.batch_size or batch_size_of(predictor.device)
        ahead = 2 * batch_size
        frames = in_background(iter(reader), ahead)
        smoother = TemporalSmoother(config.smooth)
        seen = in_background(predict(frames, predictor, smoother, batch_size), ahead)
        drawn = in_background(draw(seen, predictor, config), ahead)
        try:
            # closed from the last to the first: nobody may read from what is closed
            with closing(frames), closing(seen), closing(drawn):
                for item in drawn:
                    output.take(item)
                    if progress and isinstance(item, Drawn):
                        progress(output.done, output.expected)
                    if stop.is_set():
                        report.stopped_by = "interrupted"
                        break
        except BaseException:
            output.discard()
            raise
        if not output.done:
            output.discard()
            raise MediaError(
                f"{source}: has no frame in the part that was asked for; look at --start and --end"
            )
        output.finish()
        info, damaged = reader.info, reader.damaged
    counted = count_frames(out)
    if counted != output.done:
        raise OutputError(
            f"{out}: holds {counted} frames where {output.done} were written; write it elsewhere"
        )
    whole = config.start == 0 and config.end is None and config.stride == 1 and not report.stopped_by
    missing = max(0, info.frames - output.done - damaged) if whole and info.frames else 0
    report.facts = {
        "width": info.width,
        "height": info.height,
        "codec": info.codec,
        "frames_per_second": float(info.rate),
        "frames_by_the_container": info.frames or None,
        "frames_written": output.done,
        "frames_found_in_the_output": counted,
        "damaged": damaged,
        "missing": missing if missing > _TOLERATED_LOSS else 0,
        "outputs": output.outputs,
        "seconds": round(time.perf_counter() - started, 3),
    }
    report.write(out.with_suffix(""))


def _refuse_to_overwrite(config: VideoConfig, source: str) -> None:
    out = Path(config.out)
    videos = [Path(name) for name in (config.out, config.mask_video) if name]
    if len({path.resolve() for path in videos}) < len(videos):
        raise OutputError(f"{out}: is --out and --mask-video, too; give them two names")
    try:
        _refuse_the_input([*videos, *map(partial_of, videos)], config.masks, Path(source))
        table = [out.with_suffix(suffix) for suffix in (".csv", ".json", ".png")]
        there = [path for path in (*videos, *table) if path.exists()]
        masks = Path(config.masks) if config.masks else None
        there += [masks] if masks and masks.is_dir() and any(masks.iterdir()) else []
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise cannot_write(out, error) from error
    if there and not config.overwrite:
        raise OutputError(f"{there[0]}: is there already; give --overwrite, or choose another --out")
    written = written_by(out.with_suffix(".json"))
    ours = {path.resolve() for path in (*written, *table)} if written else set()
    for path in there:
        if path.resolve() not in ours:
            raise OutputError(
                f"{path}: is there already, and no report of roadseg's beside {out} says that it is ours: it "
                "may be somebody's own; move it away, or choose another name"
            )


def _refuse_the_input(videos: list[Path], masks: str | None, source: Path) -> None:
    if not source.exists():  # a camera, a stream
        return
    for path in videos:
        if path.exists() and path.samefile(source):
            raise OutputError(f"{path}: is the input; choose another --out")
    if masks and Path(masks).exists() and Path(masks).samefile(source):
        raise OutputError(f"{masks}: is the input; choose another folder for --masks")
