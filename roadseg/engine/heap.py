"""Memory that a training step frees, kept for the next one."""

import ctypes
import os
from typing import Final

# https://man7.org/linux/man-pages/man3/mallopt.3.html: how much may lie unused at the heap's end (-1: any
# amount), and how many pieces may be mapped outside of it, where they are given back when they are freed.
_TRIM_THRESHOLD: Final = -1
_MMAP_MAX: Final = -4
_VARIABLES: Final = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_")


def keep_freed_memory() -> bool:
    """Have glibc keep freed memory, in this process and those forked from it; return whether it was asked.

    By default a large tensor is mapped anew each time, and the system clears its pages one by one: 15 % of
    the time of an epoch of `base` on two cores, 6 % of one of `small`. The price is a twelfth more memory at
    the peak, and that it stays taken until the process ends. So nothing is done where memory has a limit
    (ulimit -v or -d), which what is kept would come up against when a batch is halved; nor where the user has
    set malloc's variables, nor with another C library (macOS, Windows, musl).
    """
    if any(name in os.environ for name in _VARIABLES) or "malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, TypeError):  # another C library has none; Windows has no library without a name
        return False
    return not _limited() and bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, -1))


def _limited() -> bool:
    import resource  # Windows has none

    limits = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    return any(limit != resource.RLIM_INFINITY for limit in limits)
