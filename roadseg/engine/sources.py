"""The data sets of a run: for each one the pictures to learn from and those to be judged by."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from roadseg.config import TrainConfig
from roadseg.dataset.samples import Sample, find_samples
from roadseg.errors import ConfigError, DatasetError
from roadseg.labels import LabelScheme
from roadseg.metrics import Scores

Item = TypeVar("Item")


@dataclass(frozen=True)
class Source:
    """One data set; `name` is its folder's, made unique."""

    name: str
    train: list[Sample]
    val: list[Sample]


def find_sources(config: TrainConfig) -> list[Source]:
    """Find training and validation samples below every folder of `config.data`.

    Raises ConfigError when no folder is named, and DatasetError when one cannot be trained on.
    """
    if not config.data:
        raise ConfigError("No data set was named. Give its folder with --data DIR.")
    roots = [Path(folder).expanduser() for folder in config.data]
    sources: list[Source] = []
    for name, root in zip(unique_names(roots), roots, strict=True):
        train, val = (
            find_samples(root, split, config.dataset, val_fraction=config.val_fraction)
            for split in ("train", "val")
        )
        sources.append(Source(name, train, val))
    _require_apart(sources)
    return sources


def _require_apart(sources: Sequence[Source]) -> None:
    """DatasetError where a picture is in both, by whatever names: of a link, or of another data set."""
    learnt = {sample.image.resolve(): sample.image for source in sources for sample in source.train}
    for source in sources:
        for sample in source.val:
            if same := learnt.get(sample.image.resolve()):
                alias = "" if same == sample.image else f" (there as {same})"
                raise DatasetError(
                    f"{sample.image}: the picture is in val and in train{alias}; keep it in one of them."
                )


def unique_names(folders: Sequence[Path]) -> list[str]:
    """Return the name of each folder (without commas, for tables); `-2`, `-3`, ... tell equal ones apart."""
    names: list[str] = []
    for folder in folders:
        base = folder.resolve().name.replace(",", "_") or "data"
        name, number = base, 1
        while name in names:
            number += 1
            name = f"{base}-{number}"
        names.append(name)
    return names


def primary_score(scores: Scores, scheme: LabelScheme) -> float:
    """Return what a model is chosen by: IoU of class 1 (the road) for two classes, else the mean IoU.

    0 where it is undefined, so that a model without a score is never the best.
    """
    value = scores.iou[1] if scheme.num_classes == 2 else scores.mean_iou
    return 0.0 if math.isnan(value) else value


def evenly(items: Sequence[Item], count: int) -> list[Item]:
    """Return up to `count` of the items, evenly spread over all of them."""
    if len(items) <= count:
        return list(items)
    return [items[i * len(items) // count] for i in range(count)]
