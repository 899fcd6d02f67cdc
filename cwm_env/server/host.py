"""All episodes of a server: who owns which, whose lease has run out, and what became of those of the server before."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cwm_env import wire
from cwm_env.errors import CwmEnvError, InputError
from cwm_env.sandbox.registry import backend as backend_named
from cwm_env.server import journal, problems
from cwm_env.server.admission import Admission
from cwm_env.server.episode import LiveEpisode
from cwm_env.server.known import KnownEpisode
from cwm_env.server.machine import Machine
from cwm_env.server.metrics import Metrics
from cwm_env.server.recovery import conclude, keep, recover
from cwm_env.server.resumption import Resumption
from cwm_env.server.settings import Settings
from cwm_env.server.survival import Survival
from cwm_env.trajectories import TrajectoryStore
from cwm_env.types import Task, Trajectory

_log = logging.getLogger("cwm_env.server")
_TIDY_SECONDS = 0.5
_ENDINGS_AT_ONCE = 32


class Host:
    """Made before the event loop runs; ``start`` and ``stop`` belong to it."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings, self.metrics = settings, metrics
        self.machine = Machine(settings)
        self.admission = Admission(settings)
        self.survival = Survival(settings, metrics.keeper_lost.inc)
        self.episodes: dict[str, KnownEpisode] = {}
        self.store = TrajectoryStore(settings.state / "trajectories.jsonl")
        self._home = settings.state / "journals"
        self._asked: dict[tuple[str, str], str] = {}
        self._keepers = ThreadPoolExecutor(4, "keep")
        self._tidying: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._lock = -1

    async def start(self) -> None:
        """Take over the state directory, and what a killed server left in it.

        Raises:
            InputError: another server uses it, or it cannot be used.
        """
        self._claim()
        loop, lease = asyncio.get_running_loop(), self.settings.lease
        await loop.run_in_executor(self._keepers, self.survival.open)
        pasts = await loop.run_in_executor(self._keepers, recover, self._home, self.store)
        resumption = Resumption(self.machine, self.survival, self._make, self._took_up)
        lost = await resumption.all({one.id: one for one in pasts if one.end is None})
        for past in pasts:
            if past.id not in self.episodes:
                await loop.run_in_executor(self._keepers, conclude, self._home, self.store, past, lost.get(past.id))
                self._know(KnownEpisode.restored(past, self._home, lease))
        self._tidying = asyncio.ensure_future(self._tidy_forever())

    async def drain(self) -> None:
        """Admit nothing and begin no step, let running ones finish within the grace, and record every episode.

        Answers can still be asked for.
        """
        self.admission.close()
        live = self.live()
        for episode in live:
            episode.draining = True
        settling = [asyncio.ensure_future(episode.settle()) for episode in live]
        if settling:
            _, late = await asyncio.wait(settling, timeout=self.settings.grace)
            for left in late:
                left.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._end_all([one for one in self.live() if not one.over], "shutdown")

    async def stop(self) -> None:
        """Drain, and free everything."""
        await self.drain()
        if self._tidying is not None:
            self._tidying.cancel()
        await self.machine.close()
        self.survival.close()
        self._keepers.shutdown()
        if self._lock >= 0:
            os.close(self._lock)

    def live(self) -> list[LiveEpisode]:
        """The episodes of this server, without those of one before it."""
        return [episode for episode in self.episodes.values() if isinstance(episode, LiveEpisode)]

    async def create(self, owner: str, request: wire.NewEpisode) -> KnownEpisode:
        """A new episode, or the one that the same request made before; ready, unless the request will not wait.

        Raises:
            Problem: there is no room.
            CwmEnvError: the task is not one, or the reset failed.
        """
        if request.request_id is not None and (known := self._asked.get((owner, request.request_id))):
            return await self._again(known, request)
        episode = await self._make("e" + secrets.token_hex(12), owner, request)
        if request.request_id is not None:
            if known := self._asked.get((owner, request.request_id)):  # while the task was read
                return await self._again(known, request)
            self._asked[owner, request.request_id] = episode.id
        self.episodes[episode.id] = episode
        starting = asyncio.ensure_future(self._start(episode))
        self._background.add(starting)
        starting.add_done_callback(self._background.discard)
        if request.wait:
            await asyncio.shield(starting)
        else:
            starting.add_done_callback(lambda done: done.cancelled() or done.exception())
        return episode

    async def _make(self, episode_id: str, owner: str, request: wire.NewEpisode) -> LiveEpisode:
        """A live episode, to be started or restored."""
        return LiveEpisode(
            episode_id,
            owner,
            await self._task(request),
            request,
            machine=self.machine,
            home=self._home,
            lease=self.settings.lease,
            ended=self._store,
            took=self.metrics.step.observe,
        )

    def _took_up(self, episode: LiveEpisode) -> None:
        """A killed server's episode goes on."""
        self._know(episode)
        self.admission.take_up(episode.owner, episode.task.limits.memory)
        self.metrics.resumed.inc()

    async def check(self, request: wire.NewEpisode) -> dict[str, Any]:
        """The task that an episode would have, as ``wire.TaskInfo``.

        Raises:
            CwmEnvError: as ``create``, for what is wrong with the request itself.
        """
        task = await self._task(request)
        backend_named(request.backend)
        return wire.encode_task(task)

    def find(self, owner: str, episode_id: str) -> KnownEpisode:
        """The episode of that id, which its owner alone can see.

        Raises:
            Problem: there is none.
        """
        episode = self.episodes.get(episode_id)
        if episode is None or episode.owner != owner:
            raise problems.no_episode()
        return episode

    async def trajectory(self, episode: KnownEpisode) -> Trajectory:
        """The trajectory of an episode that is over.

        Raises:
            Problem: it is not over.
        """
        past = await asyncio.get_running_loop().run_in_executor(self._keepers, _read_ended, episode)
        if past is None or past.end is None:
            raise problems.Problem(409, "not-over", "the episode is not over", "ask when its state is `ended`")
        return past.trajectory()

    async def _task(self, request: wire.NewEpisode) -> Task:
        """The task that a request means, with its limits."""
        overrides = {name: value for name, value in request.limits.model_dump().items() if value is not None}
        return await self.machine.task(request.task, overrides)

    def _know(self, episode: KnownEpisode) -> None:
        self.episodes[episode.id] = episode
        if episode.request_id is not None:
            self._asked[episode.owner, episode.request_id] = episode.id

    async def _again(self, episode_id: str, request: wire.NewEpisode) -> KnownEpisode:
        episode = self.episodes[episode_id]
        if isinstance(episode, LiveEpisode):
            if episode.request != request:
                raise problems.Problem(
                    409, "request-id-reused", "this request_id asked for another episode", "give each request its own"
                )
            if request.wait:
                await asyncio.shield(episode.begun)
        if episode.state == "failed":
            raise problems.Problem(503, episode.failure or "internal", episode.error, "ask anew, with another id")
        return episode

    async def _start(self, episode: LiveEpisode) -> None:
        began = time.monotonic()
        try:
            await self.admission.enter(episode.owner, episode.task.limits.memory)
        except BaseException as error:
            await episode.fail(error)
            if episode.request.wait:
                self._forget(episode)  # nobody has its id
            raise
        seconds = 0.0
        try:
            entered = time.monotonic()
            await episode.start(busy=self.admission.waiting > 0)
            self.survival.enrol(episode)
            seconds = time.monotonic() - entered
            self.metrics.reset.observe(time.monotonic() - began)
        except BaseException as error:
            self.metrics.failed(episode.failure or "internal")
            self.admission.leave(episode.owner, episode.task.limits.memory)
            if not isinstance(error, CwmEnvError):
                _log.exception("a reset failed", extra={"episode": episode.id})
            raise
        finally:
            self.admission.started(episode.owner, seconds)

    async def _store(self, episode: LiveEpisode) -> None:
        """An episode is over: free its place, and put its trajectory into the store, once."""
        self.admission.leave(episode.owner, episode.task.limits.memory)
        if episode.failure:
            self.metrics.failed(episode.failure)
        try:
            await asyncio.get_running_loop().run_in_executor(self._keepers, keep, self.store, episode.path)
        except (CwmEnvError, OSError):
            _log.exception("a trajectory could not be stored; its journal is kept", extra={"episode": episode.id})

    def _claim(self) -> None:
        try:
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.settings.state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another server uses {self.settings.state}: give this one a --state of its own") from None
        except OSError as error:
            raise InputError(f"{self.settings.state} cannot be used: {error.strerror}") from None

    async def _tidy_forever(self) -> None:
        while True:
            await asyncio.sleep(_TIDY_SECONDS)
            try:
                await self._tidy()
            except Exception:
                _log.exception("tidying up failed; it goes on")

    async def _tidy(self) -> None:
        expired = [one for one in self.episodes.values() if one.expired]
        for episode in expired:
            if episode.over:
                self._forget(episode)
        await self._end_all([one for one in expired if isinstance(one, LiveEpisode) and not one.over], "abandoned")
        await self.machine.tidy()
        await self.survival.mend(self.live())

    async def _end_all(self, doomed: list[LiveEpisode], why: str) -> None:
        turn = asyncio.Semaphore(_ENDINGS_AT_ONCE)

        async def end(episode: LiveEpisode) -> None:
            async with turn:
                await episode.end(why)

        await asyncio.gather(*map(end, doomed), return_exceptions=True)

    def _forget(self, episode: KnownEpisode) -> None:
        self.episodes.pop(episode.id, None)
        if episode.request_id is not None:
            self._asked.pop((episode.owner, episode.request_id), None)
        with contextlib.suppress(OSError):
            past = episode.state != "failed" and journal.read(episode.path)
            if not past or past.stored:
                episode.path.unlink()


def _read_ended(episode: KnownEpisode) -> journal.Past | None:
    return journal.read(episode.path) if episode.over and episode.path.exists() else None
