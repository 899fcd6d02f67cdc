"""The whole output of a command that printed more than a result keeps, as a file in the sandbox.

Written back by the host once the command is over: a ``tee`` in the sandbox would slow every command and change what
programs see, for the sake of the few that flood.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import IO

from cwm_env.errors import SandboxError
from cwm_env.sandbox.base import Sandbox
from cwm_env.sandbox.run import run

DIRECTORY = "/tmp/.cwm-output"  # noqa: S108 - in the sandbox, written with the rights of its own user
"""Where the files lie in the sandbox."""
KEPT = 4
"""How many of a session are kept; the oldest is removed for the next."""

_WRITE = 'umask 077; mkdir -p "$0" && rm -f "$0/$2" && cat >"$0/$1"'
_SECONDS = 10.0


def deliver(sandbox: Sandbox, file: IO[bytes], number: int, env: Mapping[str, str] | None, user: str) -> str | None:
    """Write ``file`` into the sandbox as the output with this ``number``; its path there, or None if it cannot be."""
    file.seek(0)
    argv = ["bash", "-c", _WRITE, DIRECTORY, str(number), str(number - KEPT)]
    with contextlib.suppress(SandboxError, TimeoutError):
        if run(sandbox, argv, env=env, user=user, input=file.read(), timeout=_SECONDS).exit_code == 0:
            return f"{DIRECTORY}/{number}"
    return None
