"""A folder of pictures as a video: sorted as `segment` sorts them, at a rate that the user gives."""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import av
import numpy as np

from roadseg.errors import MediaError
from roadseg.media.find import find_images
from roadseg.media.images import read_rgb
from roadseg.media.planes import read_planes
from roadseg.media.video_frame import Color, Cut, Frame, Size, VideoInfo

# What the planes are made in; of pixels that do not say it, FFmpeg takes BT.601.
_BT709: Final = Color(1, 1, 1)


class FrameFolder:
    """Reads a folder as `FFmpegReader` reads a video.

    Pictures that cannot be read, or are of another size than the first, count as damaged and leave a gap.
    """

    def __init__(self, folder: Path, small: Size, rate: Fraction, cut: Cut) -> None:
        """Find the pictures; raises MediaError when there is none that can be read."""
        self.damaged = self.missing = 0
        self.passed_over: list[str] = []
        self.copied: list[Any] = []
        self.metadata: dict[str, str] = {}
        self.chapters: list[Any] = []
        self.left_out: list[str] = []
        self._cut, self._small = cut, small
        self._jobs = find_images(folder)
        first = next(filter(None, map(self._read, self._jobs)), None)
        if first is None:
            raise MediaError(f"{folder}: none of its pictures can be read; give a folder of whole pictures")
        self.damaged, self.passed_over = 0, []  # they are met again
        self.info = VideoInfo(
            name=str(folder),
            width=first.width,
            height=first.height,
            rate=rate,
            time_base=1 / rate,
            frames=len(self._jobs),
            duration=float(len(self._jobs) / rate),
            codec="pictures",
            color=_BT709,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def abandon(self) -> None:
        """Nothing is kept open."""

    def __iter__(self) -> Iterator[Frame]:
        rate, info, cut = self.info.rate, self.info, self._cut
        begin = math.ceil(cut.begin * rate)  # the first picture that is shown from then on
        name = "yuv444p" if info.width % 2 or info.height % 2 else "yuv420p"
        for number, job in enumerate(self._jobs):
            if number < begin or (number - begin) % cut.stride or number / rate >= cut.limit:
                continue
            picture = self._read(job)
            if picture is not None and (picture.width, picture.height) != (info.width, info.height):
                self._pass_over(
                    f"{job.path}: is {picture.width}x{picture.height}, not {info.width}x{info.height}"
                )
                continue
            if picture is None:
                continue
            height, width = self._small(info.height, info.width)
            small = picture.reformat(
                width, height, interpolation="AREA" if width < info.width else "BILINEAR"
            )
            planes = read_planes(picture.reformat(format=name, dst_colorspace="ITU709"))
            pts = number - begin
            yield Frame(pts, pts, float(pts / rate), 1, planes, small.to_ndarray())

    def _read(self, job: Any) -> Any:
        try:
            return av.VideoFrame.from_ndarray(np.ascontiguousarray(read_rgb(job.path)), "rgb24")
        except MediaError as error:
            self._pass_over(str(error))
            return None

    def _pass_over(self, why: str) -> None:
        self.damaged += 1
        self.passed_over.append(why)
