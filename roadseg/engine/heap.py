"""Memory that a training step frees, kept for the next one."""

import ctypes
import os
from typing import Final

# https://man7.org/linux/man-pages/man3/mallopt.3.html: from how many bytes on memory is mapped on its own and
# given back when freed, and how much may lie unused at the heap's end.
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_LARGEST: Final = 2**30  # bytes; no tensor of a usual step is larger


def keep_freed_memory() -> bool:
    """Have glibc keep freed memory in this process, also large pieces; return whether it does.

    By default a large tensor is mapped anew each time, and the system clears its pages one by one: four
    tenths of a step of `base` on two cores. The price is about an eighth more memory at the peak, and that it
    stays taken until the process ends. Elsewhere (macOS, Windows, musl), and where the user has set malloc's
    thresholds, nothing is done.
    """
    if any(name in os.environ for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, TypeError):  # another C library has none; Windows has no library without a name
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST) and mallopt(_TRIM_THRESHOLD, _LARGEST))
