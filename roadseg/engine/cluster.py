"""Work on a Ray cluster: workers that each load their model once, and are handed small chunks of items.

A chunk whose worker dies, or whose node does, goes to another one, and a new worker is asked for in its
place. Items must be such that doing them twice does no harm.
"""

import contextlib
import logging
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Final, TypeVar

from roadseg.errors import ConfigError, ExtraError, RoadsegError

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Sequence[Item]], Result]

# A chunk is taken apart, and an item given up, after the death of so many workers that had it.
ATTEMPTS: Final = 3
# Chunks that each worker gets, where there are enough items: the last ones must not be waited for long.
_CHUNKS_EACH: Final = 4
_SECONDS_TO_ANSWER: Final = 10


def _knock(address: str) -> None:
    """OSError if nobody listens there: Ray itself would wait for minutes. ConfigError: it is no address."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise ConfigError(f"ray is {address!r}, but must be auto, local, HOST:PORT or ray://HOST:PORT.")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_ANSWER).close()


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Ray ends the process at once on SIGTERM; ours is told how far it came."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


class _Worker:
    """Lives in a process of its own, on any node."""

    def start(self, make: Callable[[], Work[Any, Any]], folder: str) -> None:
        """folder: of the driver, so that relative paths mean the same files."""
        try:
            os.chdir(folder)
        except OSError as error:
            raise RoadsegError(
                f"{os.uname().nodename} has no folder {folder} ({error.strerror}); the machines of a cluster "
                "must share inputs and outputs under the same paths"
            ) from error
        self._work = make()

    def run(self, items: Sequence[Any]) -> Any:
        return self._work(items)


def require_ray() -> Any:
    """Return the package; raises ExtraError where it is not installed."""
    try:
        import ray
    except ImportError as error:
        raise ExtraError("--ray needs Ray, which is not installed: pip install 'roadseg[ray]'") from error
    return ray


class Cluster:
    """A Ray cluster that one is connected to, until `close`."""

    def __init__(self, address: str, *, gpus: bool) -> None:
        """address: `auto`, `HOST:PORT`, `ray://HOST:PORT`, or `local` for one of this machine alone.

        gpus: one worker for each GPU if the cluster has any; else there is one for each CPU core.
        ExtraError: Ray is not installed. ConfigError: no such address. RoadsegError: no such cluster.
        """
        ray = require_ray()
        try:
            if address not in ("auto", "local"):
                _knock(address)
            with _own_sigterm():
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().split("\n")[0]
            raise RoadsegError(
                f"--ray {address}: cannot be reached ({reason}). Start one with `ray start --head` on a "
                "machine and `ray start --address HOST:PORT` on the others, or give --ray local."
            ) from error
        self._ray: Any = ray
        has = self._ray.cluster_resources()
        self._needs = {"num_gpus": 1} if gpus and has.get("GPU") else {"num_cpus": 1}
        self.size = int(has.get("GPU" if "num_gpus" in self._needs else "CPU", 0))
        """Workers that it has room for."""
        if not self.size:
            ray.shutdown()
            raise RoadsegError(f"--ray {address}: the cluster has no CPU to give; add a node to it.")

    def close(self) -> None:
        """Leave the cluster: its workers for us end."""
        self._ray.shutdown()

    def work(
        self, make: Callable[[], Work[Item, Result]], items: Sequence[Item], most: int
    ) -> Generator[tuple[list[int], Result | None], None, None]:
        """Yield (places of a chunk's items, what was made of them), in the order in which they are finished.

        make: called once in each worker; what it returns is called with a chunk, of at most `most` items.
        None in place of a result: `ATTEMPTS` workers died of that item. What the work raises is raised here.
        """
        ray = self._ray
        size = max(1, min(most, -(-len(items) // (_CHUNKS_EACH * self.size))))
        places = [list(range(i, min(i + size, len(items)))) for i in range(0, len(items), size)]
        waiting = deque((chunk, 0) for chunk in places)
        busy: dict[Any, tuple[Any, tuple[list[int], int] | None]] = {}  # call -> its worker, chunk and deaths
        remote = ray.remote(_Worker).options(**self._needs)

        def hire() -> None:
            worker = remote.remote()
            busy[worker.start.remote(make, os.getcwd())] = worker, None

        def assign(worker: Any) -> None:
            if waiting:
                chunk, deaths = waiting.popleft()
                busy[worker.run.remote([items[i] for i in chunk])] = worker, (chunk, deaths)

        for _ in range(min(self.size, len(waiting))):
            hire()
        idle: list[Any] = []
        stillborn = 0
        while waiting or any(task for _, task in busy.values()):
            (call,), _ = ray.wait(list(busy), num_returns=1)
            worker, task = busy.pop(call)
            try:
                result = ray.get(call)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except ray.exceptions.RayError as error:  # of worker, node, network or memory
                stillborn += task is None
                if stillborn >= ATTEMPTS * self.size:
                    raise RoadsegError(
                        f"The workers of the cluster die as they start ({str(error).splitlines()[0]}). Is "
                        "roadseg installed on every node, and is there memory for it?"
                    ) from error
                hire()
                if task:
                    chunk, deaths = task
                    if deaths + 1 < ATTEMPTS:
                        waiting.append((chunk, deaths + 1))
                    elif len(chunk) > 1:
                        waiting.extend(([place], 0) for place in chunk)
                    else:
                        yield chunk, None
            else:
                idle.append(worker)
                stillborn = 0
                if task:
                    yield task[0], result
            while idle and waiting:
                assign(idle.pop())
