"""The client's side of a process in a sandbox."""

from __future__ import annotations

import os
import select
import signal
import struct
from collections.abc import Sequence
from typing import Protocol

from cwm_env.errors import SandboxError

_STATUS = struct.Struct("=i")


class Owner(Protocol):
    """The sandbox, as far as one of its processes needs it."""

    id: str

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to the group of a process; nothing if it or the sandbox is gone."""


class NamespaceProcess:
    """A ``Process`` whose pid 1 is the native program."""

    def __init__(self, sandbox: Owner, pid: int, descriptors: Sequence[int]) -> None:
        self._sandbox = sandbox
        self.pid = pid
        self.stdin, self.stdout, self.stderr, self.exited = descriptors
        os.set_blocking(self.stdout, False)
        os.set_blocking(self.stderr, False)
        self._code: int | None = None
        self._stdin_open = self._open = True

    def close_stdin(self) -> None:
        """As ``Process.close_stdin``."""
        if self._stdin_open:
            self._stdin_open = False
            os.close(self.stdin)

    def interrupt(self) -> None:
        """As ``Process.interrupt``."""
        self._sandbox.signal(self.pid, signal.SIGINT)

    def kill(self) -> None:
        """As ``Process.kill``."""
        self._sandbox.signal(self.pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int | None:
        """As ``Process.wait``."""
        if self._code is None:
            if not readable(self.exited, timeout):
                return None
            status = os.read(self.exited, _STATUS.size)
            if len(status) < _STATUS.size:
                raise SandboxError(f"sandbox {self._sandbox.id} died, and process {self.pid} with it")
            (self._code,) = _STATUS.unpack(status)
        return self._code

    def close(self) -> None:
        """As ``Process.close``."""
        if self._open:
            self._open = False
            self.close_stdin()
            for descriptor in (self.stdout, self.stderr, self.exited):
                os.close(descriptor)


def readable(descriptor: int, timeout: float | None) -> bool:
    """Wait until there is something to read, or the other end is closed. ``timeout``: seconds."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(None if timeout is None else timeout * 1000))
