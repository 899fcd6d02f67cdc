"""Work on threads, a bounded number at once, that a caller who is interrupted can end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait


def run_all(
    calls: Iterable[Callable[[], None]],
    parallel: int,
    *,
    tick: Callable[[], None],
    interrupt: Callable[[], None],
    name: str,
) -> None:
    """Make all calls, and wait for them.

    Args:
        parallel: calls at once.
        tick: called several times a second in the calling thread.
        interrupt: called when this thread is interrupted, again and again until every call that began has ended: it
            takes away what they work with. Those that have not begun are dropped before.
        name: of the threads.

    Raises:
        Exception: the first that a call raised, in their order; the others were run to their end.
    """
    with ThreadPoolExecutor(parallel, thread_name_prefix=name) as pool:
        futures: list[Future[None]] = [pool.submit(call) for call in calls]
        waiting = set(futures)
        try:
            while waiting:
                waiting = wait(waiting, timeout=0.1).not_done
                tick()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            while any(future.running() for future in futures):
                interrupt()
                wait(waiting, timeout=0.2)
            raise
    for future in futures:
        future.result()
