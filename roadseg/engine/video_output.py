"""The end of a video's way through roadseg: its files. All in one thread."""

import math
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from roadseg.config import VideoConfig
from roadseg.engine.predict import Predictor
from roadseg.engine.video_claim import Claim
from roadseg.engine.video_stages import Drawn, Seen
from roadseg.errors import OutputError
from roadseg.labels import UInt8Array
from roadseg.media.flow import Float32
from roadseg.media.frame_folder import FrameFolder
from roadseg.media.output import write_mask
from roadseg.media.planes import Planes, to_frame, to_rgb
from roadseg.media.video import FFmpegReader
from roadseg.media.video_frame import Frame, VideoInfo
from roadseg.media.video_writer import VideoFormat, VideoWriter, count_frames
from roadseg.metrics.temporal import consistency
from roadseg.report.video import VideoReport

Reader = FFmpegReader | FrameFolder


class VideoOutput:
    """Video, mask video, masks and the rows of the report."""

    def __init__(
        self,
        config: VideoConfig,
        predictor: Predictor,
        reader: Reader,
        report: VideoReport,
        claim: Claim,
    ) -> None:
        self.config, self.predictor, self.reader, self.report = config, predictor, reader, report
        self._claim = claim
        self.done = 0
        self.left_out: list[str] = []
        self.expected = _expected(reader.info, config)
        wanted = {"video": config.out, "mask_video": config.mask_video, "masks": config.masks}
        self.outputs = {kind: str(Path(place).absolute()) for kind, place in wanted.items() if place}
        self._before: UInt8Array | None = None
        self._video: VideoWriter | None = None
        self._mask_video: VideoWriter | None = None
        self._early: list[Any] = []  # packets from before the first frame, which the writer is made for

    def take(self, item: Drawn | Any) -> None:
        """Write a frame, or copy a packet."""
        if not isinstance(item, Drawn):
            if self._video is None:
                self._early.append(item)
            else:
                self._video.copy(item)
            return
        self._write(item.seen.frame, item.mask_HW, item.planes)
        self._count(item.seen, item.mask_HW)
        if self.report.thumbnails.wanted():
            self.report.thumbnails.add(item.seen.frame.seconds, to_rgb(item.planes))

    def _write(self, frame: Frame, mask_HW: UInt8Array, drawn: Planes) -> None:
        scheme = self.predictor.scheme
        if self._video is None:
            self._begin(frame, drawn)
        assert self._video is not None
        duration = frame.duration if self.config.stride == 1 else None
        self._video.write(to_frame(drawn), frame.pts, duration)
        palette = None if scheme.num_classes == 2 else scheme.colors
        values_HW = mask_HW * np.uint8(255) if palette is None else mask_HW
        if self._mask_video:
            self._mask_video.write(av.VideoFrame.from_ndarray(values_HW, "gray"), frame.pts, duration)
        if self._claim.new_masks:
            write_mask(self._claim.new_masks / f"{frame.index:06d}.png", values_HW, palette)
        self.done += 1

    def _begin(self, frame: Frame, drawn: Planes) -> None:
        info, config = self.reader.info, self.config
        self._claim.begin(self.report, self.outputs)
        height, width = drawn.size
        format = VideoFormat(
            width=width,
            height=height,
            rate=info.rate,
            time_base=info.time_base,
            pixel_format="yuv420p" if drawn.subsampled else "yuv444p",
            pixel_aspect=info.pixel_aspect,
            color=info.color,
            full_range=frame.planes.full_range,
            codec=config.codec,
            crf=config.crf,
            hardware=config.hardware,
        )
        self._video = VideoWriter(
            Path(config.out),
            format,
            self.reader.copied,
            metadata=self.reader.metadata,
            chapters=self.reader.chapters,
        )
        self.left_out = [*self.reader.left_out, *self._video.left_out]
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

    def _count(self, seen: Seen, mask_HW: UInt8Array) -> None:
        road = self.predictor.scheme.road_class
        changed = 0 if self._before is None else cv2.countNonZero(cv2.absdiff(mask_HW, self._before))
        share = math.nan if road is None else np.count_nonzero(mask_HW == road)
        steady = math.nan
        if road is not None and self._before is not None and seen.places_hw2 is not None:
            steady = _consistency(self._before, mask_HW, road, seen.places_hw2)
        self._before = mask_HW
        frame, size, sure = seen.frame, mask_HW.size, _certainty(seen.logits_Khw)
        self.report.add(frame.index, frame.seconds, share / size, sure, changed / size, steady)

    def finish(self) -> None:
        """Make the files whole, and then give them their names. Raises OutputError."""
        writers = [writer for writer in (self._video, self._mask_video) if writer]
        for writer in writers:
            found = count_frames(writer.complete())
            if found != self.done:
                raise OutputError(
                    f"{writer.path}: holds {found} frames where {self.done} were written; write it elsewhere"
                )
        self._claim.publish_masks()
        for writer in writers:
            writer.publish()

    @property
    def damaged(self) -> int:
        """Packets of sound that could not be copied."""
        return self._video.damaged if self._video else 0

    def discard(self) -> None:
        """Leave no file."""
        for writer in (self._video, self._mask_video):
            if writer:
                writer.discard()
        self._claim.undo()


def _consistency(before_HW: UInt8Array, now_HW: UInt8Array, road: int, places_hw2: Float32) -> float:
    """Of the road in two masks as they are shown, at the size that motion is known in."""
    size = places_hw2.shape[1::-1]
    before_hw, now_hw = (
        (cv2.resize(mask_HW, size, interpolation=cv2.INTER_NEAREST) == road).astype(np.uint8)
        for mask_HW in (before_HW, now_HW)
    )
    return consistency(before_hw, now_hw, places_hw2)


def _certainty(logits_Khw: Float32) -> float:
    """The mean probability of the class that each pixel shows. In NumPy: torch's threads would spin here."""
    if len(logits_Khw) == 1:
        rest_hw = np.exp(-np.abs(logits_Khw[0]))
    else:
        rest_hw = np.exp(logits_Khw - logits_Khw.max(0)).sum(0) - 1
    return float(np.mean(1 / (1 + rest_hw)))


def _expected(info: VideoInfo, config: VideoConfig) -> int:
    """How many frames there will be, about; 0: nobody knows."""
    if info.duration is None:
        return 0
    end = min(info.duration, config.end or math.inf)
    seconds = max(0.0, end - config.start)
    whole = info.frames if info.frames and seconds == info.duration else seconds * info.rate
    return math.ceil(whole / config.stride)
