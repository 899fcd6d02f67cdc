"""The client's side of one sandbox and of the processes in it."""

from __future__ import annotations

import itertools
import os
import select
import signal
import socket
import struct
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from cwm_env.errors import SandboxError
from cwm_env.sandbox.base import Change
from cwm_env.sandbox.namespaces import upper, wire

DEFAULT_ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_STATUS = struct.Struct("!i")
_DEATH_SECONDS = 30.0
_numbers = itertools.count(1)


class NamespaceSandbox:
    """A ``Sandbox`` of Linux namespaces. Made by ``NamespacesBackend.create``."""

    def __init__(self, control: socket.socket, exited: int, *, on_close: Callable[[], None]) -> None:
        self.id = f"{os.getpid()}-{next(_numbers)}"
        self._control = control
        self._exited = exited
        self._on_close = on_close
        self._lock = threading.RLock()
        self._changes = -1
        self._stopped = self._closed = False

    def wait_ready(self) -> None:
        """Wait until the sandbox has set itself up.

        Raises:
            OSError: a step of it failed, with the step's errno.
            SandboxError: it died without a word.
        """
        try:
            message, descriptors = wire.receive(self._control)
        except (EOFError, TimeoutError) as error:
            raise SandboxError(f"a sandbox died while it was set up: {error}") from error
        if "error" in message:
            raise OSError(message["errno"], message["error"])
        (self._changes,) = descriptors

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        user: str = "root",
    ) -> NamespaceProcess:
        """As ``Sandbox.spawn``."""
        request = {
            "do": "spawn",
            "argv": list(argv),
            "env": dict(DEFAULT_ENV if env is None else env),
            "cwd": cwd,
            "user": user,
        }
        answer, descriptors = self._ask(request)
        return NamespaceProcess(self, answer["pid"], descriptors)

    def kill_processes(self, *, keep: Collection[int] = (), started_after: float | None = None) -> int:
        """As ``Sandbox.kill_processes``."""
        answer, _ = self._ask({"do": "kill", "keep": list(keep), "after": started_after})
        killed: int = answer["killed"]
        return killed

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to the group of a process that ``spawn`` started; nothing if it or the sandbox is gone."""
        try:
            self._ask({"do": "signal", "pid": pid, "signal": int(number)})
        except SandboxError:
            pass

    def stop(self) -> None:
        """As ``Sandbox.stop``."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            self._control.close()
            try:
                signal.pidfd_send_signal(self._exited, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it saw its control socket close, and ended by itself
            # Pid 1 is gone only after the kernel has killed and reaped everything else in its pid namespace.
            if not _readable(self._exited, _DEATH_SECONDS):
                raise SandboxError(f"sandbox {self.id} did not die within {_DEATH_SECONDS:.0f} seconds")

    def changes(self, path: str, *, skip: Collection[bytes] = (), limit: int = 64 << 20) -> Iterator[Change]:
        """As ``Sandbox.changes``."""
        if not self._stopped:
            raise SandboxError(f"sandbox {self.id} still runs: stop it before its changes are read")
        try:
            yield from upper.changes(self._changes, path, skip, limit)
        except OSError as error:
            raise SandboxError(f"the changes of sandbox {self.id} cannot be read: {error}") from error

    def close(self) -> None:
        """As ``Sandbox.close``."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                self.stop()
            finally:
                os.close(self._exited)
                if self._changes >= 0:
                    os.close(self._changes)
                self._on_close()

    def _ask(self, request: wire.Message) -> tuple[wire.Message, list[int]]:
        with self._lock:
            if self._stopped:
                raise SandboxError(f"sandbox {self.id} was stopped")
            try:
                wire.send(self._control, request)
                answer, descriptors = wire.receive(self._control)
            except (OSError, EOFError) as error:
                raise SandboxError(f"sandbox {self.id} died") from error
        if "error" in answer:
            raise SandboxError(f"sandbox {self.id}: {answer['error']}")
        return answer, descriptors


class NamespaceProcess:
    """A ``Process`` in a ``NamespaceSandbox``."""

    def __init__(self, sandbox: NamespaceSandbox, pid: int, descriptors: list[int]) -> None:
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
            if not _readable(self.exited, timeout):
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


def _readable(descriptor: int, timeout: float | None) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(None if timeout is None else timeout * 1000))
