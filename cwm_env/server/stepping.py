"""How a live episode steps: at most one action at a time, each at most once, by callbacks alone while it goes on.

Only a step whose output is followed, and the last one, have a task: a thousand episodes step without one each.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cwm_env import wire
from cwm_env.envs.episode import Ending, Episode, Stepped
from cwm_env.errors import InfrastructureError
from cwm_env.server import problems
from cwm_env.server.journal import Journal
from cwm_env.server.known import KnownEpisode
from cwm_env.server.listener import Listener
from cwm_env.server.machine import Machine, Place
from cwm_env.server.pending import Pending
from cwm_env.server.trail import Trail
from cwm_env.types import CommandResult, Task

_log = logging.getLogger("cwm_env.server")


Result = Callable[[float], Awaitable[CommandResult | None]]
"""Waits, given seconds for its command, for a result; None if the command has not run."""


@dataclass(slots=True, eq=False)
class _Running:
    step_id: str
    action: str
    listeners: list[Listener]
    began: float = field(default_factory=time.monotonic)
    pending: Pending = field(default_factory=Pending)
    task: asyncio.Task[None] | None = None
    """What carries it where callbacks do not: its output is followed, or the episode ends with it."""


class SteppingEpisode(KnownEpisode, ABC):
    """What ``LiveEpisode`` begins and ends."""

    def __init__(
        self,
        episode_id: str,
        owner: str,
        task: Task,
        *,
        machine: Machine,
        home: Path,
        lease: float,
        took: Callable[[float], None],
    ) -> None:
        """See ``LiveEpisode``."""
        super().__init__(episode_id, owner, task.id, home=home, lease=lease)
        self.state = "starting"
        self.task = task
        self.place: Place | None = None
        self.draining = False
        """Whether no further step begins, because the server is about to stop."""
        self._machine, self._pace, self._took = machine, machine.pace, took
        self._episode: Episode
        self.began = 0.0
        self.trail: Trail | None = None  # where it notes how far it gets
        self._journal: Journal | None = None
        self._running: _Running | None = None
        self._resumed: Result | None = None

    def step(self, step_id: str, action: str, listener: Listener | None = None) -> bytes | Pending:
        """The answer to a step, kept from before, or to come.

        Raises:
            Problem: the id was used for another action, another step is running, or the episode is over.
            DiskFull, SandboxError: of what is to come: the step could not be recorded, so nobody may count on it.
        """
        running = self._running
        if running is not None and running.step_id == step_id:
            if running.action != action:
                raise problems.conflict(step_id)
            if listener is not None:
                running.listeners.append(listener)
            return running.pending
        if (kept := self.answered(step_id, action)) is not None:
            return kept  # a step that runs renews the lease at its end
        if running is not None:
            raise problems.busy(running.step_id)
        if self.draining:
            raise problems.draining()
        if self.state != "ready":
            raise (
                problems.starting() if self.state == "starting" else problems.over(self.state, self.failure, self.error)
            )
        if self.trail is not None and not self.trail.step(step_id, action):
            assert self._journal is not None
            self._journal.begin(step_id, action)
        return self._enter(step_id, action, listener)

    def _enter(self, step_id: str, action: str, listener: Listener | None) -> Pending:
        self.state = "running"
        running = self._running = _Running(step_id, action, [listener] if listener else [])
        if listener is not None or self._resumed is not None:
            running.task = asyncio.ensure_future(self._follow(running))
        else:
            self._pace.enter(self.owner, running, self._begin)
        return running.pending

    @abstractmethod
    async def _finish(self, grade: Any, failure: str | None, error: str) -> None:
        """The episode is over: record that, and free everything."""

    def _begin(self) -> None:
        """Run the action; it is this step's turn."""
        running, place = self._running, self.place
        assert running is not None
        if place is None:  # somebody has ended the episode meanwhile
            self._came(None, InfrastructureError("the episode was ended"))
        else:
            place.session.begin(running.action, self._episode.timeout, self._came)

    async def _follow(self, running: _Running) -> None:
        """Run the action, and let its listeners hear what it prints."""
        result, failed = None, None
        try:
            result = await self._heard(running)
        except Exception as error:
            failed = error
        self._came(result, failed)

    async def _heard(self, running: _Running) -> CommandResult:
        place, timeout = self.place, self._episode.timeout
        resumed, self._resumed = self._resumed, None
        if resumed is not None and (result := await resumed(timeout)) is not None:
            return result
        if place is not None:
            async for chunk in place.session.stream(running.action, timeout=timeout):
                if isinstance(chunk, CommandResult):
                    return chunk
                for listener in running.listeners:
                    listener.hear(chunk)
        raise InfrastructureError("a command ended without a result")

    def _came(self, result: CommandResult | None, error: BaseException | None) -> None:
        """The action has ended: answer, or, where the episode ends with it, see to that first."""
        running = self._running
        assert running is not None
        self._pace.leave(running)
        try:
            if result is None:
                self._answer(running, self._failed(error))
            elif (ending := self._episode.count(result)) is None:
                self._answer(running, self._episode.after(result, None, None))
            else:
                running.task = asyncio.ensure_future(self._last(running, result, ending))
        except Exception as fault:  # ours; whoever waits must not wait for ever
            _log.exception("a step could not be answered", extra={"episode": self.id})
            self._ran(running)
            running.pending.fail(fault)

    async def _last(self, running: _Running, result: CommandResult, ending: Ending | None) -> None:
        grade = None
        try:
            if self._episode.to_grade(ending):
                self.state = "grading"
                if self.place is None:
                    raise InfrastructureError("the episode was ended")
                grade = await self._machine.grade(self.place, self.task)
            stepped = self._episode.after(result, ending, grade)
        except Exception as error:
            stepped = self._failed(error)
        self._answer(running, stepped)

    def _failed(self, error: BaseException | None) -> Stepped:
        if isinstance(error, InfrastructureError):
            return self._episode.failed(self._blamed(error))
        _log.error("a step failed", exc_info=error, extra={"episode": self.id})
        return self._episode.failed(InfrastructureError(f"the server failed: {type(error).__name__}"))

    def _answer(self, running: _Running, stepped: Stepped) -> None:
        """Keep the answer to a step, end the episode if it is over, and tell who waits."""
        *_, terminated, truncated, info = stepped
        answer = wire.encode_stepped(stepped)
        assert self._journal is not None
        try:
            kept = self._journal.step(running.step_id, running.action, running.began - self.began, answer)
        except InfrastructureError as error:
            running.task = asyncio.ensure_future(self._over(running, error, None, error.kind, str(error)))
            return
        self._answers[running.step_id] = kept
        self.steps += 1
        if terminated or truncated:
            ending = self._over(running, answer, info.get("grade"), info.get("failure"), info.get("error", ""))
            running.task = asyncio.ensure_future(ending)
            return
        self.state = "ready"
        self._ran(running)
        running.pending.resolve(answer, stepped)

    async def _over(
        self, running: _Running, answer: bytes | InfrastructureError, grade: Any, failure: str | None, error: str
    ) -> None:
        """The episode has ended with this step."""
        try:
            await self._finish(grade, failure, error)
        finally:
            self._ran(running)
            if isinstance(answer, bytes):
                running.pending.resolve(answer)
            else:
                running.pending.fail(answer)

    def _blamed(self, error: InfrastructureError) -> InfrastructureError:
        """The error, or what somebody ended the episode with, which is then its cause."""
        if self.failure is None:
            return error
        cause = InfrastructureError(self.error or str(error))
        cause.kind = self.failure  # type: ignore[misc]  # of this one only
        return cause

    def _ran(self, running: _Running) -> None:
        self._running = None
        self.renew()
        self._took(time.monotonic() - running.began)
        for listener in running.listeners:
            listener.hear(None)
