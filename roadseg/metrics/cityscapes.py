"""What Cityscapes' official script scores beside the 19 classes: the 7 categories, and single road users.

IoU favours whatever is large. iIoU ("instance-level IoU") weighs each pixel of an object by the mean size of
its class over the object's own size, so that far pedestrians count as much as near ones; false alarms have no
size, and count as they are.

Source: Cordts et al., "The Cityscapes dataset for semantic urban scene understanding", CVPR 2016, section
4.1; cityscapesScripts, evaluation/evalPixelLevelSemanticLabeling.py (`getIouScoreForCategory`,
`getInstanceIouScoreForLabel`, `getInstanceIouScoreForCategory`), which is equalled to the digit. The one
exception: a caravan or trailer that is *predicted* is no class here, there it is a vehicle in the iIoU of
categories. No model of the 19 classes predicts them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadseg.encodings import EVALUATED, UInt8Array
from roadseg.metrics.confusion import ConfusionMatrix, mean_defined, none_for_nan, ratio

CLASSES: Final = tuple(label.name for label in EVALUATED)
CATEGORIES: Final = tuple(dict.fromkeys(label.category for label in EVALUATED))
_CATEGORY: Final = np.array([CATEGORIES.index(label.category) for label in EVALUATED])
# Mean pixels of an object. Source: `args.avgClassSize` of the official script.
_MEAN_PIXELS: Final[Mapping[str, float]] = {
    "person": 3462.4756337644, "rider": 3930.4788056518, "car": 12794.0202738185, "truck": 27855.1264367816,
    "bus": 35732.1511111111, "train": 67583.7075812274, "motorcycle": 6298.7200839748,
    "bicycle": 4672.3249222261,
}  # fmt: skip
# Categories all of whose labels have instances.
_INSTANCE_CATEGORIES: Final = ("human", "vehicle")

_CLASS_OF_ID: Final = np.full(256, -1)
_CLASS_OF_ID[[label.id for label in EVALUATED if label.has_instances]] = [
    index for index, label in enumerate(EVALUATED) if label.has_instances
]
# Void and what else is no class is in a category of its own.
_CATEGORY_OF_MASK: Final = np.full(256, len(CATEGORIES))
_CATEGORY_OF_MASK[: len(CLASSES)] = _CATEGORY


def category_matrix(matrix: ConfusionMatrix) -> ConfusionMatrix:
    """The matrix of the 7 categories, from that of the 19 classes: within a category nothing is confused."""
    counts = np.zeros((len(CATEGORIES), len(CATEGORIES) + 1), np.int64)
    columns = np.append(_CATEGORY, len(CATEGORIES))
    np.add.at(counts, (_CATEGORY[:, None], columns[None, :]), np.array(matrix.to_list(), np.int64))
    return ConfusionMatrix.from_counts(counts.tolist())


class Instance(NamedTuple):
    """One object: its class index, its pixels, those predicted as its class, those as its category."""

    class_index: int
    pixels: int
    found: int
    category_found: int


def count_instances(mask_HW: UInt8Array, instance_HW: NDArray[np.integer]) -> list[Instance]:
    """Every object of a picture, in the order of its id.

    mask_HW: predicted classes of cityscapes19 (255: none). instance_HW: the pixels of `*_instanceIds.png`,
    label id * 1000 + number for an object; below 1000 are groups and things that are not counted. Raises
    ValueError for sizes that differ.
    """
    if mask_HW.shape != instance_HW.shape:
        raise ValueError(f"mask {mask_HW.shape} and instances {instance_HW.shape} differ in shape")
    single = (instance_HW > 1000) & (instance_HW < 256_000)
    ids, predicted = instance_HW[single].astype(np.int64), mask_HW[single]
    truth = _CLASS_OF_ID[ids // 1000]
    counted = truth >= 0  # not a caravan's or a trailer's, which are not evaluated
    ids, predicted, truth = ids[counted], predicted[counted], truth[counted]
    pixels = np.bincount(ids)
    same = _CATEGORY_OF_MASK[predicted] == _CATEGORY[truth]
    found, category_found = (
        np.bincount(ids[right], minlength=len(pixels)) for right in (predicted == truth, same)
    )
    return [
        Instance(int(_CLASS_OF_ID[i // 1000]), int(pixels[i]), int(found[i]), int(category_found[i]))
        for i in np.flatnonzero(pixels)
    ]


@dataclass(frozen=True)
class InstanceScores:
    """iIoU of the classes and categories that have instances; NaN where there is neither truth nor alarm."""

    classes: Mapping[str, float]
    categories: Mapping[str, float]
    instances: int

    @property
    def mean_classes(self) -> float:
        """Mean iIoU of classes, NaN left out."""
        return mean_defined(self.classes.values())

    @property
    def mean_categories(self) -> float:
        """Mean iIoU of categories, NaN left out."""
        return mean_defined(self.categories.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON; an undefined score is None."""
        return {
            "instances": self.instances,
            "mean_iiou": none_for_nan(self.mean_classes),
            "mean_category_iiou": none_for_nan(self.mean_categories),
            "per_class": {name: none_for_nan(score) for name, score in self.classes.items()},
            "per_category": {name: none_for_nan(score) for name, score in self.categories.items()},
        }


def instance_scores(instances: Iterable[Instance], matrix: ConfusionMatrix) -> InstanceScores:
    """iIoU from the objects of all pictures, and their matrix of the 19 classes, which has the false alarms.

    The weighted sums are rounded once, at their end: they do not depend on the order of the pictures.
    """
    each = list(instances)
    counts, categories = matrix.to_list(), category_matrix(matrix).to_list()

    def score(members: list[Instance], found: list[int], table: list[list[int]], k: int) -> float:
        true, missed, alarms = _parts(members, found, table, k)
        return ratio(true, true + alarms + missed)

    of_class, of_category = {}, {}
    for name in _MEAN_PIXELS:
        k = CLASSES.index(name)
        members = [one for one in each if one.class_index == k]
        of_class[name] = score(members, [one.found for one in members], counts, k)
    for name in _INSTANCE_CATEGORIES:
        k = CATEGORIES.index(name)
        members = [one for one in each if _CATEGORY[one.class_index] == k]
        of_category[name] = score(members, [one.category_found for one in members], categories, k)
    return InstanceScores(of_class, of_category, len(each))


def instance_parts(
    instances: Iterable[Instance], matrix: ConfusionMatrix
) -> list[tuple[float, float, float]]:
    """What iIoU is made of, for each class that has instances: weighted pixels found and missed, and alarms.

    They add up over pictures; iIoU is the first over the sum of all three.
    """
    each, counts = list(instances), matrix.to_list()
    parts = []
    for name in _MEAN_PIXELS:
        k = CLASSES.index(name)
        members = [one for one in each if one.class_index == k]
        parts.append(_parts(members, [one.found for one in members], counts, k))
    return parts


def _parts(
    members: Sequence[Instance], found: Sequence[int], table: Sequence[Sequence[int]], k: int
) -> tuple[float, float, float]:
    weights = [_MEAN_PIXELS[CLASSES[one.class_index]] / one.pixels for one in members]
    true = math.fsum(tp * w for tp, w in zip(found, weights, strict=True))
    missed = math.fsum((one.pixels - tp) * w for one, tp, w in zip(members, found, weights, strict=True))
    return true, missed, sum(row[k] for row in table) - table[k][k]
