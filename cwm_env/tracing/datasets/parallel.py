"""Work on threads, bounded, with its results in the order of the work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(work: Callable[[T], R], items: Iterable[T], parallel: int) -> Iterator[tuple[T, R]]:
    """Each item with its result, in the items' order: the same input gives the same output.

    Args:
        parallel: items in work at once; as many more may wait, so that memory does not grow with the items.

    Raises:
        Exception: what ``work`` raised for an item; the items that have not begun are dropped.
    """
    waiting: list[tuple[T, Future[R]]] = []
    with ThreadPoolExecutor(parallel) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) >= 2 * parallel:
                    first, future = waiting.pop(0)
                    yield first, future.result()
            while waiting:
                first, future = waiting.pop(0)
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
