"""The server's side of its keeper (``keeper.py``): starts it, or finds the one that a killed server left."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cwm_env.sandbox.handover import Handover
from cwm_env.server import keeper

_log = logging.getLogger("cwm_env.server")
_PROGRAM = Path(keeper.__file__)
_CLOEXEC = socket.MSG_CMSG_CLOEXEC
_ANSWER_SECONDS = 10.0
_END_SECONDS = 10.0
_APART_SECONDS = 2.0  # of one keeper's start from the next one's


class Keeping:
    """What the keeper of one state directory is told. Never raises once it is made: without a keeper, a killed
    server's episodes are lost, and nothing else changes."""

    def __init__(self, home: Path, patience: float, failed: Callable[[], None]) -> None:
        """
        Args:
            home: a directory for the keeper's socket, made if it is not there; this user's alone.
            patience: seconds that a keeper waits for the next server; 0 for no keeper.
            failed: called each time that one cannot be spoken to any more.
        """
        self._home, self._patience, self._failed = home, patience, failed
        self._wanted, self._started = patience > 0, time.monotonic()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.kept: dict[str, Handover] = {}
        """What an earlier server left, by name."""
        try:
            home.mkdir(mode=0o700, exist_ok=True)
            home.chmod(0o700)
            self._socket, self.kept = _find(home)
            if patience <= 0:
                self.end()
            elif self._socket is None:
                self._start()
        except OSError as error:
            self._lose(error)

    @property
    def alive(self) -> bool:
        """Whether there is one, as far as is known."""
        return self._socket is not None

    def to_replace(self) -> bool:
        """Whether it has died, and it is time for another one."""
        if self._socket is not None and _has_ended(self._socket):
            self._lose(ConnectionResetError("it has ended"))
        return self._wanted and self._socket is None and time.monotonic() - self._started > _APART_SECONDS

    def replace(self) -> None:
        """Start another one, which holds nothing yet. Blocks for a moment."""
        try:
            self._start()
        except OSError as error:
            self._lose(error)

    def keep(self, name: str, handover: Handover) -> None:
        """Hold this, in place of what had the name before."""
        about = json.dumps(dict(handover.about), separators=(",", ":")).encode()
        self._send(b"K" + name.encode() + b"\0" + about, list(handover.descriptors))

    def drop(self, name: str) -> None:
        """Hold it no longer; nothing if it is not held."""
        self._send(b"D" + name.encode())

    def end(self) -> None:
        """End the keeper, and with it all that it holds and we do not. Idempotent."""
        self._wanted = False
        self._send(b"E")
        if self._socket is not None:
            with contextlib.suppress(OSError), _named(self._home) as path:
                path.unlink()
            with contextlib.suppress(OSError):
                self._socket.recv(1)  # nothing but its end comes
            self._socket.close()
            self._socket = None
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)

    def _start(self) -> None:
        self._started = time.monotonic()
        if self._process is not None:
            self._process.poll()  # which died; nothing of it is to stay
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
            with _named(self._home) as path:
                path.unlink(missing_ok=True)
                door.bind(str(path))
            door.listen(1)
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", _PROGRAM, str(door.fileno()), str(theirs.fileno()), str(self._patience)],
                pass_fds=[door.fileno(), theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # what ends our process group must not end it
                env={},
                cwd="/",
            )
        ours.settimeout(_ANSWER_SECONDS)
        self._socket = ours

    def _send(self, message: bytes, descriptors: list[int] | None = None) -> None:
        if self._socket is None:
            return
        try:
            if len(message) > keeper.LARGEST:
                raise OSError(f"{len(message)} bytes are too many to keep")
            socket.send_fds(self._socket, [message], descriptors or [])
        except OSError as error:
            if error.errno != errno.EBADF:  # else what should be held is dead itself
                self._lose(error)

    def _lose(self, error: OSError) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        _log.error("the keeper is gone: until there is another, a kill loses the live episodes (%s)", error)
        self._failed()


def _has_ended(sock: socket.socket) -> bool:
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    return bool(poller.poll(0))  # nothing but its end comes


@contextlib.contextmanager
def _named(home: Path) -> Iterator[Path]:
    """A path to the socket of any length of directory: what a socket's address holds is short."""
    directory = os.open(home, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{directory}/keeper")
    finally:
        os.close(directory)


def _find(home: Path) -> tuple[socket.socket | None, dict[str, Handover]]:
    """The keeper that runs, and what it keeps; None where there is none."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    kept: dict[str, Handover] = {}
    try:
        sock.settimeout(_ANSWER_SECONDS)
        with _named(home) as path:
            sock.connect(str(path))
        _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid != os.geteuid():
            raise PermissionError(f"the keeper's socket in {home} is another user's")
        sock.send(b"T")
        while True:
            message, descriptors, flags, _ = socket.recv_fds(sock, keeper.LARGEST, keeper.MOST_DESCRIPTORS, _CLOEXEC)
            if message == b".":
                return sock, kept
            if not message:
                raise ConnectionResetError("the keeper ended")
            name, _, about = message[1:].partition(b"\0")
            if flags & socket.MSG_CTRUNC:
                raise OSError("this process may not hold so many descriptors: raise its limit (ulimit -n)")
            kept[name.decode()] = Handover(json.loads(about), descriptors)
    except (FileNotFoundError, ConnectionError):
        close_all(kept)
        sock.close()
        return None, {}
    except OSError:
        close_all(kept)
        sock.close()
        raise


def close_all(kept: dict[str, Handover]) -> None:
    """Close the descriptors of what was kept and will not be taken over."""
    for handover in kept.values():
        for descriptor in handover.descriptors:
            os.close(descriptor)
