"""The scores of `segment --labels`: what is counted in each picture, and what follows from all of them."""

import threading
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from roadseg.engine.evaluation import boundary_section, road_section
from roadseg.engine.measures import Measures, outlined_classes
from roadseg.labels import LabelScheme, UInt8Array
from roadseg.metrics import ConfusionMatrix, none_for_nan, per_image, scores
from roadseg.metrics.boundary import BoundaryCounts
from roadseg.metrics.curves import RoadHistogram
from roadseg.report.run import RunReport


class RoadCounts(NamedTuple):
    """The histogram of so many pictures; it alone does not tell whose."""

    images: int
    histogram: RoadHistogram


class Scorer:
    """Counts pictures against their truth, as `eval` does. Safe in threads.

    The histograms are summed at once: one is 64 KiB, and memory is not to grow with the number of pictures.
    """

    def __init__(self, scheme: LabelScheme) -> None:
        self.measures = Measures(scheme, boundary=True)
        self._images, self._histogram = 0, RoadHistogram()
        self._lock = threading.Lock()

    def score(
        self, mask_HW: UInt8Array, truth_HW: UInt8Array, road_HW: NDArray[np.float32] | None
    ) -> dict[str, Any]:
        """The fields of a row. road_HW: the probability of road 0..1; None: there is no road."""
        scheme = self.measures.scheme
        matrix = ConfusionMatrix(scheme.num_classes)
        matrix.update(torch.tensor(mask_HW), torch.tensor(truth_HW))
        result = scores(matrix, scheme.classes)
        outlines = self.measures.boundaries(mask_HW, truth_HW)
        if road_HW is not None:
            of_picture = self.measures.histogram(road_HW, truth_HW)
            with self._lock:
                self._images, self._histogram = self._images + 1, self._histogram + of_picture
        iou = result.iou[1] if scheme.num_classes == 2 else result.mean_iou
        return {
            "iou": none_for_nan(iou),
            "counts": matrix.to_list(),
            "boundary": [list(counts) for counts in outlines],
        }

    def take(self, road: RoadCounts) -> None:
        """Add what another process has counted."""
        with self._lock:
            self._images, self._histogram = self._images + road.images, self._histogram + road.histogram

    @property
    def road(self) -> RoadCounts:
        """Of all pictures so far."""
        return RoadCounts(self._images, self._histogram)


def road_plane(probabilities: NDArray[np.float32], scheme: LabelScheme) -> NDArray[np.float32] | None:
    """The probability_HW of road out of that of class 1 of two (HW) or of every class (KHW); None without."""
    if probabilities.ndim == 2:
        return probabilities
    return None if scheme.road_class is None else probabilities[scheme.road_class]


def road_counts(report: RunReport) -> RoadCounts | None:
    """Those in a report, if it has any. ValueError, KeyError or TypeError where they are none."""
    if report.road is None:
        return None
    return RoadCounts(report.road["images"], RoadHistogram(report.road["counts"]))


def score_run(report: RunReport, roads: Iterable[RoadCounts | None]) -> None:
    """Give a report its scores: of the sum of its rows' counts, and means over pictures; none without counts.

    roads: of the runs that its rows come from. A histogram cannot be taken apart: where they are not of the
    report's pictures, all of them and once each (some were done anew), the report gets none.
    """
    scored = [row for row in report.rows if row.counts]
    if not scored:
        return
    matrices = [ConfusionMatrix.from_counts(row.counts) for row in scored if row.counts]
    total = sum(matrices, ConfusionMatrix(len(report.classes)))
    report.scores = {
        "global": scores(total, report.classes).to_dict(),
        "per_image": per_image(
            (scores(matrix, report.classes) for matrix in matrices), report.classes
        ).to_dict(),
    }
    names = [report.classes[k] for k in outlined_classes(len(report.classes))]
    outlines = [[BoundaryCounts(*counts) for counts in row.boundary] for row in scored if row.boundary]
    if len(outlines) == len(scored):  # reports of older versions have none
        report.boundary = boundary_section(outlines, names)
    given = [road for road in roads if road and road.images]
    if sum(road.images for road in given) == len(scored):
        histogram = sum((road.histogram for road in given), RoadHistogram())
        report.road = {"images": len(scored), **road_section(histogram)}
