"""From a video to a video: decoder -> network -> smoothing -> drawing -> encoder, each in its own time.

The decoder and the network run in threads of their own, each a few frames ahead of the next: memory does not
grow with the length of the video. Frames keep their order, and sound and subtitles pass through between them.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from threading import Event
from typing import Any

import av
import cv2
import numpy as np
import torch
from torch import Tensor

from roadseg.config import VideoConfig
from roadseg.engine.ahead import in_background
from roadseg.engine.predict import Predictor
from roadseg.engine.smoothing import TemporalSmoother
from roadseg.errors import MediaError, OutputError
from roadseg.labels import UInt8Array
from roadseg.media.frame_folder import FrameFolder
from roadseg.media.output import cannot_write, write_mask
from roadseg.media.planes import Planes, draw_planes, to_frame, to_rgb
from roadseg.media.video import Cut, FFmpegReader, Frame, Size, VideoInfo
from roadseg.media.video_writer import VideoFormat, VideoWriter, count_frames, partial_of
from roadseg.report.video import VideoReport, written_by

Progress = Callable[[int, int], None]
"""Called after each frame with the frames done, and how many there will be (0: unknown)."""
Reader = FFmpegReader | FrameFolder

# Frames fewer than the container's count by which a video is complete all the same: edit lists hide some.
_TOLERATED_LOSS = 2


@dataclass(frozen=True, slots=True)
class _Seen:
    """A frame and what the network says of it, smoothed: Khw, float32."""

    frame: Frame
    logits_Khw: Tensor


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
        run = _Run(config, predictor, reader, report)
        ahead = 2 * config.batch_size
        items = in_background(iter(reader), ahead)
        seen = _predict(items, predictor, TemporalSmoother(config.smooth), config.batch_size)
        try:
            # closed from the last to the first: nobody may read from what is closed
            with closing(items), closing(in_background(seen, ahead)) as results:
                for item in results:
                    run.take(item)
                    if progress and isinstance(item, _Seen):
                        progress(run.done, run.expected)
                    if stop.is_set():
                        report.stopped_by = "interrupted"
                        break
        except BaseException:
            run.discard()
            raise
        if not run.done:
            run.discard()
            raise MediaError(
                f"{source}: has no frame in the part that was asked for; look at --start and --end"
            )
        run.finish()
        info, damaged = reader.info, reader.damaged
    counted = count_frames(out)
    if counted != run.done:
        raise OutputError(f"{out}: holds {counted} frames where {run.done} were written; write it elsewhere")
    whole = config.start == 0 and config.end is None and config.stride == 1 and not report.stopped_by
    missing = max(0, info.frames - run.done - damaged) if whole and info.frames else 0
    report.facts = {
        "width": info.width,
        "height": info.height,
        "codec": info.codec,
        "frames_per_second": float(info.rate),
        "frames_by_the_container": info.frames or None,
        "frames_written": run.done,
        "frames_found_in_the_output": counted,
        "damaged": damaged,
        "missing": missing if missing > _TOLERATED_LOSS else 0,
        "outputs": run.outputs,
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


def _predict(
    items: Iterable[Frame | Any], predictor: Predictor, smoother: TemporalSmoother, batch_size: int
) -> Iterator[_Seen | Any]:
    """Frames with their logits, in batches; what is no frame passes through in its place."""
    waiting: list[Frame | Any] = []
    frames = 0
    for item in items:
        waiting.append(item)
        frames += isinstance(item, Frame)
        if frames == batch_size:
            yield from _predicted(waiting, predictor, smoother)
            waiting, frames = [], 0
    yield from _predicted(waiting, predictor, smoother)


def _predicted(
    items: list[Frame | Any], predictor: Predictor, smoother: TemporalSmoother
) -> Iterator[_Seen | Any]:
    logits = iter(predictor.logits([item.small_HWC for item in items if isinstance(item, Frame)]))
    for item in items:
        if isinstance(item, Frame):
            smoothed = smoother.update(next(logits).cpu().numpy(), item.small_HWC)
            yield _Seen(item, torch.from_numpy(smoothed))
        else:
            yield item


class _Run:
    """The end of the line: masks, drawings and files. All in one thread."""

    def __init__(
        self, config: VideoConfig, predictor: Predictor, reader: Reader, report: VideoReport
    ) -> None:
        self.config, self.predictor, self.reader, self.report = config, predictor, reader, report
        self.done = 0
        self.expected = _expected(reader.info, config)
        self.outputs = {"video": config.out}
        self._before: UInt8Array | None = None
        self._video: VideoWriter | None = None
        self._mask_video: VideoWriter | None = None
        self._early: list[Any] = []  # packets from before the first frame, which the writer is made for

    def take(self, item: _Seen | Any) -> None:
        """Draw and write a frame, or copy a packet."""
        if not isinstance(item, _Seen):
            if self._video is None:
                self._early.append(item)
            else:
                self._video.copy(item)
            return
        frame, scheme = item.frame, self.predictor.scheme
        mask_HW = self.predictor.mask(item.logits_Khw, frame.planes.size)
        drawn = draw_planes(frame.planes, mask_HW, scheme, self.config.opacity, self.config.view)
        self._write(frame, mask_HW, drawn)
        self._count(frame, mask_HW, item.logits_Khw)
        if self.report.thumbnails.wanted():
            self.report.thumbnails.add(frame.seconds, to_rgb(drawn))

    def _write(self, frame: Frame, mask_HW: UInt8Array, drawn: Planes) -> None:
        scheme = self.predictor.scheme
        if self._video is None:
            self._begin(frame, drawn)
        assert self._video is not None
        self._video.write(to_frame(drawn), frame.pts)
        palette = None if scheme.num_classes == 2 else scheme.colors
        values_HW = mask_HW * np.uint8(255) if palette is None else mask_HW
        if self._mask_video:
            self._mask_video.write(av.VideoFrame.from_ndarray(values_HW, "gray"), frame.pts)
        if self.config.masks:
            write_mask(Path(self.config.masks, f"{frame.index:06d}.png"), values_HW, palette)
        self.done += 1

    def _begin(self, frame: Frame, drawn: Planes) -> None:
        info, config = self.reader.info, self.config
        height, width = drawn.size
        format = VideoFormat(
            width=width,
            height=height,
            rate=info.rate,
            time_base=info.time_base,
            pixel_format="yuv420p" if drawn.subsampled else "yuv444p",
            pixel_aspect=info.pixel_aspect,
            matrix=frame.planes.matrix,
            full_range=frame.planes.full_range,
            codec=config.codec,
            crf=config.crf,
            hardware=config.hardware,
        )
        self._video = VideoWriter(Path(config.out), format, self.reader.copied)
        for packet in self._early:
            self._video.copy(packet)
        if config.mask_video:
            grey = VideoFormat(
                width=info.width,
                height=info.height,
                rate=info.rate,
                time_base=info.time_base,
                pixel_format="gray",
                pixel_aspect=info.pixel_aspect,
                full_range=True,
                codec="ffv1",
            )
            self._mask_video = VideoWriter(Path(config.mask_video), grey)
            self.outputs["mask_video"] = config.mask_video
        if config.masks:
            self.outputs["masks"] = config.masks

    def _count(self, frame: Frame, mask_HW: UInt8Array, logits_Khw: Tensor) -> None:
        road = self.predictor.scheme.road_class
        changed = 0 if self._before is None else cv2.countNonZero(cv2.absdiff(mask_HW, self._before))
        share = 0 if road is None else np.count_nonzero(mask_HW == road)
        if len(logits_Khw) == 1:
            certain = logits_Khw.abs().sigmoid().mean()
        else:
            certain = logits_Khw.softmax(0).amax(0).mean()
        self._before = mask_HW
        size = mask_HW.size
        self.report.add(frame.index, frame.seconds, share / size, float(certain), changed / size)

    def finish(self) -> None:
        """Make the files whole."""
        for writer in (self._video, self._mask_video):
            if writer:
                writer.close()

    def discard(self) -> None:
        """Leave no file."""
        for writer in (self._video, self._mask_video):
            if writer:
                writer.discard()


def _expected(info: VideoInfo, config: VideoConfig) -> int:
    """How many frames there will be, about; 0: nobody knows."""
    if info.duration is None:
        return 0
    end = min(info.duration, config.end or math.inf)
    seconds = max(0.0, end - config.start)
    whole = info.frames if info.frames and seconds == info.duration else seconds * info.rate
    return math.ceil(whole / config.stride)
