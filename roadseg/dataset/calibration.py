"""The cameras of KITTI road: calib/um_000000.txt beside image_2/um_000000.png."""

from pathlib import Path
from typing import Final

import numpy as np

from roadseg.dataset.samples import Sample
from roadseg.errors import DatasetError
from roadseg.metrics.birdseye import Float64, road_to_image

_SHAPES: Final = {"P2": (3, 4), "R0_rect": (3, 3), "Tr_cam_to_road": (3, 4)}


def calibration_path(sample: Sample, folder: Path | None = None) -> Path | None:
    """Where the calibration of a picture is, or must be; None for pictures that have none.

    folder: where to look; None: in calib/ beside the pictures of KITTI road, if it is there.
    """
    if folder is None:
        beside = sample.image.parent.with_name("calib")
        if sample.encoding.name != "kitti-road" or not beside.is_dir():
            return None
        folder = beside
    return folder / f"{sample.image.stem}.txt"


def read_calibration(path: Path) -> Float64:
    """The camera of a picture as `road_to_image` gives it. DatasetError: missing, or no such file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        values = {name.strip(): text.split() for name, _, text in (line.partition(":") for line in lines)}
        matrices = [np.array(values[name], np.float64).reshape(shape) for name, shape in _SHAPES.items()]
        if not all(np.isfinite(matrix).all() for matrix in matrices):
            raise ValueError("not all of its numbers are finite")
        return road_to_image(*matrices)
    except FileNotFoundError as error:
        raise DatasetError(
            f"{path}: there is no such calibration; unpack data_road.zip again, or move the folder away to "
            "do without the view from above"
        ) from error
    except (OSError, KeyError, ValueError, np.linalg.LinAlgError) as error:
        raise DatasetError(
            f"{path}: is no calibration of KITTI road, with P2, R0_rect and Tr_cam_to_road ({error!r}); "
            "unpack data_road.zip again"
        ) from error
