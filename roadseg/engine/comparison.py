"""Pictures that show how a model does: each one as it is, with its truth, and with the prediction."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from roadseg.dataset.samples import Sample, read_label
from roadseg.labels import VOID, LabelScheme
from roadseg.media.images import read_rgb, write_rgb
from roadseg.media.resize import fit_size

UInt8 = NDArray[np.uint8]
ROW_WIDTH = 480
VOID_COLOR = (90, 90, 90)


def write_comparison(
    path: Path,
    predict: Callable[[Sequence[UInt8]], list[UInt8]],
    samples: Sequence[Sample],
    scheme: LabelScheme,
) -> None:
    """Write one sheet, a row a sample: picture, truth (void grey), prediction. Raises OutputError."""
    rows = []
    for sample in samples:
        rgb_HWC = read_rgb(sample.image)
        truth_HW = read_label(sample, scheme)
        mask_HW = predict([rgb_HWC])[0]
        height, width = fit_size(*rgb_HWC.shape[:2], ROW_WIDTH)
        cells = [rgb_HWC, _colored(rgb_HWC, truth_HW, scheme), _colored(rgb_HWC, mask_HW, scheme)]
        row = np.hstack([cv2.resize(cell, (width, height), interpolation=cv2.INTER_AREA) for cell in cells])
        rows.append(cv2.copyMakeBorder(row, 0, 0, 0, 3 * ROW_WIDTH - row.shape[1], cv2.BORDER_CONSTANT))
    write_rgb(path, np.vstack(rows).astype(np.uint8))


def _colored(rgb_HWC: UInt8, label_HW: UInt8, scheme: LabelScheme) -> UInt8:
    """The picture under its classes' colours; a black class is left as it is."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: scheme.num_classes] = scheme.colors
    palette[VOID] = VOID_COLOR
    mixed = cv2.addWeighted(rgb_HWC, 0.45, palette[label_HW], 0.55, 0)
    plain = (palette[label_HW] == 0).all(-1, keepdims=True)
    return np.where(plain, rgb_HWC, mixed).astype(np.uint8)
