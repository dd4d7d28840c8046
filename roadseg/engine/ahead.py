"""Work done ahead in threads: what is read waits for the network, not the network for what is read."""

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_GLANCE: Final = 0.1  # seconds between two looks at whether anybody still waits


def map_ahead(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], count: int
) -> Generator[Result, None, None]:
    """`work` of each item, in order, with at most `count` of them begun in advance.

    Memory stays bounded however many items there are, which `pool.map` does not promise. An error of `work`
    is raised where its result would be; closing the generator cancels what has not begun.
    """
    waiting = iter(items)
    running = deque(pool.submit(work, item) for item in islice(waiting, count))
    try:
        while running:
            result = running.popleft().result()
            running.extend(pool.submit(work, item) for item in islice(waiting, 1))
            yield result
    finally:
        for future in running:
            future.cancel()


class Background(Generic[Item]):
    """The same items, made by a thread of their own that is at most `count` of them ahead; iterate it once.

    What `items` raises is raised here, in its place. Once `stop` is set they end, even where the next one
    would never come.
    """

    def __init__(self, items: Iterable[Item], count: int, stop: Event | None = None) -> None:
        self._items, self._stop = items, stop or Event()
        self._queue: Queue[Item | _End] = Queue(count)
        self._closed = Event()
        self._thread = Thread(target=self._work, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        while not (self._stop.is_set() or self._closed.is_set()):
            try:
                item = self._queue.get(timeout=_GLANCE)
            except Empty:
                continue
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def close(self) -> None:
        """Ask the thread to end. It does so once it has made the item that it is at."""
        self._closed.set()

    def ended(self, seconds: float) -> bool:
        """Wait for the thread to end; whether it has."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            with closing(_generator(self._items)) as items:
                for item in items:
                    if not self._offer(item):
                        break
        except BaseException as caught:
            error = caught
        self._offer(_End(error))

    def _offer(self, item: "Item | _End") -> bool:
        while not self._closed.is_set():
            with contextlib.suppress(Full):
                self._queue.put(item, timeout=_GLANCE)
                return True
        return False


def _generator(items: Iterable[Item]) -> Generator[Item, None, None]:
    yield from items


@dataclass(frozen=True, slots=True)
class _End:
    """What stands behind the last item: the error that ended them, if one did."""

    error: BaseException | None
