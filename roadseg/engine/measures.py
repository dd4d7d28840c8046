"""What is counted in a picture beside its confusion matrix: outlines, single objects, road probabilities."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roadseg.dataset.calibration import calibration_path, read_calibration
from roadseg.dataset.samples import Sample, read_instances
from roadseg.errors import DatasetError
from roadseg.labels import VOID, LabelScheme, UInt8Array
from roadseg.metrics import cityscapes
from roadseg.metrics.birdseye import from_above, pixels_of_cells
from roadseg.metrics.boundary import BoundaryCounts, count_boundaries
from roadseg.metrics.cityscapes import Instance, count_instances
from roadseg.metrics.curves import RoadHistogram


@dataclass(frozen=True, slots=True)
class Extras:
    """The further counts of one picture; they add up over pictures."""

    boundaries: tuple[BoundaryCounts, ...] = ()
    """Of each of `Measures.outlined`."""
    instances: tuple[Instance, ...] | None = None
    """None: it is not known which pixels are one object."""


def outlined_classes(number: int) -> tuple[int, ...]:
    """The classes whose outlines are counted: class 1, the road, of two; of more, every one."""
    return (1,) if number == 2 else tuple(range(number))


class Measures:
    """What to count: chosen once for a run. Safe in threads."""

    def __init__(self, scheme: LabelScheme, *, boundary: bool, calib: Path | None = None) -> None:
        """boundary: outlines, too: of the road for two classes, else of every class.

        calib: folder of calibrations; None: those beside the pictures, of KITTI road.
        """
        self.scheme, self.calib = scheme, calib
        self.outlined = outlined_classes(scheme.num_classes) if boundary else ()
        self.road = 1 if scheme.num_classes == 2 else scheme.road_class
        self._has_instances = scheme.classes == cityscapes.CLASSES

    def count(self, sample: Sample, mask_HW: UInt8Array, label_HW: UInt8Array) -> Extras:
        """The counts of a picture, from its classes. DatasetError: its file of instances is bad."""
        boundaries = self.boundaries(mask_HW, label_HW)
        instance_HW = read_instances(sample) if self._has_instances else None
        if instance_HW is None:
            return Extras(boundaries)
        if instance_HW.shape != label_HW.shape:
            raise DatasetError(f"{sample.label}: its file of instanceIds has another size; fetch both again")
        return Extras(boundaries, tuple(count_instances(mask_HW, instance_HW)))

    def boundaries(self, mask_HW: UInt8Array, label_HW: UInt8Array) -> tuple[BoundaryCounts, ...]:
        """The counts of the outlines of each of `outlined`."""
        return tuple(count_boundaries(mask_HW, label_HW, self.outlined)) if self.outlined else ()

    def histogram(self, probability_HW: NDArray[np.float32], label_HW: UInt8Array) -> RoadHistogram:
        """How often each probability of road was given to road, and to anything else."""
        if self.road is None:
            raise ValueError(f"{self.scheme.name} has no road")
        histogram = RoadHistogram()
        histogram.update(probability_HW, label_HW, self.road)
        return histogram

    def histograms(
        self, sample: Sample, probability_HW: NDArray[np.float32], label_HW: UInt8Array
    ) -> tuple[RoadHistogram, RoadHistogram | None]:
        """`histogram` in the picture, and as seen from above; None without a calibration.

        DatasetError: that is bad.
        """
        in_picture = self.histogram(probability_HW, label_HW)
        path = calibration_path(sample, self.calib)
        if path is None:
            return in_picture, None
        cells = pixels_of_cells(read_calibration(path), (label_HW.shape[0], label_HW.shape[1]))
        return in_picture, self.histogram(
            from_above(probability_HW, cells, 0), from_above(label_HW, cells, VOID)
        )
