"""Pictures that show how a model does: each one as it is, with its truth, and with the prediction."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from roadseg.dataset.samples import Sample, read_label
from roadseg.labels import LabelScheme
from roadseg.media.images import read_rgb
from roadseg.media.output import write_rgb
from roadseg.media.overlay import draw
from roadseg.media.resize import fit_size

UInt8 = NDArray[np.uint8]
CELL_WIDTH = 480
OPACITY = 0.55


def write_comparison(
    path: Path,
    predict: Callable[[Sequence[UInt8]], list[UInt8]],
    samples: Sequence[Sample],
    scheme: LabelScheme,
) -> None:
    """Write one sheet, a row a sample: picture, truth, prediction. Raises OutputError."""
    rows = []
    for sample in samples:
        rgb_HWC = read_rgb(sample.image)
        labels = (read_label(sample, scheme), predict([rgb_HWC])[0])
        height, width = fit_size(rgb_HWC.shape[0], rgb_HWC.shape[1], CELL_WIDTH)
        cells = [rgb_HWC, *(draw(rgb_HWC, label_HW, scheme, OPACITY) for label_HW in labels)]
        row = np.hstack([cv2.resize(cell, (width, height), interpolation=cv2.INTER_AREA) for cell in cells])
        rows.append(cv2.copyMakeBorder(row, 0, 0, 0, 3 * CELL_WIDTH - row.shape[1], cv2.BORDER_CONSTANT))
    write_rgb(path, np.vstack(rows).astype(np.uint8))
