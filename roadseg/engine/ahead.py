"""Work done ahead in threads: what is read waits for the network, not the network for what is read."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
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
