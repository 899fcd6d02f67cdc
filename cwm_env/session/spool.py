"""The whole output of a command that printed more than a result keeps, as a file in the sandbox.

Written back by the host once the command is over: a ``tee`` in the sandbox would slow every command and change what
programs see, for the sake of the few that flood.
"""

from __future__ import annotations

from typing import IO

from cwm_env.errors import SandboxError
from cwm_env.sandbox.base import Sandbox

KEPT = 4
"""How many files a session keeps; the oldest makes room for the next."""

_PIECE = 1 << 20


def deliver(sandbox: Sandbox, file: IO[bytes], session: int, number: int, user: str) -> str | None:
    """Write ``file`` into the sandbox as the output ``number`` of a session; its path there, or None if it cannot be.

    Args:
        session: tells apart the sessions of one sandbox.
    """
    path = f"/tmp/.output-{session}-{number % KEPT}"  # noqa: S108 - in the sandbox, with the rights of its own user
    file.seek(0)
    try:
        sandbox.write_file(path, iter(lambda: file.read(_PIECE), b""), mode=0o600, user=user)
    except (OSError, SandboxError):
        return None
    return path
