"""The pictures for a run's page: how each kind of run gets one back that it has done before."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from roadseg.dataset.samples import Sample, read_pair
from roadseg.engine.evaluate import MaskPredictor
from roadseg.engine.predictions import Format
from roadseg.engine.results import ResultWriter, TruthReader
from roadseg.errors import DatasetError, MediaError
from roadseg.labels import VOID
from roadseg.media.images import ImageJob, read_rgb
from roadseg.report.html.album import Album, Pictures, Seen, jpeg_uri
from roadseg.report.html.page import Page, write_page
from roadseg.report.html.training import read_course, sheet_path, train_page
from roadseg.report.html.video import video_page
from roadseg.report.video import VideoReport

PAGE: Final = "report.html"
_SHEET_WIDTH: Final = 1280  # of the picture of predictions, which is three cells wide


def evaluation_album(page: Path, predictor: MaskPredictor, samples: Mapping[str, Sample]) -> Album:
    """An album whose large pictures are predicted anew: a dozen of them, a second or two.

    samples: by the key that each picture has in the album.
    """

    def reopen(key: str) -> Seen:
        rgb_HWC, label_HW = read_pair(samples[key], predictor.scheme)
        return rgb_HWC, label_HW, predictor.predict([rgb_HWC])[0]

    album = Album(page, predictor.scheme)
    album.reopen = reopen
    return album


def predictions_album(
    page: Path, files: Mapping[str, Path], form: Format, samples: Sequence[Sample]
) -> Album:
    """An album of large pictures alone: to score masks, the pictures themselves are not read."""
    by_key = {sample.key: sample for sample in samples}

    def reopen(key: str) -> Seen:
        rgb_HWC, label_HW = read_pair(by_key[key], form.scheme)
        mask_HW = np.full(label_HW.shape, VOID, np.uint8)
        if key in files:
            with contextlib.suppress(DatasetError):  # what cannot be used is shown as it was scored: missed
                mask_HW = form.read(files[key], (label_HW.shape[0], label_HW.shape[1]))
        return rgb_HWC, label_HW, mask_HW

    album = Album(page, form.scheme)
    album.reopen = reopen
    return album


def reopener(
    tasks: Mapping[str, tuple[ImageJob, str]], writer: ResultWriter, truth: TruthReader | None
) -> Callable[[str], Seen]:
    """Brings back a picture of `segment` from its files. tasks: name -> job, and path of its mask."""

    def reopen(key: str) -> Seen:
        if key not in tasks:  # of an earlier run: where its picture was is not known
            raise MediaError(f"{key}: is no part of this run; run it again")
        job, mask = tasks[key]
        rgb_HWC = read_rgb(job.path)
        truth_HW = truth.read(job, rgb_HWC.shape[:2]) if truth else None
        return rgb_HWC, truth_HW, writer.read_mask(mask)

    return reopen


def write_video_page(stem: Path, report: VideoReport) -> None:
    """Write `stem`.html from the documents beside it, with frames of the video. Raises OutputError."""
    frames = [(seconds, jpeg_uri(rgb_HWC)) for seconds, rgb_HWC in report.thumbnails.chosen()]
    write_page(stem.with_name(stem.name + ".html"), video_page(stem, frames))


def training_page(
    folder: Path, ran: Mapping[str, Any], shelves: Mapping[str, Pictures] | None = None
) -> Page:
    """The page of the training in `folder`, with the sheet of predictions of its best epoch.

    ran and shelves are as for `train_page`. Raises OutputError, and MediaError for a damaged sheet.
    """
    best = read_course(folder).best
    path = sheet_path(folder, int(best["epoch"])) if best else None
    sheet = None
    if path and path.is_file():
        rgb_HWC = read_rgb(path)
        height, width = rgb_HWC.shape[:2]
        size = (_SHEET_WIDTH, round(height * _SHEET_WIDTH / width))
        sheet = jpeg_uri(np.asarray(cv2.resize(rgb_HWC, size, interpolation=cv2.INTER_AREA), np.uint8))
    return train_page(folder, sheet, ran, shelves)


def write_stopped_page(folder: Path, command_line: str) -> None:
    """Write the page of a training that Ctrl-C ended, from what its epochs left: nothing is measured anew.

    Nothing is written where no epoch was finished. Raises OutputError.
    """
    if (folder / "results.csv").is_file():
        page = training_page(folder, {"command_line": command_line})
        page.warning = f"The training was interrupted; roadseg train --resume {folder} goes on with it."
        write_page(folder / PAGE, page)
