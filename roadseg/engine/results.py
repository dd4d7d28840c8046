"""What `segment` makes of one picture: its true label read, its files written, its row measured."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from roadseg.config import Ids
from roadseg.dataset.samples import Sample, read_label
from roadseg.engine.scoring import Scorer
from roadseg.errors import ConfigError, DatasetError, MediaError
from roadseg.labels import ENCODINGS, RGB, VOID, LabelScheme, UInt8Array, label_ids
from roadseg.media.images import ImageJob, write_mask, write_rgb
from roadseg.media.output import JPEG_SIDE
from roadseg.media.overlay import draw
from roadseg.media.resize import fit_size
from roadseg.report.html.album import Album, Overlay
from roadseg.report.run import Row

Probabilities = NDArray[np.float32]  # HW of class 1 for two classes, else KHW

# Kind of output -> its folder below the output folder, and its suffix.
OUTPUTS: Final = {"overlay": ("overlays", ".jpg"), "probs": ("probs", ".png"), "mask": ("masks", ".png")}
# Where label files are not called as their pictures: end of the picture's stem -> end of the label's.
_LABEL_ENDINGS: Final = {
    "cityscapes-labelIds": ("_leftImg8bit", "_gtFine_labelIds"),
    "cityscapes-labelTrainIds": ("_leftImg8bit", "_gtFine_labelTrainIds"),
    "idd-lite": ("_image", "_label"),
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture on its way through a run, with its true label if there is one."""

    name: str
    """Its name in the report."""
    outputs: Mapping[str, str]
    """Kind -> path below the output folder."""
    rgb_HWC: UInt8Array
    truth_HW: UInt8Array | None
    seconds: float
    """Spent on it so far."""


class TruthReader:
    """Finds the true label of a picture below `folder`, by the picture's relative path."""

    def __init__(self, folder: Path, label_format: str, scheme: LabelScheme) -> None:
        """ConfigError: unknown format. DatasetError: no such folder, or classes that it cannot give."""
        if label_format not in ENCODINGS:
            raise ConfigError(
                f"label_format is {label_format!r}, but must be one of: {', '.join(ENCODINGS)}."
            )
        if not folder.is_dir():
            raise DatasetError(f"{folder}: no such folder of labels; check the path")
        self.folder, self.scheme = folder, scheme
        self.encoding = ENCODINGS[label_format]
        scheme.table(self.encoding)

    def files(self, job: ImageJob) -> list[Path]:
        """The label file of a picture, if there is one."""
        return [path for path in self._paths(job.relative) if path.is_file()][:1]

    def read(self, job: ImageJob, size: tuple[int, int]) -> UInt8Array:
        """The label as label_HW uint8, void = 255. DatasetError: missing, damaged, not of `size` (HW)."""
        found = self.files(job)
        if not found:
            missing = self._paths(job.relative)[0]
            raise DatasetError(f"{missing}: no label for {job.relative}; add it, or leave the picture out")
        path = found[0]
        sample = Sample(job.path, path, self.encoding, split="", group="", key=job.relative.as_posix())
        truth_HW = read_label(sample, self.scheme)
        if truth_HW.shape != size:
            (label_height, label_width), (height, width) = truth_HW.shape, size
            raise DatasetError(
                f"{path}: the label is {label_width}x{label_height}, but its picture {job.path} is "
                f"{width}x{height}; they must have one size"
            )
        return truth_HW

    def _paths(self, relative: Path) -> list[Path]:
        image_end, label_end = _LABEL_ENDINGS.get(self.encoding.name, ("", ""))
        stems = [relative.stem.removesuffix(image_end) + label_end, relative.stem]
        return [self.folder / relative.with_name(f"{stem}.png") for stem in dict.fromkeys(stems)]


class ResultWriter:
    """Writes what a picture's mask is worth to the user, and measures it. Safe in threads."""

    def __init__(
        self, out: Path, scheme: LabelScheme, opacity: float, ids: Ids, album: Album | None = None
    ) -> None:
        """album: gets every picture. ConfigError when `ids` are the official ones and the scheme has none."""
        self.album = album
        self.scorer = Scorer(scheme)
        self.out, self.scheme, self.opacity = out, scheme, opacity
        self.palette: tuple[RGB, ...] | None = None
        self.values = np.arange(256, dtype=np.uint8)  # class index -> what the file holds
        if ids == "labelIds":
            self.values[: scheme.num_classes] = label_ids(scheme)
        elif scheme.num_classes == 2:
            self.values[1] = 255
        else:
            self.palette = scheme.colors

    def write(
        self,
        picture: Picture,
        mask_HW: UInt8Array,
        probabilities: Probabilities | None = None,
        road_HW: NDArray[np.float32] | None = None,
    ) -> Row:
        """Write the files that `picture.outputs` names; return its row. OutputError.

        probabilities: for its file of them; road_HW: the probability of road, to be scored.
        The mask comes last: where it is, the rest is too.
        """
        start = time.perf_counter()
        paths = {kind: self.out / path for kind, path in picture.outputs.items()}
        overlay = None
        if "overlay" in paths:
            overlay_HWC = draw(picture.rgb_HWC, mask_HW, self.scheme, self.opacity)
            write_rgb(paths["overlay"], _fit_jpeg(overlay_HWC))
            overlay = Overlay(overlay_HWC, picture.outputs["overlay"])
        if self.album:
            self.album.add(picture.name, picture.rgb_HWC, picture.truth_HW, mask_HW, overlay)
        if probabilities is not None:
            shown_HW = probabilities if probabilities.ndim == 2 else probabilities.max(axis=0)
            write_mask(paths["probs"], _uint8(cv2.convertScaleAbs(shown_HW, alpha=255)))
        write_mask(paths["mask"], _uint8(cv2.LUT(mask_HW, self.values)), self.palette)
        truth_HW = picture.truth_HW
        scored = {} if truth_HW is None else self.scorer.score(mask_HW, truth_HW, road_HW)
        return replace(
            self._row(picture.name, picture.outputs, mask_HW),
            **scored,
            seconds=picture.seconds + time.perf_counter() - start,
        )

    def measured(self, name: str, outputs: Mapping[str, str]) -> Row:
        """The row of a picture that is skipped, from the mask that an earlier run left. MediaError."""
        return replace(self._row(name, outputs, self.read_mask(outputs["mask"])), status="skipped")

    def _row(self, name: str, outputs: Mapping[str, str], mask_HW: UInt8Array) -> Row:
        height, width = mask_HW.shape
        road = self.scheme.road_class
        share = None if road is None else np.count_nonzero(mask_HW == road) / mask_HW.size
        return Row(input=name, outputs=outputs, width=width, height=height, road_fraction=share)

    def read_mask(self, path: str) -> UInt8Array:
        """The class indices of a mask that `write` wrote below the output folder. MediaError."""
        try:
            with Image.open(self.out / path) as file:
                file.load()
                values_HW = np.array(file)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow's
            raise MediaError(f"{self.out / path}: cannot be read again ({error}); run it anew") from error
        classes = np.full(256, VOID, np.uint8)
        number = self.scheme.num_classes
        classes[self.values[:number]] = np.arange(number, dtype=np.uint8)
        return np.asarray(classes[values_HW], np.uint8)


def _fit_jpeg(rgb_HWC: UInt8Array) -> UInt8Array:
    """The picture, made smaller if a JPEG cannot be as large."""
    height, width = rgb_HWC.shape[:2]
    if max(height, width) <= JPEG_SIDE:
        return rgb_HWC
    height, width = fit_size(height, width, JPEG_SIDE)
    return _uint8(cv2.resize(rgb_HWC, (width, height), interpolation=cv2.INTER_AREA))


def _uint8(pixels: cv2.typing.MatLike) -> UInt8Array:
    return pixels.astype(np.uint8, copy=False)  # for the type checker: they are
