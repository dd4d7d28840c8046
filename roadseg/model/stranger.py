"""A stranger's network is started under a ceiling of memory: a graph of a few bytes can ask for all of it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_SIZE: Final = Path("/proc/self/statm")  # its first number: the pages that this process has


@contextmanager
def memory_ceiling(more: int) -> Iterator[None]:
    """Let the process allocate `more` bytes and no further; libraries then fail instead of filling memory.

    Linux alone counts what is reserved and can limit it; elsewhere this does nothing.
    """
    if sys.platform != "linux":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    ceiling = int(_SIZE.read_text().split()[0]) * resource.getpagesize() + more
    with suppress(ValueError):  # stricter limits of the user's own stay
        if soft == resource.RLIM_INFINITY or ceiling < soft:
            resource.setrlimit(resource.RLIMIT_AS, (ceiling, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
