"""Which device to compute on, and in which precision."""

import os
from contextlib import AbstractContextManager, nullcontext

import torch

from roadseg.cores import available_cores
from roadseg.errors import ConfigError


def resolve_device(name: str) -> torch.device:
    """Return the torch device called `name`; `auto` is CUDA, then Apple's MPS, then the CPU.

    Raises ConfigError for a name that torch does not know, and for a device that this machine lacks.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(
            f"device is {name!r}, which is none; use auto, cpu, cuda, cuda:1 or mps."
        ) from error
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(device.type, False):
        raise ConfigError(
            f"device is {name!r}, but this machine has no such device; use --device auto or cpu."
        )
    return device


def half_precision(device: torch.device, enabled: bool) -> torch.dtype | None:
    """Return the 16-bit type that makes `device` faster, or None where there is none or it is not wanted."""
    if not enabled or device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def autocast(
    device: torch.device, dtype: torch.dtype | None, cached: bool = True
) -> AbstractContextManager[object]:
    """Return the context in which the network computes in `dtype` (None: float32).

    cached: keep converted weights until its end, which CUDA graphs must not.
    """
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype, cache_enabled=cached)


def wait(device: torch.device) -> None:
    """Wait until `device` has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def usable_cores() -> int:
    """How many CPU cores this process may compute on.

    Of those that it has, OMP_NUM_THREADS leaves it a share: Ray sets that in its workers, people where
    several shards run on one machine.
    """
    cores = available_cores()
    share = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(share)) if share.isdecimal() and int(share) else cores
