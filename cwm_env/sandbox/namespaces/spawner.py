"""The client's side of spawners: the small native processes that make sandboxes (``native/spawner.c``)."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from cwm_env.errors import SandboxError
from cwm_env.sandbox import leases
from cwm_env.sandbox.cgroups import Cgroups
from cwm_env.sandbox.handover import Handover
from cwm_env.sandbox.namespaces import wire
from cwm_env.sandbox.namespaces.binary import spawner_program
from cwm_env.sandbox.namespaces.process import readable

_ANSWER_SECONDS = 30.0
_END_SECONDS = 15.0


class SpawnerDied(SandboxError):
    """The spawner is gone, and all its sandboxes with it. A new one can be started."""


class Spawner:
    """A running spawner. Thread-safe: one request at a time."""

    def __init__(self, cgroups: Cgroups, handover: Handover | None = None) -> None:
        """Start it, or go on with the one that another process hands over.

        Raises:
            SandboxUnavailable: its program is not there.
            SandboxError: it does not start, or is dead.
        """
        self.lock = threading.Lock()
        self.owner = os.getpid()
        self.pid = 0
        self.crowded = cgroups.crowds is not None if handover is None else handover.about["crowded"]
        """Whether its sandboxes have no groups of their own for the processors."""
        self._process: subprocess.Popen[bytes] | None = None  # where it is a child of ours, to be buried by us
        # Above all that its clients before this one can have counted up to.
        self._numbers = itertools.count(time.monotonic_ns() // 1000 if handover else 1)
        if handover:
            self._adopt(handover)
        else:
            self._start(spawner_program(), cgroups)
        self._socket.settimeout(_ANSWER_SECONDS)

    def _start(self, program: Path, cgroups: Cgroups) -> None:
        with contextlib.ExitStack() as undo:
            try:
                homes = [*cgroups.directories, *([cgroups.crowds] if cgroups.crowds else [])]
                self.lease = leases.Lease(homes)
                undo.callback(self.lease.end)
                self._socket, theirs = socket.socketpair()
                undo.callback(self._socket.close)
                crowd = self.lease.name(0)
                with theirs:
                    self._process = _start(program, theirs.fileno(), self.lease.lock, cgroups.places(crowd))
                cgroups.gather(crowd, self._process.pid)
                self.pid = self._process.pid
                self._ended = os.pidfd_open(self.pid)
            except OSError as error:
                raise SandboxError(f"the spawner of sandboxes does not start: {error}") from error
            undo.pop_all()

    def _adopt(self, handover: Handover) -> None:
        sock, self._ended = handover.descriptors
        self.pid = handover.about["pid"]
        self._socket = socket.socket(fileno=sock)
        self._socket.settimeout(_ANSWER_SECONDS)
        try:
            wire.resynchronise(self._socket)
            self.lease = leases.Lease.adopted(handover.about["lease"])
        except (OSError, EOFError) as error:
            self._socket.close()
            os.close(self._ended)
            raise SpawnerDied(f"the spawner of sandboxes died: {error}") from error

    def hand_over(self) -> Handover:
        """What another process needs to go on with it."""
        about = {"lease": self.lease.id, "pid": self.pid, "crowded": self.crowded}
        return Handover(about, (self._socket.fileno(), self._ended))

    def next_name(self) -> str:
        """A name for a new sandbox, unique on this machine."""
        return self.lease.name(next(self._numbers))

    def create(self, request: bytes, descriptors: Sequence[int] = ()) -> tuple[socket.socket, int]:
        """Ask for a sandbox; its control socket, and a descriptor that becomes readable when it is dead.

        The sandbox goes on to set itself up, and reports on the socket.

        Raises:
            OSError: it could not be made, with the kernel's reason.
            SpawnerDied: ask another one.
        """
        with self.lock:
            if self._socket.fileno() < 0:
                raise SpawnerDied("the spawner of sandboxes was closed")
            try:
                wire.send(self._socket, request, descriptors)
                answer, theirs = wire.receive(self._socket)
            except (OSError, EOFError) as error:
                raise SpawnerDied(f"the spawner of sandboxes died: {error}") from error
        if "error" in answer:
            raise OSError(int(answer["errno"]), answer["error"])
        if len(theirs) < 2:  # the kernel drops what there is no room for; the sandbox ends when nobody holds its socket
            for descriptor in theirs:
                os.close(descriptor)
            raise OSError(errno.EMFILE, "this process has no descriptors left: raise its limit (ulimit -n)")
        control = socket.socket(fileno=theirs[0])
        control.settimeout(_ANSWER_SECONDS)
        return control, theirs[1]

    def close(self) -> None:
        """End it, and every sandbox of it. Idempotent; does nothing in a fork of the process that started it."""
        if self.owner != os.getpid():
            return
        with self.lock:
            if self._socket.fileno() < 0:
                return
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # another process may hold it, too
            self._socket.close()
        if not readable(self._ended, _END_SECONDS):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._ended, signal.SIGKILL)
            readable(self._ended, None)
        if self._process is not None:
            self._process.wait()
        os.close(self._ended)
        self.lease.end()


class Spawners:
    """Several spawners that are started when they are needed, and replaced when they die. Thread-safe."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._lock = threading.Lock()
        self._slots: list[Spawner | None] = [None] * count
        self._retired: list[Spawner] = []  # whose groups are arranged otherwise than ours: they make no more
        self._turn = itertools.count()

    def choose(self, cgroups: Cgroups) -> Spawner:
        """One that is not busy if there is one, started if it is not there.

        Raises:
            SandboxError: it does not start.
        """
        with self._lock:
            if not any(self._slots):
                with contextlib.suppress(OSError):  # what others left behind can wait
                    leases.prune()
            turn = next(self._turn)
            order = [(turn + step) % self.count for step in range(self.count)]
            idle = (slot for slot in order if (spawner := self._slots[slot]) is None or not spawner.lock.locked())
            slot = next(idle, order[0])
            spawner = self._slots[slot] or Spawner(cgroups)
            self._slots[slot] = spawner
            return spawner

    def adopt(self, spawner: Spawner, cgroups: Cgroups) -> None:
        """Take in one that another process started; it makes sandboxes if ours are to be arranged as its are."""
        with self._lock:
            if spawner.crowded != (cgroups.crowds is not None):
                self._retired.append(spawner)
                return
            slot = next((slot for slot, there in enumerate(self._slots) if there is None), None)
            if slot is None:
                self._slots.append(spawner)
                self.count += 1
            else:
                self._slots[slot] = spawner

    def alive(self) -> list[Spawner]:
        """Those that run."""
        return [spawner for spawner in (*self._slots, *self._retired) if spawner]

    def drop(self, spawner: Spawner) -> None:
        """Put nothing in the place of one that died."""
        with self._lock:
            self._slots = [None if slot is spawner else slot for slot in self._slots]
        spawner.close()

    def disown(self) -> None:
        """Forget them all, in a fork of the process that started them."""
        self._slots, self._retired = [None] * self.count, []

    def pids(self) -> list[int]:
        """Process ids of those that run."""
        return [spawner.pid for spawner in self.alive()]

    def close(self) -> None:
        """End them all. Idempotent; others can be started afterwards."""
        with self._lock:
            spawners, self._slots, self._retired = self.alive(), [None] * self.count, []
        for spawner in spawners:
            spawner.close()


def _start(program: Path, sock: int, lock: int, cgroups: Sequence[Path]) -> subprocess.Popen[bytes]:
    """No path of the machine in its name or environment: sandboxes see them as those of their pid 1."""
    return subprocess.Popen(
        ["cwm-env", str(sock), *map(str, cgroups)],
        executable=program,
        pass_fds=[sock, lock],
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C in the terminal is for us to handle
        env={},
        cwd="/",
    )
