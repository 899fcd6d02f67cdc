"""What a command used and which limits it hit: from what the sandbox has counted, and from what the command said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cwm_env.sandbox.usage import Usage

LONG = 0.1
"""Seconds. The sandbox is asked after a command that took as long, or that failed and said something or was killed: a
short one that went well costs nothing, nor does a test that is false."""

_ORDER = ("memory", "cpus", "processes", "disk", "inodes", "files", "output", "command_timeout")
_COUNTED = {"memory", "cpus", "processes"}  # whose hits are counted; of the others it is seen that they are reached
# What the C library and Python say for ENOSPC and EMFILE, which no counter of the kernel tells of, and for what else
# no control group counts; in lower case.
_SIGNS = {
    "disk": ("no space left on device",),
    "files": ("too many open files",),
    "memory": ("cannot allocate memory", "memoryerror", "bad_alloc"),
    "processes": ("fork: retry: resource temporarily", "fork: resource temporarily", "can't start new thread"),
}


class Meter:
    """Compares what a sandbox has used with what it had used before. Asks nothing itself."""

    def __init__(self) -> None:
        self._last: Usage | None = None
        self._seen: set[str] = set()
        self.unmeasured = 0.0
        """Seconds of commands that have ended since the last look, without being asked for."""
        self.news = False
        """Whether a limit was hit that no result has told of yet."""

    def begin(self, now: Usage) -> None:
        """Count what comes from here on. What was hit before, unnoticed, is kept for the next result."""
        if self._last is not None:
            self._seen |= _COUNTED.intersection(now.hit_since(self._last))
            self.news = bool(self._seen)
        self._last, self.unmeasured = now, 0.0

    def glance(self, now: Usage) -> None:
        """Note what is at its limit in the middle of a command, before it is stopped."""
        self._seen.update(now.hit_since(self._last))

    def told(self, now: Usage, text: str, *, failed: bool, flooded: bool, timed_out: bool) -> dict[str, Any]:
        """What the command that has just ended used and hit, as fields of its ``CommandResult``.

        Args:
            text: what it printed. Only where it failed is this taken as a sign.
            flooded: whether some of the output was left out.
        """
        before, known = self._last, self.unmeasured < LONG / 10
        hit = self._seen.union(now.hit_since(before))
        if failed:
            hit.update(_said(text, now))
        hit.update(name for name, so in (("output", flooded), ("command_timeout", timed_out)) if so)
        self._last, self.unmeasured, self._seen, self.news = now, 0.0, set(), False
        used: dict[str, Any] = {"peak_memory": now.memory_peak}
        if before is not None and known and now.cpu_seconds is not None and before.cpu_seconds is not None:
            used["cpu_time"] = round(now.cpu_seconds - before.cpu_seconds, 3)
        if hit:
            used["limits_hit"] = tuple(name for name in _ORDER if name in hit)
        return used


def _said(text: str, now: Usage) -> Iterator[str]:
    """The limits that a program complains of. Where hits are counted, the count is believed instead."""
    counted = {"memory": now.memory_kills is not None, "processes": now.processes_refused is not None}
    lower = text.lower()
    for name, signs in _SIGNS.items():
        if not counted.get(name) and any(sign in lower for sign in signs):
            yield "inodes" if name == "disk" and now.inodes_free == 0 else name
