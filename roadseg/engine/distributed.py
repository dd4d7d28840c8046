"""Training in several processes, as `torchrun` starts them: who writes, and how numbers are put together.

torch's DistributedDataParallel takes the mean of the gradients. What is here beside it makes the loss, the
counts of a validation and every decision (best, early stop, learning rate) those of the whole group.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from roadseg.engine.device import resolve_device
from roadseg.errors import ConfigError, RoadsegError

Value = TypeVar("Value")

# Else torchrun keeps the store of the group that died, and the new one reads the addresses of the dead in it
# (https://github.com/pytorch/pytorch/issues/135712).
FRESH_STORE: Final = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"
# How long the others wait while rank 0 decodes a large data set into the cache on disk.
_PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Group:
    """The processes of one training: this one has a rank, and rank 0 is the one that writes and shows."""

    rank: int = 0
    size: int = 1
    elastic: bool = False
    """Whether torchrun started it, which starts it again when a process has died."""

    @property
    def writes(self) -> bool:
        """Whether files and lines for people are this process's affair."""
        return self.rank == 0

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, the same bits in each of them; integers add up exactly.

        Its gradient is `size` times that of the own part, so that the mean which DistributedDataParallel
        takes of the gradients is the gradient of a loss that is computed from totals.
        """
        if self.size == 1:
            return tensor
        total = tensor.detach().clone()
        dist.all_reduce(total)
        return total + self.size * (tensor - tensor.detach()) if tensor.requires_grad else total

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean over all processes, with the gradient that belongs to it."""
        return tensor if self.size == 1 else self.total(tensor) / self.size

    def agree(self, value: Value) -> Value:
        """What rank 0 has, in every process: plain types."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    def share_buffers(self, module: nn.Module) -> None:
        """Give every process the buffers of rank 0 (the statistics of BatchNorm, of its share of a batch)."""
        if self.size > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model as it is to be called in training: its gradients become the mean over the group."""
        return model if self.size == 1 else DistributedDataParallel(model)


ALONE = Group()


def gathering(model: nn.Module, wanted: bool) -> AbstractContextManager[object]:
    """The context of a backward pass; unless `wanted`, gradients stay in the process, to be added to."""
    if wanted or not isinstance(model, DistributedDataParallel):
        return nullcontext()
    return model.no_sync()


@contextmanager
def joined(device: str) -> Iterator[Group]:
    """Join the group that torchrun's environment tells of; a process started without it is alone.

    RoadsegError: the environment is there, but the group cannot be had.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield ALONE
        return
    where = f"RANK {os.environ['RANK']} of WORLD_SIZE {os.environ['WORLD_SIZE']}"
    backend = "nccl" if own_device(device).type == "cuda" else "gloo"
    try:
        group = Group(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), elastic=True)
        if group.size > 1:
            dist.init_process_group(backend, timeout=_PATIENCE)
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0":
            reason += f"; a restarted group needs torchrun started with {FRESH_STORE}"
        raise RoadsegError(
            f"The environment is torchrun's ({where}), but the group cannot start with {backend} ({reason}). "
            "Start with `torchrun --nproc-per-node N -m roadseg train ...`, or unset RANK and WORLD_SIZE to "
            "train in one process."
        ) from error
    try:
        yield group
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise RoadsegError(
            f"Process {group.rank} of {group.size} stops, because another one has ended; see its message."
        ) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def own_device(name: str) -> torch.device:
    """The device called `name`; of the processes that torchrun starts on a machine, each has its own GPU."""
    device = resolve_device(name)
    if device.type != "cuda" or not {"RANK", "LOCAL_RANK"} <= os.environ.keys():
        return device
    if ":" in name:
        raise ConfigError(f"device is {name!r}, but every process has a GPU of its own here; give cuda.")
    device = resolve_device(f"cuda:{os.environ['LOCAL_RANK']}")
    torch.cuda.set_device(device)
    return device
