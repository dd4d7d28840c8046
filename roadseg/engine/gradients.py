"""The gradients of one step: its batches through the network, in this process and in those beside it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from roadseg.config import TrainConfig
from roadseg.engine.device import autocast
from roadseg.engine.distributed import Group, gathering
from roadseg.engine.loading import Batch
from roadseg.engine.losses import SegmentationLoss, distillation
from roadseg.model.unet import RoadNet


class Gradients:
    """Adds up gradients; the loss of a step is that of all its batches and processes together."""

    def __init__(
        self,
        model: RoadNet,
        teacher: RoadNet | None,
        config: TrainConfig,
        group: Group,
        scaler: torch.amp.GradScaler,
        dtype: torch.dtype | None,
    ) -> None:
        """dtype: what the network computes in; None: float32. Model and teacher are on their device."""
        self.network: nn.Module = group.wrap(model)
        self.teacher, self.taught, self.group = teacher, config.teacher_share, group
        self.scaler, self.dtype = scaler, dtype
        self.device = next(model.parameters()).device
        self.loss = SegmentationLoss(config.loss, config.class_weights, config.label_smoothing, group).to(
            self.device
        )

    def add(self, batches: Sequence[Batch]) -> Tensor:
        """Add the gradients of a step, and return its loss: the same in every process."""
        total = torch.zeros((), device=self.device)
        there = [
            (
                image_BCHW.to(self.device, non_blocking=True, memory_format=torch.channels_last),
                label_BHW.to(self.device, non_blocking=True),
            )
            for image_BCHW, label_BHW in batches
        ]
        shares = self.loss.shares([label_BHW for _, label_BHW in there])
        for i, (image_BCHW, label_BHW) in enumerate(there):
            with gathering(self.network, wanted=i == len(there) - 1):
                with autocast(self.device, self.dtype):
                    logits_BKHW = self.network(image_BCHW)
                loss: Tensor = self.loss(logits_BKHW, label_BHW) * shares[i]
                if self.teacher is not None:
                    copied = self._copied(self.teacher, image_BCHW, logits_BKHW) / len(there)
                    loss = (1 - self.taught) * loss + self.taught * copied
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _copied(self, teacher: RoadNet, image_BCHW: Tensor, logits_BKHW: Tensor) -> Tensor:
        with torch.no_grad(), autocast(self.device, self.dtype):
            teacher_BKHW = teacher(image_BCHW)
        return self.group.mean(distillation(logits_BKHW, teacher_BKHW))
