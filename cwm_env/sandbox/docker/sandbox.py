"""The client's side of one container."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator

from cwm_env.errors import InfrastructureError, SandboxError
from cwm_env.sandbox.base import Change
from cwm_env.sandbox.docker import changes as differences
from cwm_env.sandbox.docker import labels
from cwm_env.sandbox.docker.channel import Answer, Channel, hung_up
from cwm_env.sandbox.docker.counters import usage_of
from cwm_env.sandbox.docker.engine import Engine
from cwm_env.sandbox.namespaces import wire
from cwm_env.sandbox.namespaces.process import NamespaceProcess
from cwm_env.sandbox.namespaces.sandbox import NamespaceSandbox
from cwm_env.sandbox.usage import Usage
from cwm_env.types import Image, Limits

_ANSWER_SECONDS = 60.0
_GRACE = 3.0
"""Seconds: an idle container has ended after 0.05, a fork bomb's under gVisor after 0.1."""
_USAGE = wire.encode([("do", "usage")])


class DockerSandbox(NamespaceSandbox):
    """A ``Sandbox`` that is a container. Made by ``DockerBackend``.

    The same native program is pid 1 of both, and understands the same requests: only the way to it differs, and what
    is left of it once it is dead.
    """

    def __init__(
        self,
        name: str,
        container: str,
        image: Image,
        limits: Limits,
        engine: Engine,
        channel: Channel,
        on_close: Callable[[DockerSandbox], None],
    ) -> None:
        self.id, self.container = name, container
        self.image, self.limits = image, limits
        self.extra_env = {}
        self._engine, self._channel, self._gone = engine, channel, on_close
        self._lock = threading.RLock()
        self._started: dict[bytes, NamespaceProcess] = {}
        self._stopped = self._closed = self._lost = False
        self._clock_ahead = 0.0

    def begin(self, limits_message: bytes) -> None:
        """Tell pid 1 its limits, and wait until it is ready.

        Raises:
            SandboxError: it did not come up.
        """
        self._channel.send(limits_message)
        try:
            before = time.clock_gettime(time.CLOCK_BOOTTIME)
            ready = self._channel.answer(_ANSWER_SECONDS)
            after = time.clock_gettime(time.CLOCK_BOOTTIME)
        except (EOFError, TimeoutError) as error:
            raise hung_up(error, self.id, self._channel.said) from error
        with self._understood():
            theirs = int(ready["boot_us"]) / 1e6
        if not before <= theirs <= after:  # another kernel's clock: gVisor's, a virtual machine's, another machine's
            self._clock_ahead = theirs - after

    def kill_processes(self, *, keep: Collection[int] = (), started_after: float | None = None) -> int:
        """As ``Sandbox.kill_processes``."""
        if started_after is not None:
            started_after = max(started_after + self._clock_ahead, 0.0)
        with self._understood():
            return super().kill_processes(keep=keep, started_after=started_after)

    def usage(self) -> Usage:
        """As ``Sandbox.usage``."""
        answer, _ = self._ask(_USAGE)
        with self._understood():
            return usage_of(answer)

    def stop(self) -> None:
        """As ``Sandbox.stop``."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            self._lost = self._channel.dead
            self._channel.close()
            with self._engine.doing("stop a container"):
                if not _has_ended(self._engine, self.container):
                    _end(self._engine, self.container)

    def changes(self, path: str, *, skip: Collection[bytes] = (), limit: int = 64 << 20) -> Iterator[Change]:
        """As ``Sandbox.changes``."""
        if not self._stopped:
            raise SandboxError(f"sandbox {self.id} still runs: stop it before its changes are read")
        if self._lost:
            raise SandboxError(f"sandbox {self.id} was dead before it was stopped: its changes are lost")
        yield from differences.changes(self._engine, self.container, path, skip, limit)

    def close(self) -> None:
        """As ``Sandbox.close``."""
        with self._lock:
            if self._closed:
                return
            self._closed = self._stopped = True
            for process in self._started.values():
                process.close()
            self._channel.close()
        try:
            _has_ended(self._engine, self.container)
            labels.remove_container(self._engine, self.container)
        finally:
            self._gone(self)

    def _spawn(self, request: bytes) -> NamespaceProcess:
        with self._lock:
            self._check()
            try:
                number, streams = self._channel.open_streams()
            except EOFError as error:
                raise hung_up(error, self.id, self._channel.said) from error
            try:
                answer, _ = self._ask(_with_number(request, number))
                with self._understood():
                    pid = int(answer["pid"])
            except InfrastructureError:
                self._channel.drop_streams(number)
                raise
            return NamespaceProcess(self, pid, streams.descriptors)

    def _ask(self, request: bytes) -> tuple[Answer, list[int]]:
        with self._lock:
            self._check()
            try:
                answer = self._channel.ask(request, _ANSWER_SECONDS)
            except (EOFError, TimeoutError) as error:
                raise hung_up(error, self.id, self._channel.said) from error
        if "error" in answer:
            raise SandboxError(f"sandbox {self.id}: {answer['error']}")
        return answer, []

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        """An answer without what it must say is not pid 1's: under gVisor the container's root can forge one."""
        try:
            yield
        except (KeyError, ValueError) as error:
            self._channel.close()
            raise SandboxError(f"sandbox {self.id} died: pid 1 answered what it would not ({error})") from error

    def _check(self) -> None:
        if self._stopped:
            raise SandboxError(f"sandbox {self.id} was stopped")


def _with_number(request: bytes, number: int) -> bytes:
    extra = f"number={number}\0".encode()
    return (len(request) - 4 + len(extra)).to_bytes(4, "big") + request[4:] + extra


def _has_ended(engine: Engine, container: str) -> bool:
    """Whether a container, whose pid 1 ends because we hung up, has; it is given the time to.

    To kill it meanwhile can take minutes: containerd's shim waits up to a second for each of a fork bomb's processes,
    as long as it cannot tell of their ends to the kill that has just begun.
    """
    import requests
    from docker.errors import DockerException

    with contextlib.suppress(DockerException, requests.RequestException):
        engine.api.wait(container, timeout=_GRACE)
        return True
    return False  # what was wrong, the call that follows will say


def _end(engine: Engine, container: str) -> None:
    """Kill a container if it still runs, and wait until nothing of it does."""
    from docker.errors import APIError

    try:
        engine.api.kill(container)
    except APIError as error:
        if error.status_code not in (404, 409):  # it has ended by itself, because we hung up
            raise
    engine.api.wait(container)
