"""Work done ahead in threads: what is read waits for the network, not the network for what is read."""

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from queue import Full, Queue
from threading import Event, Thread
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


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


def in_background(items: Iterable[Item], count: int) -> Generator[Item, None, None]:
    """The same items, made by a thread of their own that is at most `count` of them ahead.

    What `items` raises is raised here, in its place. Closing the generator ends the thread, and closes
    `items` if that is a generator.
    """
    queue: Queue[Item | _End] = Queue(count)
    closed = Event()

    def offer(item: Item | _End) -> bool:
        while not closed.is_set():
            with contextlib.suppress(Full):
                queue.put(item, timeout=0.1)
                return True
        return False

    def work() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if not offer(item):
                    break
        except BaseException as caught:
            error = caught
        finally:
            close = getattr(items, "close", None)
            if close:
                close()
        offer(_End(error))

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        while not isinstance(item := queue.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        closed.set()
        thread.join()


@dataclass(frozen=True, slots=True)
class _End:
    """What stands behind the last item: the error that ended them, if one did."""

    error: BaseException | None
