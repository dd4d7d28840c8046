"""Decoders that kill the process: later it is known which files were being read, and these are tried apart.

Pictures are decoded by C libraries, in this process, because a process for each would cost more than the
decoding. A journal on disk has the names of the files in work (two small writes a picture, into the page
cache). It goes when a run ends, whichever way, unless the process itself dies. The next run into the same
folder then finds it, and tries those files in a child process first.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from threading import Lock, local
from typing import Final, Self

from roadseg.errors import MediaError, RoadsegError
from roadseg.media.images import read_rgb
from roadseg.media.output import cannot_write

_SLOT: Final = 16384  # bytes for the names of a thread: a picture and its label, of 4096 at most on Linux
_SECONDS: Final = 120.0


class Journal:
    """Which files are being read. Safe in threads; a context manager around an orderly run."""

    def __init__(self, path: Path) -> None:
        """Take up what a run that died left at `path`, and begin anew there. OutputError."""
        self._path = path
        self._lock, self._numbers, self._thread = Lock(), count(1), local()
        self._crashed: set[bytes] = set()
        try:
            left = path.read_bytes() if path.is_file() else b""
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb", buffering=0)
            self.suspects = {name for name in left.split(b"\0") if name}
            self._base = self._write(0, b"\0".join(sorted(self.suspects)))
        except OSError as error:
            raise cannot_write(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Only files that are known to kill their decoder are remembered, for runs to come."""
        with self._file, suppress(OSError):
            self._file.truncate(0)
            self._write(0, b"\0".join(sorted(self._crashed)))
        if not self._crashed:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    @contextmanager
    def reading(self, *files: Path) -> Iterator[None]:
        """Around the reading of `files`. MediaError at once if one of them kills its decoder."""
        names = [os.fsencode(os.path.abspath(file)) for file in files]
        for file, name in zip(files, names, strict=True):
            if name in self.suspects:
                self._try(file, name)
        if not hasattr(self._thread, "place"):
            self._thread.place = self._base + next(self._numbers) * _SLOT
        line = b"\0" + b"\0".join(names)[: _SLOT - 2] + b"\0"
        with suppress(OSError):  # a full disk is for those to tell who must write
            self._write(self._thread.place, line)
        try:
            yield
        finally:
            with suppress(OSError):
                self._write(self._thread.place, bytes(len(line)))

    def _try(self, file: Path, name: bytes) -> None:
        try:
            try_apart(file)
        except MediaError:
            self._crashed.add(name)
            raise

    def _write(self, place: int, data: bytes) -> int:
        with self._lock:
            self._file.seek(place)
            self._file.write(data)
        return len(data)


def try_apart(file: Path) -> None:
    """Decode `file` in a child process. MediaError if that is killed by it, or does not end."""
    # -P: what lies in the current folder is nobody's module
    command = [sys.executable, "-P", "-m", "roadseg.media.crashes", os.path.abspath(file)]
    home = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    try:
        code = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired as error:
        raise MediaError(
            f"{file}: decoding it does not end (stopped after {_SECONDS:.0f} s); fetch or make it again"
        ) from error
    except ValueError:  # a NUL in the name: nothing can open it
        return
    if code not in (0, 1):  # 1: an error of Python's, which our own process will tell of
        known = -code in set(signal.Signals)
        what = signal.Signals(-code).name if known else f"exit code {code}"
        raise MediaError(f"{file}: kills its decoder ({what}); fetch or make it again")


if __name__ == "__main__":
    with suppress(RoadsegError):
        read_rgb(Path(sys.argv[1]))
