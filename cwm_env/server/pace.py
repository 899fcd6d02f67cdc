"""The order in which steps begin: first come, first served, the tenants by turns, and not all at once.

A thousand shells that run at the same time push each other, and the server, out of the processor and its caches: all
become slow, and chance says whose answer comes first. So only a few begin at once. One that takes longer than a moment
waits for something, or computes; it then no longer counts, and holds nobody up.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict, deque
from collections.abc import Callable, Hashable

_AT_ONCE = 16 * (os.cpu_count() or 1)
_MOMENT = 0.01  # seconds


class Pace:
    """The steps of a server. Of one event loop."""

    def __init__(self) -> None:
        self._lines: defaultdict[str, deque[tuple[Hashable, Callable[[], None]]]]
        self._lines = defaultdict(deque)  # by tenant, next turn first
        self._running: dict[Hashable, float] = {}  # those that count, oldest first, and when they began
        self._watch: asyncio.TimerHandle | None = None
        self._moving = False

    @property
    def waiting(self) -> int:
        """How many steps have not begun."""
        return sum(map(len, self._lines.values()))

    def enter(self, tenant: str, step: Hashable, begin: Callable[[], None]) -> None:
        """Call ``begin`` when it is the turn of ``step``, at once if nobody waits."""
        if not self._lines and len(self._running) < _AT_ONCE:
            self._running[step] = time.monotonic()
            begin()
            return
        self._lines[tenant].append((step, begin))
        if self._watch is None:
            self._move()

    def leave(self, step: Hashable) -> None:
        """A step that has begun is over."""
        self._running.pop(step, None)
        if self._lines:
            self._move()

    def _move(self) -> None:
        """Begin what may begin now."""
        if self._moving:  # something that began has ended at once
            return
        self._moving = True
        lines, running = self._lines, self._running
        try:
            while lines and len(running) < _AT_ONCE:
                tenant, line = next(iter(lines.items()))
                step, begin = line.popleft()
                if not line:
                    del lines[tenant]
                elif len(lines) > 1:
                    lines[tenant] = lines.pop(tenant)  # to the end: the next is another's
                running[step] = time.monotonic()
                begin()
        finally:
            self._moving = False
        if lines and self._watch is None:
            first = next(iter(running.values()))
            pause = max(first + _MOMENT - time.monotonic(), 0.001)
            self._watch = asyncio.get_running_loop().call_later(pause, self._look)

    def _look(self) -> None:
        """Forget those that take longer than a moment."""
        self._watch = None
        long_ago = time.monotonic() - _MOMENT
        while self._running:
            step, began = next(iter(self._running.items()))
            if began > long_ago:
                break
            del self._running[step]
        self._move()
