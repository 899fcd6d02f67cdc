"""The client's side of one sandbox."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from cwm_env.errors import SandboxError
from cwm_env.sandbox.base import Change, FileInfo, Program
from cwm_env.sandbox.cgroups import Cgroups
from cwm_env.sandbox.namespaces import files, ids, upper, wire
from cwm_env.sandbox.namespaces.process import NamespaceProcess, readable
from cwm_env.sandbox.usage import Usage
from cwm_env.types import Image, Limits

DEFAULT_ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_STREAMS = 4
_ANY_LENGTH = (1 << 63) - 1
_LAST_ANSWER_SECONDS = 2.0
_DEATH_SECONDS = 30.0
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class NamespaceSandbox:
    """A ``Sandbox`` of Linux namespaces. Made by ``NamespacesBackend``."""

    def __init__(
        self,
        name: str,
        image: Image,
        limits: Limits,
        control: socket.socket,
        exited: int,
        cgroups: Cgroups,
        on_close: Callable[[NamespaceSandbox], None],
    ) -> None:
        self.id = name
        self.image = image
        self.limits = limits
        self.extra_env: Mapping[str, str] = {}
        """Variables that every process gets, where its own environment does not set them."""
        self.base = ids.NONE
        """First id of its range."""
        self.listener = -1
        """The proxy's end in its network, kept for who may take the sandbox over; -1 where there is none."""
        self._control = control
        self._exited = exited
        self._cgroups = cgroups
        self._on_close = on_close
        self._lock = threading.RLock()
        self._changes = -1
        self._stopped = self._closed = False
        self._started: dict[bytes, NamespaceProcess] = {}

    @property
    def alive(self) -> bool:
        """Whether its pid 1 runs."""
        return not self._stopped and not readable(self._exited, 0)

    def wait_ready(self) -> list[int]:
        """Wait until the sandbox has set itself up; the descriptors that it hands over.

        Raises:
            OSError: a step of it failed, with the step's errno.
            SandboxError: the image is not one that can be mounted safely, or the sandbox died without a word.
        """
        try:
            message, descriptors = wire.receive(self._control)
        except (EOFError, OSError) as error:
            raise SandboxError(f"a sandbox died while it was set up: {error}") from error
        if "errno" in message:
            raise OSError(int(message["errno"]), message["error"])
        if "error" in message:
            raise SandboxError(f"a sandbox could not be made: {message['error']}")
        return descriptors

    def take_up(self) -> None:
        """Speak on where another process has stopped: it was killed, perhaps in the middle of a word.

        Raises:
            SandboxError: the sandbox is dead, or does not answer.
        """
        try:
            wire.resynchronise(self._control)
        except (OSError, EOFError) as error:
            raise SandboxError(f"sandbox {self.id} died") from error

    @property
    def descriptors(self) -> list[int]:
        """What another process needs to go on with it."""
        return [self._control.fileno(), self._exited, *([self.listener] if self.listener >= 0 else [])]

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        user: str = "root",
        shell_loop: bool = False,
    ) -> NamespaceProcess:
        """As ``Sandbox.spawn``."""
        request = self._request(Program(argv, env, cwd, user, shell_loop))
        with self._lock:
            waiting = self._started.pop(request, None) if self._started else None
        if waiting is not None and waiting.wait(0) is None:
            return waiting
        return self._spawn(request)

    def start_ahead(self, program: Program) -> None:
        """Start a process that a later ``spawn`` with the very same arguments will return at once."""
        request = self._request(program)
        self._started[request] = self._spawn(request)

    def start_tool(self, *arguments: str | int, user: str = "0:0") -> NamespaceProcess:
        """Start one of the native program's own tools (``native/tools.c``)."""
        fields: wire.Fields = [("do", "spawn"), ("tool", 1), ("user", user)]
        return self._spawn(wire.encode([*fields, *(("arg", argument) for argument in arguments)]))

    def kill_processes(self, *, keep: Collection[int] = (), started_after: float | None = None) -> int:
        """As ``Sandbox.kill_processes``."""
        fields: wire.Fields = [("do", "kill"), *(("keep", pid) for pid in keep)]
        if started_after is not None:
            fields.append(("after", int(started_after * _CLOCK_TICKS)))
        answer, _ = self._ask(wire.encode(fields))
        return int(answer["killed"])

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to the group of a process that ``spawn`` started; nothing if it or the sandbox is gone."""
        try:
            self._ask(wire.encode([("do", "signal"), ("pid", pid), ("signal", int(number))]))
        except SandboxError:
            pass

    def break_down(self, how: Literal["die", "tear"]) -> None:
        """Fail on purpose, as the machine could at any time: pid 1 dies, or a request to it ends in its middle."""
        if how == "die":
            signal.pidfd_send_signal(self._exited, signal.SIGKILL)
        else:
            self._control.send(_USAGE[: len(_USAGE) // 2])
            self._control.shutdown(socket.SHUT_WR)

    def usage(self) -> Usage:
        """As ``Sandbox.usage``."""
        answer, _ = self._ask(_USAGE)
        counted = self._cgroups.read(self.id)
        own_cpu = int(answer["cpu_us"]) / 1e6
        return Usage(
            cpu_seconds=own_cpu if counted.cpu_seconds is None else counted.cpu_seconds,
            cpu_throttled=counted.throttled_seconds,
            memory_peak=counted.memory_peak,
            memory_kills=counted.memory_kills,
            processes_refused=counted.processes_refused,
            disk_used=int(answer["disk_used"]),
            disk_free=int(answer["disk_free"]),
            inodes_free=int(answer["inodes_free"]),
            files_full=files_full(answer),
        )

    def pause(self) -> None:
        """As ``Sandbox.pause``."""
        self._ask(wire.encode([("do", "pause")]))

    def resume(self) -> None:
        """As ``Sandbox.resume``."""
        self._ask(wire.encode([("do", "resume")]))

    def read_file(self, path: str, *, limit: int = 64 << 20) -> bytes:
        """As ``Sandbox.read_file``."""
        return b"".join(files.output(self.start_tool("read", path, limit)))

    def stream_file(self, path: str) -> Iterator[bytes]:
        """As ``Sandbox.stream_file``."""
        return files.output(self.start_tool("read", path, _ANY_LENGTH))

    def write_file(self, path: str, data: bytes | Iterable[bytes], *, mode: int = 0o644, user: str = "root") -> None:
        """As ``Sandbox.write_file``."""
        files.feed(self.start_tool("write", path, f"{mode:o}", user=user), data)

    def list_files(self, path: str) -> list[FileInfo]:
        """As ``Sandbox.list_files``."""
        return files.listing(b"".join(files.output(self.start_tool("list", path))))

    def archive(self, path: str) -> Iterator[bytes]:
        """As ``Sandbox.archive``."""
        return files.output(self.start_tool("pack", path))

    def extract(
        self,
        archive: bytes | Iterable[bytes],
        path: str,
        *,
        user: str = "root",
        max_bytes: int = 1 << 30,
        max_entries: int = 100_000,
    ) -> None:
        """As ``Sandbox.extract``."""
        files.feed(self.start_tool("unpack", path, max_bytes, max_entries, user=user), archive)

    def stop(self) -> None:
        """As ``Sandbox.stop``."""
        with self._lock:
            if self._stopped:
                return
            try:
                self._control.settimeout(_LAST_ANSWER_SECONDS)
                _, (self._changes,) = self._ask(_UPPER)
            except (SandboxError, ValueError):
                pass  # it is dead, or does not answer: there is nothing to be read from it
            self._end()

    def changes(self, path: str, *, skip: Collection[bytes] = (), limit: int = 64 << 20) -> Iterator[Change]:
        """As ``Sandbox.changes``."""
        if not self._stopped:
            raise SandboxError(f"sandbox {self.id} still runs: stop it before its changes are read")
        if self._changes < 0:
            raise SandboxError(f"sandbox {self.id} was dead before it was stopped: its changes are lost")
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
            for process in self._started.values():
                process.close()
            try:
                if not self._stopped:
                    self._end()
            finally:
                for descriptor in (self._exited, self._changes, self.listener):
                    if descriptor >= 0:
                        os.close(descriptor)
                self._on_close(self)

    def _request(self, program: Program) -> bytes:
        fields: wire.Fields = [("do", "spawn"), ("cwd", program.cwd), ("user", program.user)]
        fields += [("shell_loop", 1)] if program.shell_loop else []
        fields += [("arg", text) for text in program.argv]
        whole = {**self.extra_env, **(DEFAULT_ENV if program.env is None else program.env)}
        return wire.encode([*fields, *(("env", f"{name}={value}") for name, value in whole.items())])

    def _spawn(self, request: bytes) -> NamespaceProcess:
        answer, descriptors = self._ask(request)
        if len(descriptors) < _STREAMS:  # the kernel drops what there is no room for
            for descriptor in descriptors:
                os.close(descriptor)
            self.signal(int(answer["pid"]), signal.SIGKILL)
            raise SandboxError("this process has no descriptors left: raise its limit (ulimit -n), or close some")
        return NamespaceProcess(self, int(answer["pid"]), descriptors)

    def _end(self) -> None:
        """Kill it, and wait until nothing of it is left."""
        self._stopped = True
        self._control.close()
        try:
            signal.pidfd_send_signal(self._exited, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it saw its control socket close, and ended by itself
        # Pid 1 is gone only after the kernel has killed and reaped everything else in its pid namespace.
        if not readable(self._exited, _DEATH_SECONDS):
            raise SandboxError(f"sandbox {self.id} did not die within {_DEATH_SECONDS:.0f} seconds")

    def _ask(self, request: bytes) -> tuple[dict[str, str], list[int]]:
        with self._lock:
            if self._stopped:
                raise SandboxError(f"sandbox {self.id} was stopped")
            try:
                wire.send(self._control, request)
                answer, descriptors = wire.receive(self._control)
            except (OSError, EOFError) as error:
                # An answer that came later would be taken for the next one's: nothing more can be said to it.
                self._control.shutdown(socket.SHUT_RDWR) if self._control.fileno() >= 0 else None
                raise SandboxError(f"sandbox {self.id} died") from error
        if "error" in answer:
            raise SandboxError(f"sandbox {self.id}: {answer['error']}")
        return answer, descriptors


def files_full(answer: Mapping[str, str]) -> int | None:
    """How many processes hold all descriptors that they may; None where the kernel does not tell (before Linux 6.2)."""
    count = int(answer["files_full"])
    return None if count < 0 else count


_USAGE = wire.encode([("do", "usage")])
_UPPER = wire.encode([("do", "upper")])
