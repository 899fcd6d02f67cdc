"""What blocks, in bounded pools of threads: images, sandboxes, gradings, files. And a few ready sandboxes ahead."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from cwm_env.envs import episode
from cwm_env.envs.shell import left_session, open_async_session
from cwm_env.errors import InfrastructureError, TaskError
from cwm_env.grading import Grader
from cwm_env.images import ImageStore
from cwm_env.sandbox import cgroups
from cwm_env.sandbox.base import Backend, Process, Sandbox
from cwm_env.sandbox.handover import Handover, Portable
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.sandbox.registry import backend as backend_named
from cwm_env.sandbox.usage import Usage
from cwm_env.server.pace import Pace
from cwm_env.server.settings import Settings
from cwm_env.session import AsyncBashSession
from cwm_env.tasks import list_tasks
from cwm_env.types import Grade, Image, Limits, Task

_FRESH_SECONDS = 5.0  # for which what was read from the disk is taken to be still true
_FILE_THREADS = 8
_Key = tuple[str, str, Limits]
_Found = TypeVar("_Found")


@dataclass(slots=True, eq=False)
class Place:
    """A sandbox with a shell in it, ready for an episode."""

    backend: Backend
    image: Image
    sandbox: Sandbox
    session: AsyncBashSession
    made: float
    """Of the monotonic clock."""


class Machine:
    """Makes places, grades what was done in them, and frees them."""

    def __init__(self, settings: Settings, images: ImageStore | None = None) -> None:
        self._settings = settings
        self.pace = Pace()
        """When steps begin, so that they do not push each other out of the processor."""
        self._images = images or ImageStore()
        self._makers = ThreadPoolExecutor(settings.resets, "make")
        self._graders = ThreadPoolExecutor(settings.gradings, "grade")
        self._files = ThreadPoolExecutor(_FILE_THREADS, "files")
        self._fresh: dict[object, tuple[float, Any]] = {}
        self._warm: dict[_Key, deque[Place]] = {}
        self._backends: dict[str, Backend] = {}
        if not settings.cpu_limits:
            self._backends["namespaces"] = NamespacesBackend(cgroups=cgroups.find().crowded())
        self._refilling: set[asyncio.Task[None]] = set()
        self._closed = False

    def task_ids(self) -> list[str]:
        """Ids of the tasks that are offered."""
        own = (file.parent.name for where in self._settings.tasks for file in where.glob("*/task.toml"))
        return sorted({*list_tasks(), *own})

    async def task(self, name: str, overrides: Mapping[str, float]) -> Task:
        """The task of that id, with some of its limits replaced.

        Raises:
            TaskError: it is not offered here, or does not hold together.
            InputError: a limit cannot be.
        """
        key = ("task", name, tuple(overrides.items()))
        return await self._remembered(key, self._makers, lambda: episode.choose(self._find(name), overrides))

    async def place(self, task: Task, backend: str, *, busy: bool) -> Place:
        """A place for an episode of ``task``.

        Args:
            busy: others wait for places, so that none is made ahead.

        Raises:
            InputError: there is no such backend.
            InfrastructureError: the image cannot be built, or no sandbox can be made.
        """
        # An image that has to be built takes minutes: it must not hold up the making of sandboxes.
        image = await self._remembered(("image", task.image), self._graders, lambda: self._images.get(task.image))
        key = (backend, image.digest, replace(task.limits, turns=0, episode_timeout=0.0))
        found = await self._take_warm(key) or await self._make(image, task.limits, backend)
        if not busy and self._settings.warm and not self._closed:
            refilling = asyncio.ensure_future(self._refill(key, image, task.limits, backend))
            self._refilling.add(refilling)
            refilling.add_done_callback(self._refilling.discard)
        return found

    async def adopt_maker(self, backend: str, maker: Handover) -> None:
        """Take over what sandboxes of a killed server depend on.

        Raises:
            InputError: there is no such backend.
            InfrastructureError: it is dead.
        """
        found = await self._backend(backend)
        assert isinstance(found, Portable)
        await _in(self._makers, lambda: found.adopt_maker(maker))

    async def adopt(self, task: Task, backend: str, handover: Handover) -> tuple[Place, Process]:
        """Take over the place of an episode of a killed server, and its bash, from which its session resumes.

        Raises:
            InputError: there is no such backend.
            InfrastructureError: it is dead, or its image is not the task's any more; nothing of it is left.
        """
        descriptors = list(handover.descriptors)
        try:
            image = await self._remembered(("image", task.image), self._graders, lambda: self._images.get(task.image))
            found = await self._backend(backend)
            assert isinstance(found, Portable)
            descriptors.clear()
            sandbox, process = await _in(self._makers, lambda: found.adopt(handover, image, task.limits))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return Place(found, image, sandbox, left_session(sandbox, image, task.limits), time.monotonic()), process

    async def grade(self, place: Place, task: Task) -> Grade:
        """Grade what was done in ``place``; it is of no other use afterwards.

        Raises:
            InfrastructureError: the verdict could not be formed.
        """
        grader = Grader(place.backend, place.image, task)
        return await _in(self._graders, lambda: grader.grade(place.sandbox))

    async def free(self, place: Place) -> None:
        """End everything in a place."""
        with contextlib.suppress(InfrastructureError):
            await _in(self._makers, place.sandbox.close)
        with contextlib.suppress(InfrastructureError):
            await place.session.close()

    async def on_file(self, work: Callable[[], _Found]) -> _Found:
        """Do something with files, in one of the threads for that."""
        return await _in(self._files, work)

    async def usage(self, places: list[Place]) -> list[Usage]:
        """What sandboxes have used; those that are dead are left out."""

        def ask() -> list[Usage]:
            found = []
            for place in places:
                with contextlib.suppress(InfrastructureError):
                    found.append(place.sandbox.usage())
            return found

        return await _in(self._files, ask)

    @property
    def ahead(self) -> int:
        """How many ready places wait."""
        return sum(map(len, self._warm.values()))

    async def tidy(self) -> None:
        """Free ready places that nobody wanted for long, and forget what may no longer be true."""
        now = time.monotonic()
        for key, places in list(self._warm.items()):
            while places and now - places[0].made > self._settings.warm_seconds:
                await self.free(places.popleft())
            if not places:
                self._warm.pop(key, None)
        self._fresh = {key: kept for key, kept in self._fresh.items() if now - kept[0] < _FRESH_SECONDS}

    async def close(self) -> None:
        """Free the ready places, and end backends and threads."""
        self._closed = True
        while self._refilling:
            await asyncio.gather(*self._refilling, return_exceptions=True)
        for places in self._warm.values():
            for place in places:
                await self.free(place)
        self._warm.clear()
        for backend in self._backends.values():
            await _in(self._makers, backend.close)
        for pool in (self._makers, self._graders, self._files):
            pool.shutdown(wait=False, cancel_futures=True)

    def _find(self, name: str) -> str | Path:
        if self._settings.open or name in list_tasks():
            return name
        if name.strip(".") and "/" not in name and "\0" not in name:
            for where in self._settings.tasks:
                if (where / name / "task.toml").is_file():
                    return where / name
        raise TaskError(f"there is no task {name!r} here")

    async def _remembered(self, key: object, pool: ThreadPoolExecutor, find: Callable[[], _Found]) -> _Found:
        kept = self._fresh.get(key)
        if kept is None or time.monotonic() - kept[0] > _FRESH_SECONDS:
            kept = self._fresh[key] = (time.monotonic(), await _in(pool, find))
        found: _Found = kept[1]
        return found

    async def _backend(self, name: str) -> Backend:
        backend = self._backends.get(name)
        if backend is None:
            backend = self._backends[name] = await _in(self._makers, lambda: backend_named(name))
        return backend

    async def _make(self, image: Image, limits: Limits, name: str) -> Place:
        backend = await self._backend(name)
        sandbox = await _in(self._makers, lambda: backend.create(image, limits))
        try:
            session = await open_async_session(sandbox, image, limits)
        except BaseException:
            await asyncio.shield(_in(self._makers, sandbox.close))
            raise
        return Place(backend, image, sandbox, session, time.monotonic())

    async def _take_warm(self, key: _Key) -> Place | None:
        places = self._warm.get(key)
        while places:
            place = places.popleft()
            try:
                await place.session.run(":", timeout=5.0)  # it may have died while it waited
            except InfrastructureError:
                await self.free(place)
            else:
                return place
        return None

    async def _refill(self, key: _Key, image: Image, limits: Limits, backend: str) -> None:
        while not self._closed and len(self._warm.get(key, ())) < self._settings.warm:
            try:
                made = await self._make(image, limits, backend)
            except InfrastructureError:
                return
            self._warm.setdefault(key, deque()).append(made)


async def _in(pool: ThreadPoolExecutor, work: Callable[[], _Found]) -> _Found:
    return await asyncio.get_running_loop().run_in_executor(pool, work)
