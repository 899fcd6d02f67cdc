"""Answers of many steps at once, in the order in which they come."""

from __future__ import annotations

import asyncio
from functools import partial

from cwm_env import wire
from cwm_env.errors import CwmEnvError
from cwm_env.server.pending import Pending
from cwm_env.server.problems import Problem, problem_of


class Outbox:
    """Collects the answers of steps that run, as lines of JSON; whoever sends them takes all that are there."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._news = asyncio.Event()
        self._pending = 0
        self.size = 0
        """Bytes that wait to be taken."""

    @property
    def busy(self) -> int:
        """Steps that run, and answers that wait."""
        return self._pending + len(self._lines)

    def submit(self, head: bytes, answer: bytes | Pending) -> None:
        """Put in a line when its answer is there.

        Args:
            head: the line so far: an object without its end.
        """
        if isinstance(answer, bytes):
            self.add(head, answer)
        else:
            self._pending += 1
            answer.tell(partial(self._came, head))

    def add(self, head: bytes, answer: bytes | BaseException) -> None:
        """Put in a line: the answer, or the problem in its place."""
        if isinstance(answer, bytes):
            line = head + b',"answer":' + answer + b"}\n"
        else:
            line = head + b',"problem":' + wire.dumps(document_of(answer)) + b"}\n"
        if not self._lines:
            self._news.set()
        self._lines.append(line)
        self.size += len(line)

    async def take(self) -> list[bytes]:
        """What has come since the last time, at least one line; none once nothing is awaited any more."""
        while not self._lines and self._pending:
            self._news.clear()
            await self._news.wait()
        lines, self._lines, self.size = self._lines, [], 0
        return lines

    async def wait(self) -> None:
        """Wait until there is something to take."""
        while not self._lines:
            self._news.clear()
            await self._news.wait()

    def _came(self, head: bytes, pending: Pending) -> None:
        self._pending -= 1
        self.add(head, pending.outcome)


def document_of(error: BaseException) -> dict[str, object]:
    """The problem document of whatever went wrong."""
    if isinstance(error, CwmEnvError):
        error = problem_of(error)
    if isinstance(error, Problem):
        return error.document
    return wire.problem(500, "internal", f"the server failed: {type(error).__name__}", "tell the operator")
