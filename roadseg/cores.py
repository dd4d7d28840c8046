"""How many CPU cores there are for this process."""

import math
import os
from pathlib import Path
from typing import Final

# Microseconds of CPU time in each period that the container may have, and the period; or "max".
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def available_cores() -> int:
    """CPU cores that `taskset` and a container (its set of cores, its quota) leave to this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = map(int, _QUOTA.read_text("ascii").split())
    except (OSError, ValueError):  # not Linux, or "max"
        return cores
    return max(1, min(cores, math.ceil(quota / period)))
