"""The gradients of one step: its batches through the network, in this process and in those beside it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from roadseg.config import TrainConfig
from roadseg.engine.device import autocast
from roadseg.engine.distributed import Group, gathering
from roadseg.engine.loading import Batch
from roadseg.engine.losses import SegmentationLoss, distillation
from roadseg.engine.memory import out_of_memory
from roadseg.errors import MemoryLimitError
from roadseg.model.unet import RoadNet


class Gradients:
    """Adds up gradients; the loss of a step is that of all its batches and processes together.

    A batch that does not fit in memory is halved, and so are those after it: the step stays the same, but for
    the statistics of batch norms, which are of the parts. Processes in a group must keep in step, and do not.
    """

    def __init__(
        self,
        model: RoadNet,
        teacher: RoadNet | None,
        config: TrainConfig,
        group: Group,
        scaler: torch.amp.GradScaler,
        dtype: torch.dtype | None,
        tell: Callable[[str], None],
    ) -> None:
        """dtype: what the network computes in; None: float32. Model and teacher are on their device."""
        self.network: nn.Module = group.wrap(model)
        self.teacher, self.taught, self.group = teacher, config.teacher_share, group
        self.scaler, self.dtype, self._tell = scaler, dtype, tell
        self._most = config.batch_size  # pictures at once
        self.device = next(model.parameters()).device
        self.loss = SegmentationLoss(config.loss, config.class_weights, config.label_smoothing, group).to(
            self.device
        )

    def add(self, batches: Sequence[Batch]) -> Tensor:
        """Add the gradients of a step, and return its loss: the same in every process.

        Raises MemoryLimitError where a single picture does not fit.
        """
        while True:
            try:
                return self._add(batches)
            except Exception as error:
                if self.group.size > 1 or not out_of_memory(error):
                    raise
                if self._most == 1:
                    raise MemoryLimitError(
                        "out of memory with a single picture; give a smaller --crop or --model"
                    ) from error
            # outside of `except`: until its end the error holds what was computed
            self.network.zero_grad(set_to_none=True)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self._most //= 2
            self._tell(
                f"Out of memory: from here on the network sees {self._most} at once, in steps as before."
            )

    def _add(self, batches: Sequence[Batch]) -> Tensor:
        total = torch.zeros((), device=self.device)
        there = [
            (
                image_BCHW.to(self.device, non_blocking=True, memory_format=torch.channels_last),
                label_BHW.to(self.device, non_blocking=True),
            )
            for batch in batches
            for image_BCHW, label_BHW in zip(*(torch.split(part, self._most) for part in batch), strict=True)
        ]
        pictures = sum(len(image_BCHW) for image_BCHW, _ in there)
        shares = self.loss.shares([label_BHW for _, label_BHW in there])
        for i, (image_BCHW, label_BHW) in enumerate(there):
            with gathering(self.network, wanted=i == len(there) - 1):
                with autocast(self.device, self.dtype):
                    logits_BKHW = self.network(image_BCHW)
                loss: Tensor = self.loss(logits_BKHW, label_BHW) * shares[i]
                if self.teacher is not None:
                    copied = self._copied(self.teacher, image_BCHW, logits_BKHW)
                    share = len(image_BCHW) / pictures
                    loss = (1 - self.taught) * loss + self.taught * share * copied
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _copied(self, teacher: RoadNet, image_BCHW: Tensor, logits_BKHW: Tensor) -> Tensor:
        with torch.no_grad(), autocast(self.device, self.dtype):
            teacher_BKHW = teacher(image_BCHW)
        return self.group.mean(distillation(logits_BKHW, teacher_BKHW))
