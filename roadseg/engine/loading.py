"""The batches of a training: this process's part of each, in the order that seed and epoch alone decide."""

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from roadseg.config import TrainConfig
from roadseg.dataset.augment import crop_sizes, make_augmentation
from roadseg.dataset.samples import Sample
from roadseg.dataset.segmentation import EpochSampler, SegmentationDataset, own_car_class, rest_class
from roadseg.engine.distributed import Group
from roadseg.errors import ConfigError
from roadseg.labels import LabelScheme

Batch = tuple[Tensor, Tensor]
"""image_BCHW and label_BHW, uint8."""


class Batches:
    """The steps of an epoch, each of `config.accumulate` batches; `dataset` is what they come from."""

    def __init__(
        self,
        samples: list[Sample],
        scheme: LabelScheme,
        config: TrainConfig,
        group: Group,
        device: torch.device,
    ) -> None:
        """ConfigError: several processes or batches share a step, and there are too few samples for one."""
        special = own_car_class(scheme), rest_class(scheme)
        augmentations = [
            make_augmentation(config.augment, config.imgsz, crop, *special)
            for crop in crop_sizes(config.augment, config.crop or config.imgsz)
        ]
        self.dataset = SegmentationDataset(samples, scheme, config.imgsz, augmentations, config.seed)
        self.accumulate = config.accumulate
        step = config.batch_size * config.accumulate
        self.sampler = EpochSampler(len(samples), config.seed, step=step)
        if group.size * config.accumulate > 1:
            self.sampler = EpochSampler(
                len(samples), config.seed, group.rank, group.size, config.batch_size, config.accumulate, step
            )
            if not len(self.sampler):
                raise ConfigError(
                    f"A step has {group.size} x {config.accumulate} x {config.batch_size} pictures "
                    f"(processes x accumulate x batch_size), but there are {len(samples)}; give a smaller "
                    "--batch-size."
                )
        self.loader: DataLoader[Batch] = DataLoader(
            self.dataset,
            config.batch_size,
            sampler=self.sampler,
            num_workers=config.workers,
            # A last batch of one picture would break batch statistics, so short last batches are left out.
            drop_last=len(samples) > config.batch_size,
            pin_memory=device.type == "cuda",
            persistent_workers=config.workers > 0,
        )

    def __len__(self) -> int:
        """Steps of an epoch."""
        return len(self.loader) // self.accumulate

    def steps(self, epoch: int) -> Iterator[list[Batch]]:
        """The batches of each step of an epoch (from 1)."""
        self.sampler.epoch = epoch
        yield from _grouped(self.loader, self.accumulate)


def _grouped(batches: Iterable[Batch], count: int) -> Iterator[list[Batch]]:
    rest = iter(batches)
    while step := list(islice(rest, count)):
        yield step
