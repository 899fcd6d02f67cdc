"""Faults on purpose: what a machine does to sandboxes sooner or later, from a seed, so that it can be done again.

>>> register("faulty", FaultyBackend(NamespacesBackend(), seed=7, rates={"dies": 0.05, "disk-full": 0.01}))

Each fault ends in a typed error (``cwm_env.errors``), at once or when the sandbox is next used, or is mended on the
way and not noticed. The faults are real: processes are killed, descriptors run out, a request is cut in its middle.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from cwm_env.errors import DiskFull, InputError, SandboxError
from cwm_env.sandbox.base import Sandbox
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.sandbox.namespaces.sandbox import NamespaceSandbox
from cwm_env.types import Image, Limits

Fault = Literal["slow", "again", "disk-full", "dies", "torn", "descriptors", "spawner-killed"]
"""``slow``: creation takes long. ``again``: the kernel has no room for a process. ``disk-full``: no space is left.
``dies``: pid 1 dies after creation. ``torn``: a request to the sandbox is cut in its middle. ``descriptors``: this
process has none left. ``spawner-killed``: the spawners are killed before the creation; new ones take over."""


class FaultyBackend:
    """The embedded backend with faults. Thread-safe; ``descriptors`` touches the whole process while it lasts."""

    def __init__(
        self, inner: NamespacesBackend, *, seed: int, rates: Mapping[Fault, float], slow_seconds: float = 1.0
    ) -> None:
        """
        Args:
            inner: makes the sandboxes.
            seed: the same seed gives the same faults in the same order of creations.
            rates: fault to its probability at each creation.
            slow_seconds: what ``slow`` adds.

        Raises:
            InputError: there is no such fault.
        """
        if unknown := set(rates) - set(get_args(Fault)):
            raise InputError(f"there is no fault {sorted(unknown)[0]!r}: choose from {', '.join(get_args(Fault))}")
        self._inner = inner
        self._random = random.Random(seed)  # noqa: S311 - the point is that it repeats
        self._rates = dict(rates)
        self._slow_seconds = slow_seconds
        self._lock = threading.Lock()
        self.injected: list[Fault] = []
        """The faults so far, in order."""

    def create(self, image: Image, limits: Limits, *, upper: Path | None = None) -> Sandbox:
        """As ``Backend.create``, with faults."""
        faults = self._choose()
        if "slow" in faults:
            time.sleep(self._slow_seconds)
        if "again" in faults:
            raise SandboxError("a sandbox could not be made: clone into new namespaces: no room for a process")
        if "disk-full" in faults:
            raise DiskFull("no space is left for a sandbox: free some and try again")
        if "spawner-killed" in faults:
            for pid in self._inner.spawner_pids():
                os.kill(pid, signal.SIGKILL)
        if "descriptors" in faults:
            made = self._without_descriptors(image, limits, upper)
        else:
            made = self._inner.create(image, limits, upper=upper)
        if "dies" in faults:
            made.break_down("die")
        if "torn" in faults:
            made.break_down("tear")
        return made

    def fork(self, sandbox: Sandbox) -> Sandbox:
        """As ``Backend.fork``, without faults of its own."""
        return self._inner.fork(sandbox)

    def snapshot(self, sandbox: Sandbox, directory: Path) -> Image:
        """As ``Backend.snapshot``, without faults of its own."""
        return self._inner.snapshot(sandbox, directory)

    def close(self) -> None:
        """As ``Backend.close``."""
        self._inner.close()

    def _choose(self) -> set[Fault]:
        with self._lock:
            chosen = [fault for fault, rate in self._rates.items() if self._random.random() < rate]
            self.injected += chosen
            return set(chosen)

    def _without_descriptors(self, image: Image, limits: Limits, upper: Path | None) -> NamespaceSandbox:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest_free = os.dup(0)  # the limit is on numbers, not on a count: a hole below it would still be given out
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
        try:
            return self._inner.create(image, limits, upper=upper)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
