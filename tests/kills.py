"""Commands of roadseg in processes that can be killed, forked from one that has imported everything once."""

import multiprocessing
import os
import resource
import signal
import sys
from itertools import count
from pathlib import Path
from typing import Any

import torch

from roadseg.cli.app import main

_FORKED = multiprocessing.get_context("forkserver")
# what the commands import when they run: a fork then has it already
_FORKED.set_forkserver_preload(
    [
        "roadseg.cli.app",
        "roadseg.cli.segmenting",
        "roadseg.cli.training",
        "roadseg.cli.video",
        "roadseg.engine.pages",
        "roadseg.engine.runs",
        "matplotlib.backends.backend_agg",
        "jinja2",
    ]
)


class Command:
    """`roadseg ARGUMENTS` as a process of its own, which begins at once."""

    def __init__(self, *arguments: object, log: Path, rename: int = 0, largest: int = 0) -> None:
        """rename: it dies by SIGKILL before it gives a file its final name for the so manieth time.

        largest: bytes that a file may have (RLIMIT_FSIZE); 0: any.
        """
        self.log = log
        words = [str(argument) for argument in arguments]
        self.process = _FORKED.Process(target=_run, args=(words, str(log), rename, largest))
        self.process.start()

    def ended(self, seconds: float = 240) -> int:
        """Wait for its end, and return its exit code."""
        self.process.join(seconds)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
            raise AssertionError(f"it hangs:\n{self.said}")
        return code

    def kill(self, seconds: float) -> bool:
        """`kill -9` after so many seconds; whether it was still running."""
        self.process.join(seconds)
        self.process.kill()
        self.process.join()
        return self.process.exitcode == -signal.SIGKILL

    def send(self, number: int) -> None:
        """A signal from outside."""
        assert self.process.pid
        os.kill(self.process.pid, number)

    @property
    def said(self) -> str:
        """What it printed, on stdout and stderr."""
        return self.log.read_text()


def _run(words: list[str], log: str, rename: int, largest: int) -> None:
    stream = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    if rename:
        _die_at(rename)
    if largest:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    sys.argv = ["roadseg", *words]
    main()


def _die_at(rename: int) -> None:
    real, numbers = os.replace, count(1)

    def replace(*arguments: Any, **options: Any) -> None:
        if next(numbers) == rename:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*arguments, **options)

    os.replace = replace
