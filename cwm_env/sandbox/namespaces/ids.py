"""Ranges of user ids: each sandbox that root makes gets one of its own, which nobody on the machine has."""

from __future__ import annotations

import os
import threading
from functools import cache

_RANGE = 1 << 16
# Above what systemd gives to containers (up to 0x6fffffff) and what subuid(5) gives by default; below 2^31, which
# some programs read as a sign.
_FIRST, _RANGES = 0x70000000, (1 << 12) - 1

NONE = 0
"""In place of a range's first id: the sandbox has one id, its maker's."""


@cache
def privileged() -> bool:
    """Whether this process may give sandboxes ranges of ids; root of a container that lacks those ids may not."""
    if os.geteuid() != 0:
        return False
    with open("/proc/self/uid_map", encoding="ascii") as file:
        rows = [tuple(map(int, line.split())) for line in file]
    return any(start <= _FIRST and start + length >= _FIRST + _RANGES * _RANGE for start, _, length in rows)


class IdRanges:
    """Hands out ranges of ids for the sandboxes of this process. Thread-safe.

    No two sandboxes of one process share a range until 4,095 are alive; those of two processes could.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = os.getpid() * 131
        self._used: set[int] = set()

    def take(self) -> int:
        """The first id of a range that is free, or of any once all are taken; ``NONE`` without the privilege."""
        if not privileged():
            return NONE
        with self._lock:
            for _ in range(_RANGES):
                self._next += 1
                number = self._next % _RANGES
                if number not in self._used:
                    break
            self._used.add(number)
            return _FIRST + number * _RANGE

    def adopt(self, base: int) -> None:
        """A sandbox that another process made has the range."""
        if base != NONE:
            with self._lock:
                self._used.add((base - _FIRST) // _RANGE)

    def give_back(self, base: int) -> None:
        """The range is free again."""
        if base != NONE:
            with self._lock:
                self._used.discard((base - _FIRST) // _RANGE)
