"""What checks are made with: a backend with an image, and short ways of running things."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from cwm_env.sandbox.base import Backend, Process, Sandbox
from cwm_env.sandbox.run import Completed, run
from cwm_env.types import Image, Limits

SECONDS = 30.0
"""How long anything may take that takes no time."""
MIB = 1 << 20
ANY_BYTES = bytes(range(256)) * 512


@dataclass
class Bench:
    """A backend, an image, and a sandbox that checks share as long as they do not harm it."""

    backend: Backend
    image: Image
    limits: Limits = field(default_factory=lambda: Limits(memory=256 * MIB, disk=64 * MIB, processes=60, cpus=1.0))
    _stack: ExitStack = field(default_factory=ExitStack)
    _shared: Sandbox | None = None

    @property
    def shared(self) -> Sandbox:
        """A sandbox to look at and to run things in."""
        if self._shared is None:
            self._shared = self.fresh()
        return self._shared

    def fresh(self, limits: Limits | None = None) -> Sandbox:
        """A sandbox of one's own; it is closed at the end."""
        made = self.backend.create(self.image, limits or self.limits)
        self._stack.callback(made.close)
        return made

    def close(self) -> None:
        """Close every sandbox."""
        self._stack.close()


def sh(sandbox: Sandbox, script: str, *, user: str = "root", input: bytes = b"", timeout: float = SECONDS) -> Completed:
    """Run a script in the sandbox."""
    return run(sandbox, ["bash", "-c", script], user=user, input=input, timeout=timeout)


def out(sandbox: Sandbox, script: str, *, user: str = "root") -> str:
    """What a script prints, without the last newline; it must succeed."""
    done = sh(sandbox, script, user=user)
    assert done.exit_code == 0, f"{script!r} ended with {done.exit_code}: {done.stderr.decode('utf-8', 'replace')}"
    return done.stdout.decode("utf-8", "replace").rstrip("\n")


def fails(what: Callable[[], object], number: int | None = None) -> OSError:
    """The ``OSError`` that a call raises."""
    try:
        what()
    except OSError as error:
        assert number is None or error.errno == number, f"errno is {error.errno}, not {number}"
        return error
    raise AssertionError("no error was raised")


def read_line(descriptor: int) -> bytes:
    """The next line, or what there is of it at end of file."""
    line = b""
    while not line.endswith(b"\n"):
        assert select.select([descriptor], [], [], SECONDS)[0], f"nothing came after {line!r}"
        part = os.read(descriptor, 1)
        if not part:
            break
        line += part
    return line


def drain(process: Process) -> bytes:
    """What is on standard output now."""
    data = b""
    while select.select([process.stdout], [], [], 0)[0]:
        part = os.read(process.stdout, 1 << 16)
        if not part:
            break
        data += part
    return data


def alive(sandbox: Sandbox, argument: str) -> int:
    """How many processes have this last argument."""
    script = (
        "n=0; for f in /proc/[0-9]*/cmdline; do while IFS= read -r -d '' a; do :; l=$a; done 2>/dev/null < $f; "
        f'[ "$l" = {argument} ] && n=$((n+1)); l=; done; echo $n'
    )
    return int(out(sandbox, script))
