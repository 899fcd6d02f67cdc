"""Who may start an episode now, who waits, and who is sent away.

Requests wait in one line for each tenant, and the lines take turns, so that one tenant's thousand do not stand
before another's first. What is given out is a place (for the whole life of an episode) and a start (until its reset
is done). Everything here runs on the event loop; nothing blocks.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass

from cwm_env.server.problems import draining, full
from cwm_env.server.settings import Settings

_MEMORY_LOOK_SECONDS = 0.25


@dataclass(slots=True, eq=False)
class _Request:
    tenant: str
    memory: int
    granted: asyncio.Future[None]


class Admission:
    """Places and starts."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lines: dict[str, deque[_Request]] = {}
        self._alive: Counter[str] = Counter()
        self._memory: Counter[str] = Counter()
        self._starting: Counter[str] = Counter()
        self._reset_seconds = 0.05  # a running mean
        self._free, self._looked = 0, 0.0
        self._look_again: asyncio.TimerHandle | None = None
        self.closed = False

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._lines.values()))

    @property
    def starting(self) -> int:
        """How many are being reset."""
        return self._starting.total()

    async def enter(self, tenant: str, memory: int) -> None:
        """Wait for a place and a start.

        Args:
            memory: the episode's limit, in bytes.

        Raises:
            Problem: there is no room (429, 503), or the server is shutting down (503).
        """
        if self.closed:
            raise draining()
        self._check_lines(tenant)
        request = _Request(tenant, memory, asyncio.get_running_loop().create_future())
        self._lines.setdefault(tenant, deque()).append(request)
        self._grant()
        try:
            await asyncio.wait_for(request.granted, self._settings.patience)
        except TimeoutError:
            raise self._no_room(tenant, memory) from None
        except asyncio.CancelledError:
            if request.granted.done() and not request.granted.cancelled():
                self.started(tenant, 0.0)
                self.leave(tenant, memory)
            raise
        finally:
            self._drop(request)

    def take_up(self, tenant: str, memory: int) -> None:
        """An episode that is there already has a place, if need be one too many."""
        self._alive[tenant] += 1
        self._memory[tenant] += memory

    def started(self, tenant: str, seconds: float) -> None:
        """A reset is over. ``seconds``: how long it took, 0 where it was called off."""
        self._starting[tenant] -= 1
        if not self._starting[tenant]:
            del self._starting[tenant]
        if seconds:
            self._reset_seconds += 0.05 * (seconds - self._reset_seconds)
        self._grant()

    def leave(self, tenant: str, memory: int) -> None:
        """An episode has freed its place."""
        self._alive[tenant] -= 1
        self._memory[tenant] -= memory
        if not self._alive[tenant]:
            del self._alive[tenant], self._memory[tenant]
        self._grant()

    def close(self) -> None:
        """Admit no more, and send away who waits."""
        self.closed = True
        for line in self._lines.values():
            for request in line:
                if not request.granted.done():
                    request.granted.set_exception(draining())

    def _check_lines(self, tenant: str) -> None:
        seconds = max(1.0, self.waiting * self._reset_seconds / self._settings.resets)
        if len(self._lines.get(tenant, ())) >= self._settings.waiting_per_token:
            raise full(429, "too many of your requests for an episode are waiting", seconds)
        if self.waiting >= self._settings.waiting:
            raise full(503, "too many requests for an episode are waiting", seconds)

    def _grant(self) -> None:
        """Give what there is to the lines in turn."""
        granted = True
        while granted and self.starting < self._settings.resets and self._room():
            granted = False
            for tenant in list(self._lines):
                line = self._lines[tenant]
                memory = line[0].memory
                if self._own_room(tenant, memory) and self._own_turn(tenant) and self._memory_room(memory):
                    self._take(line.popleft())
                    self._lines.pop(tenant)
                    if line:
                        self._lines[tenant] = line  # to the end of the turn
                    granted = True
                    break

    def _take(self, request: _Request) -> None:
        if request.granted.done():
            return
        self._starting[request.tenant] += 1
        self._alive[request.tenant] += 1
        self._memory[request.tenant] += request.memory
        request.granted.set_result(None)

    def _room(self) -> bool:
        if self._alive.total() >= self._settings.episodes:
            return False
        loop = asyncio.get_running_loop()
        if loop.time() - self._looked > _MEMORY_LOOK_SECONDS:
            self._free, self._looked = _memory_available(), loop.time()
        if self._free >= self._settings.memory_floor:
            return True
        if self._lines and (self._look_again is None or self._look_again.when() < loop.time()):
            self._look_again = loop.call_later(2 * _MEMORY_LOOK_SECONDS, self._grant)
        return False

    def _own_room(self, tenant: str, memory: int) -> bool:
        most = self._settings.memory_per_token
        return self._alive[tenant] < self._settings.episodes_per_token and (
            most is None or self._memory[tenant] + memory <= most
        )

    def _own_turn(self, tenant: str) -> bool:
        most = self._settings.resets_per_token
        return most is None or self._starting[tenant] < most

    def _memory_room(self, memory: int) -> bool:
        most = self._settings.memory
        return most is None or self._memory.total() + memory <= most

    def _no_room(self, tenant: str, memory: int) -> Exception:
        if not self._own_room(tenant, memory):
            return full(429, "you have as many episodes as your token may have", self._settings.patience / 4)
        if not self._own_turn(tenant):
            return full(429, "as many of your episodes are being begun as may be at once", self._settings.patience / 4)
        return full(503, "the server has as many episodes as it can hold", self._settings.patience / 4)

    def _drop(self, request: _Request) -> None:
        if request.granted.done() and not request.granted.cancelled():
            return  # it was taken out of its line
        line = self._lines.get(request.tenant)
        if line is not None and request in line:
            line.remove(request)
            if not line:
                del self._lines[request.tenant]


def _memory_available() -> int:
    """Bytes that the machine can still give."""
    with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123 - many times a second
        for row in file:
            if row.startswith("MemAvailable:"):
                return int(row.split()[1]) * 1024
    return 1 << 62
