"""One suite of named checks that every backend passes; what is known to differ is declared here, and nowhere else.

cwm-env doctor --conformance docker
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cwm_env.sandbox.base import Backend
from cwm_env.sandbox.checks import CHECKS, Bench, Check
from cwm_env.sandbox.small import make_small_image
from cwm_env.types import Image

_DISK = (
    "the engine's storage has no quotas here: outside of /tmp, /run and /dev/shm only each file is limited "
    "(overlay2 on xfs mounted with pquota has them)"
)

KNOWN: dict[str, dict[str, str]] = {
    "namespaces": {},
    "docker": {"whole_disk_is_limited": _DISK},
    "docker:runsc": {
        "whole_disk_is_limited": _DISK,
        "fork_bomb_is_ended": "gVisor starts processes as fast as it lets them be killed: a large limit outlasts us",
        "pid_1_cannot_be_looked_into": "gVisor lets root look into pid 1, which holds nothing of other sandboxes",
        "pipe_is_a_change_of_another_kind": "gVisor keeps named pipes to itself: the image's file system has none",
        "memory_kill_is_counted": "gVisor refuses memory to a process beyond its limit, and counts no kill",
    },
}
"""For each backend, the checks that it does not pass, and why."""

KNOWN_SESSIONS: dict[str, dict[str, str]] = {
    "docker:runsc": {
        "fork bomb": KNOWN["docker:runsc"]["fork_bomb_is_ended"],
        "environment of 1 MB": "gVisor says 'File name too long' where Linux says 'Argument list too long'",
    },
}
"""For each backend, the cases of the session's table that may end otherwise, and why."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one check."""

    name: str
    outcome: Literal["passed", "failed", "known"]
    """``known``: it failed as declared in ``KNOWN``."""
    detail: str = ""
    """Why it failed."""
    seconds: float = 0.0


def conform(backend: Backend, name: str, image: Image | None = None) -> Iterator[Result]:
    """Run every check, one after the other.

    Args:
        name: the backend's, under which differences are declared: ``docker:runsc`` is the setting ``runsc``.
        image: what sandboxes are made of; it needs a shell, coreutils and the directories of ``make_small_image``.
            None takes that one.

    Raises:
        SandboxUnavailable: this machine cannot make a sandbox at all.
    """
    with tempfile.TemporaryDirectory(prefix="cwm-env-") as directory:
        Path(directory).chmod(0o755)
        bench = Bench(backend, image or make_small_image(Path(directory) / "layer"))
        try:
            assert bench.shared
            for check in CHECKS:
                yield _try(check, bench, KNOWN.get(name, {}))
        finally:
            bench.close()


def _try(check: Check, bench: Bench, known: dict[str, str]) -> Result:
    name = check.__name__
    started = time.perf_counter()
    try:
        check(bench)
    except Exception as error:
        seconds = time.perf_counter() - started
        if name in known:
            return Result(name, "known", known[name], seconds)
        return Result(name, "failed", f"{type(error).__name__}: {error}", seconds)
    return Result(name, "passed", "", time.perf_counter() - started)
