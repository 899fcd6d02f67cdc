"""Where the native program lies: in the wheel, or built once into the cache from the sources beside this file."""

from __future__ import annotations

import fcntl
import os
from functools import cache
from pathlib import Path

from cwm_env.errors import SandboxUnavailable
from cwm_env.paths import cache_dir
from cwm_env.sandbox.namespaces.native import build

_SHIPPED = Path(__file__).with_name(build.NAME)


@cache
def spawner_program() -> Path:
    """The program, ready to be executed.

    Raises:
        SandboxUnavailable: it was not shipped, and cannot be built here.
    """
    if _SHIPPED.is_file():
        return _SHIPPED
    machine = os.uname().machine
    target = cache_dir() / "native" / build.fingerprint(machine) / build.NAME
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (target.parent / "lock").open("w") as lock:  # one builds, the others wait for it
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.is_file():
                build.build(target, machine)
    except (OSError, build.BuildFailed) as error:
        raise SandboxUnavailable(f"no sandbox can be made: {error}") from error
    return target
