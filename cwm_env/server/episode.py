"""One live episode: at most one command at a time, and each at most once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cwm_env import wire
from cwm_env.envs.episode import Episode
from cwm_env.errors import DiskFull, InfrastructureError
from cwm_env.server.journal import Journal, Past
from cwm_env.server.machine import Machine, Place
from cwm_env.server.stepping import Result, SteppingEpisode
from cwm_env.types import Task

_log = logging.getLogger("cwm_env.server")


class LiveEpisode(SteppingEpisode):
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
        super().__init__(episode_id, owner, task, machine=machine, home=home, lease=lease, took=took)
        self.request, self.request_id = request, request.request_id
        self.begun = asyncio.get_running_loop().create_future()
        """Done when the reset is, however it went."""
        self._ended = ended
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
        self._enter(step_id, action, None)

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

    async def end(self, failure: str, error: str = "") -> None:
        """End it from outside, with what ended it; a running step is stopped and answered with that. Idempotent."""
        await asyncio.shield(self.begun)
        if self._finishing is not None or self.over:
            await self._settled()
            return
        self.failure, self.error = failure, error
        if self._running is not None:
            running = self._running
            await self._free()  # the step notices, and ends the episode
            await running.pending.settled()
            return
        await self._finish(None, failure, error)

    async def settle(self) -> None:
        """Wait until no step runs."""
        while self._running is not None:
            await self._running.pending.settled()

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
        trail, self.trail = self.trail, None
        if trail is not None:
            trail.end()
