"""The data sets of a run: for each one the pictures to learn from and those to be judged by."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from roadseg.config import TrainConfig
from roadseg.dataset.samples import Sample, find_samples
from roadseg.errors import DatasetError
from roadseg.labels import LabelScheme
from roadseg.metrics import Scores


@dataclass(frozen=True)
class Source:
    """One data set; `name` is its folder's, made unique."""

    name: str
    train: list[Sample]
    val: list[Sample]


def find_sources(config: TrainConfig) -> list[Source]:
    """Find training and validation samples below every folder of `config.data`; raises DatasetError."""
    if not config.data:
        raise DatasetError("No data set was named. Give its folder with --data DIR.")
    sources: list[Source] = []
    for i, folder in enumerate(config.data):
        root = Path(folder).expanduser()
        train, val = (
            find_samples(root, split, config.dataset, val_fraction=config.val_fraction, seed=config.seed)
            for split in ("train", "val")
        )
        shared = {sample.image for sample in train} & {sample.image for sample in val}
        if shared:
            raise DatasetError(
                f"{min(shared)}: the picture is in both train and val; move it to one of them."
            )
        name = root.resolve().name.replace(",", "_") or f"data{i + 1}"
        taken = {source.name for source in sources}
        sources.append(Source(f"{name}-{i + 1}" if name in taken else name, train, val))
    return sources


def primary_score(scores: Scores, scheme: LabelScheme) -> float:
    """Return what a model is chosen by: IoU of class 1 (the road) for two classes, else the mean IoU.

    0 where it is undefined, so that a model without a score is never the best.
    """
    value = scores.iou[1] if scheme.num_classes == 2 else scores.mean_iou
    return 0.0 if math.isnan(value) else value


def evenly(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Return up to `count` samples, evenly spread over all of them."""
    if len(samples) <= count:
        return list(samples)
    return [samples[i * len(samples) // count] for i in range(count)]
