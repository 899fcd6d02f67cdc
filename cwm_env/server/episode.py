"""One live episode: at most one command at a time, and each at most once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cwm_env import wire
from cwm_env.envs.episode import Episode, Stepped
from cwm_env.errors import DiskFull, InfrastructureError
from cwm_env.server import journal, problems
from cwm_env.server.journal import Journal, Past
from cwm_env.server.known import KnownEpisode
from cwm_env.server.listener import Listener
from cwm_env.server.machine import Machine, Place
from cwm_env.server.survival import Trail
from cwm_env.types import CommandResult, Task

_log = logging.getLogger("cwm_env.server")


Result = Callable[[float], Awaitable[CommandResult | None]]
"""Waits, given seconds for its command, for a result; None if the command has not run."""


@dataclass(slots=True)
class _Running:
    step_id: str
    action: bytes
    task: asyncio.Task[bytes]
    listeners: list[Listener] = field(default_factory=list)


class LiveEpisode(KnownEpisode):
    """One episode. Made in the state ``starting``; ``start`` brings it to ``ready``."""

    def __init__(
        self,
        episode_id: str,
        owner: str,
        task: Task,
        request: wire.NewEpisode,
        *,
        machine: Machine,
        home: Path,
        lease: float,
        ended: Callable[[LiveEpisode], Awaitable[None]],
        took: Callable[[float], None],
    ) -> None:
        """
        Args:
            home: directory of journals.
            lease: seconds.
            ended: awaited once, when the episode is over and its journal complete: stores the trajectory.
            took: told the seconds that each step took.
        """
        self.trail: Trail | None = None  # where it notes how far it gets
        super().__init__(episode_id, owner, task.id, home=home, lease=lease)
        self.state = "starting"
        self.task, self.request, self.request_id = task, request, request.request_id
        self.place: Place | None = None
        self.draining = False
        """Whether no further step begins, because the server is about to stop."""
        self.begun = asyncio.get_running_loop().create_future()
        """Done when the reset is, however it went."""
        self._machine, self._ended, self._took = machine, ended, took
        self._journal: Journal | None = None
        self._running: _Running | None = None
        self._resumed: Result | None = None
        self._finishing: asyncio.Task[None] | None = None

    def renew(self) -> None:
        """The lease begins anew."""
        super().renew()
        if self.trail is not None:
            self.trail.renewed(self.expires - self.lease)

    def restore(self, past: Past, place: Place, began: float) -> None:
        """Instead of ``start``: go on where a killed server has stopped."""
        self.place, self.began = place, began
        self._started = datetime.fromisoformat(past.begun["started"])
        self._episode = Episode(self.task, place.image)
        self._episode.resume(len(past.steps), began)
        self.first = past.begun["observation"], dict(past.begun["info"])
        self._journal = Journal(self.path, None)
        self._answers, self.steps = past.answers, len(past.steps)
        self.state = "ready"
        self.begun.set_result(None)

    def go_on(self, step_id: str, action: str, result: Result) -> None:
        """Finish the step that a killed server was running; ``result`` waits for its command."""
        self._resumed = result
        self._begin(step_id, action, None)

    @property
    def expired(self) -> bool:
        """Whether nobody has asked for it for the length of its lease, and nothing runs in it."""
        return self._running is None and self.state != "starting" and super().expired

    async def start(self, *, busy: bool) -> None:
        """Reset: get a place, and make the first observation.

        Raises:
            CwmEnvError: there is none; the episode has failed.
        """
        try:
            self.place = await self._machine.place(self.task, self.request.backend, busy=busy)
            self._episode = Episode(self.task, self.place.image)
            self._started, self.began = datetime.now(UTC), time.monotonic()
            observation, info = self.first = self._episode.begin()
            self._journal = Journal(
                self.path,
                {
                    "episode": self.id,
                    "owner": self.owner,
                    "observation": observation,
                    "info": info,
                    **{name: info[name] for name in ("task", "image", "instruction")},
                    "seed": self.request.seed,
                    "policy": self.request.policy,
                    "request_id": self.request_id,
                    "started": self._started.isoformat(),
                },
            )
        except BaseException as error:
            await self.fail(error)
            raise
        self.state = "ready"
        self.renew()
        self.begun.set_result(None)

    async def fail(self, error: BaseException) -> None:
        """It could not begin."""
        self.state, self.failure = "failed", getattr(error, "kind", "internal")
        self.error = str(error) or type(error).__name__
        if not self.begun.done():
            self.begun.set_result(None)
        await self._free()

    def step(self, step_id: str, action: str, listener: Listener | None = None) -> bytes | asyncio.Task[bytes]:
        """The answer to a step, kept from before, or to come from the task that runs it.

        Cancelling who waits for the task must not cancel the task: shield it.

        Raises:
            Problem: the id was used for another action, another step is running, or the episode is over.
            DiskFull, SandboxError: raised by the task: the step could not be recorded, so nobody may count on it.
        """
        self.renew()
        action_digest = journal.digest(action)
        running = self._running
        if running is not None and running.step_id == step_id:
            if running.action != action_digest:
                raise problems.conflict(step_id)
            if listener is not None:
                running.listeners.append(listener)
            return running.task
        if (kept := self.answered(step_id, action_digest)) is not None:
            return kept
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
        return self._begin(step_id, action, listener)

    def _begin(self, step_id: str, action: str, listener: Listener | None) -> asyncio.Task[bytes]:
        self.state = "running"
        task = asyncio.ensure_future(self._run(step_id, action))
        self._running = _Running(step_id, journal.digest(action), task, [listener] if listener else [])
        task.add_done_callback(self._ran)
        return task

    async def end(self, failure: str, error: str = "") -> None:
        """End it from outside, with what ended it; a running step is stopped and answered with that. Idempotent."""
        await asyncio.shield(self.begun)
        if self._finishing is not None or self.over:
            await self._settled()
            return
        self.failure, self.error = failure, error
        if self._running is not None:
            await self._free()  # the step notices, and ends the episode
            await asyncio.wait([self._running.task])
            return
        await self._finish(None, failure, error)

    async def settle(self) -> None:
        """Wait until no step runs."""
        while self._running is not None:
            await asyncio.wait([self._running.task])

    async def _run(self, step_id: str, action: str) -> bytes:
        """Run an action, keep its answer, and end the episode if it is over."""
        began = time.monotonic()
        stepped = await self._stepped(action)
        *_, terminated, truncated, info = stepped
        answer = wire.encode_stepped(stepped)
        assert self._journal is not None
        try:
            kept = self._journal.step(step_id, action, began - self.began, answer)
        except InfrastructureError as error:
            await self._finish(None, error.kind, str(error))
            raise
        self._answers[step_id] = kept
        self.steps += 1
        if terminated or truncated:
            await self._finish(info.get("grade"), info.get("failure"), info.get("error", ""))
        else:
            self.state = "ready"
        self._took(time.monotonic() - began)
        return answer

    async def _stepped(self, action: str) -> Stepped:
        assert self.place is not None
        try:
            result = await self._command(self.place, action)
            ending = self._episode.count(result)
            grade = None
            if self._episode.to_grade(ending):
                self.state = "grading"
                grade = await self._machine.grade(self.place, self.task)
            return self._episode.after(result, ending, grade)
        except InfrastructureError as error:
            return self._episode.failed(self._blamed(error))
        except Exception as error:
            _log.exception("a step failed", extra={"episode": self.id})
            return self._episode.failed(InfrastructureError(f"the server failed: {type(error).__name__}"))

    async def _command(self, place: Place, action: str) -> CommandResult:
        running, timeout = self._running, self._episode.timeout
        assert running is not None
        resumed, self._resumed = self._resumed, None
        if resumed is not None and (result := await resumed(timeout)) is not None:
            return result
        if not running.listeners:
            return await place.session.run(action, timeout=timeout)
        async for chunk in place.session.stream(action, timeout=timeout):
            if isinstance(chunk, CommandResult):
                return chunk
            for listener in running.listeners:
                listener.hear(chunk)
        raise InfrastructureError("a command ended without a result")

    def _blamed(self, error: InfrastructureError) -> InfrastructureError:
        """The error, or what somebody ended the episode with, which is then its cause."""
        if self.failure is None:
            return error
        cause = InfrastructureError(self.error or str(error))
        cause.kind = self.failure  # type: ignore[misc]  # of this one only
        return cause

    def _ran(self, task: asyncio.Task[bytes]) -> None:
        running, self._running = self._running, None
        self.renew()
        if running is not None:
            for listener in running.listeners:
                listener.hear(None)
        if not task.cancelled():
            task.exception()  # seen, also where nobody waits any more

    async def _finish(self, grade: Any, failure: str | None, error: str) -> None:
        self._finishing = asyncio.ensure_future(self._wind_up(grade, failure, error))
        await asyncio.shield(self._finishing)

    async def _wind_up(self, grade: Any, failure: str | None, error: str) -> None:
        self.failure, self.error = failure, error
        how = {"grade": wire.encode_grade(grade) if grade else None, "failure": failure, "error": error}
        assert self._journal is not None
        try:
            self._journal.end(**how, duration=time.monotonic() - self.began)
        except (DiskFull, InfrastructureError):
            _log.exception("an episode's end could not be recorded", extra={"episode": self.id})
        self._journal.close()
        await self._free()
        self.state = "ended"
        self.renew()
        await self._ended(self)

    async def _settled(self) -> None:
        if self._finishing is not None:
            await asyncio.shield(self._finishing)

    async def _free(self) -> None:
        place, self.place = self.place, None
        if place is not None:
            await self._machine.free(place)
        if self.trail is not None:
            self.trail.end()
