"""A stranger's network has its first picture in a process of its own, in bounds.

A graph of a few bytes can ask for all memory, for years, or for what its runtime dies of. This module is also
the program of that process: it imports nothing of roadseg, and the runtime alone, so that it starts in half a
second.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np

from roadseg.errors import CheckpointError

SECONDS: Final = 60
"""That starting a network may take; ours take a second or two."""
STARTING: Final = 4 * 2**30
"""Bytes that starting a network may take; ours take less than 1 GiB with all threads of a large machine."""
_SIZE: Final = Path("/proc/self/statm")  # its first number: the pages that this process has


def require_answer(files: list[bytes], kind: str, stride: int, source: str) -> None:
    """Let the network in `files` answer to a picture of `stride` x `stride` pixels.

    CheckpointError where it takes too long, too much memory, or kills its process; other errors come again
    where it is started in this one.
    """
    sizes = ",".join(str(len(file)) for file in files)
    command = [sys.executable, "-m", __name__, kind, str(stride), str(STARTING), sizes]
    try:
        done = subprocess.run(
            command, input=b"".join(files), capture_output=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        reason = f"it takes more than {SECONDS} s"
    else:
        if done.returncode in (0, 1) and b"alloc" not in done.stderr:
            return
        reason = f"it asks for more than {STARTING >> 30} GiB of memory"
        if done.returncode not in (0, 1):
            reason = f"it kills its process (exit status {done.returncode})"
    raise CheckpointError(
        f"{source}: refused, because {reason} for a picture of {stride}x{stride} pixels; no network of "
        "roadseg's does."
    )


def _answer(kind: str, stride: str, most: str, sizes: str) -> None:
    data = sys.stdin.buffer.read()
    first = int(sizes.split(",")[0])
    files = [data[:first], data[first:]]
    picture_1HWC = np.zeros((1, int(stride), int(stride), 3), np.uint8)
    if kind == "onnx":
        import onnxruntime

        _limit_memory(int(most))
        providers = ["CPUExecutionProvider"]
        session: Any = onnxruntime.InferenceSession(files[0], providers=providers, enable_fallback=0)
        session.run(None, {session.get_inputs()[0].name: picture_1HWC})
    else:
        import openvino

        core = openvino.Core()
        _limit_memory(int(most))
        core.compile_model(core.read_model(*files), "CPU").create_infer_request().infer([picture_1HWC])


def _limit_memory(more: int) -> None:
    """Let this process allocate `more` bytes and no further. Only Linux counts what is reserved."""
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        ceiling = int(_SIZE.read_text().split()[0]) * resource.getpagesize() + more
        if hard == resource.RLIM_INFINITY or ceiling < hard:
            resource.setrlimit(resource.RLIMIT_AS, (ceiling, hard))


if __name__ == "__main__":
    _answer(*sys.argv[1:])
