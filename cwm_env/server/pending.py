"""The answer to a step that runs: told to whoever waits, at once, in the same turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from cwm_env.envs.episode import Stepped


class Pending:
    """An answer to come. Whoever waits for it may go away; that does nothing to the step."""

    __slots__ = ("_told", "done", "outcome", "stepped")

    def __init__(self) -> None:
        self._told: tuple[Callable[[Pending], None], ...] = ()
        self.outcome: bytes | BaseException
        """The answer, or why there is none; once it has come."""
        self.done = False
        """Whether it has come."""
        self.stepped: Stepped | None = None
        """What the answer says, for who needs it in other words; of a step that has run."""

    @classmethod
    def of(cls, work: Coroutine[Any, Any, bytes]) -> Pending:
        """What a coroutine, begun here, will return."""
        pending, task = cls(), asyncio.ensure_future(work)

        def ended(task: asyncio.Task[bytes]) -> None:
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            if error is None:
                pending.resolve(task.result())
            else:
                pending.fail(error)

        task.add_done_callback(ended)
        return pending

    def tell(self, listener: Callable[[Pending], None]) -> None:
        """Call ``listener`` when the answer is there."""
        if self.done:
            listener(self)
        else:
            self._told += (listener,)

    def resolve(self, answer: bytes, stepped: Stepped | None = None) -> None:
        """It is there."""
        self.stepped = stepped
        self._tell(answer)

    def fail(self, error: BaseException) -> None:
        """There will be none."""
        self._tell(error)

    def result(self) -> bytes:
        """The answer.

        Raises:
            CwmEnvError: why there is none.
        """
        if isinstance(self.outcome, bytes):
            return self.outcome
        raise self.outcome

    async def wait(self) -> bytes:
        """Wait for the answer.

        Raises:
            CwmEnvError: as ``result``.
        """
        await self.settled()
        return self.result()

    async def settled(self) -> None:
        """Wait until it is there or never will be."""
        if self.done:
            return
        came = asyncio.get_running_loop().create_future()
        self.tell(lambda _: None if came.done() else came.set_result(None))
        await came

    def _tell(self, outcome: bytes | BaseException) -> None:
        self.outcome, self.done = outcome, True
        told, self._told = self._told, ()
        for listener in told:
            listener(self)
