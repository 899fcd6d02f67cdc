"""Holds the descriptors of live episodes for a server that may be killed: a process of its own, which outlives it.

Run by its path, with the standard library alone, so that it takes little memory. It understands nothing of what it
holds: a name, some bytes, descriptors. A server speaks to it over a socket of messages: ``K`` keep (name, NUL, bytes;
descriptors beside them), ``D`` drop (name), ``T`` tell all that is kept, ``E`` end. What is kept is told in messages
like those of ``K``, and a last one that is ``.``.

When the server's end closes, it waits for the next one, who comes in by the socket in the state directory. Where none
comes in time, it ends, and the kernel closes all that it held: each sandbox sees that, and ends.
"""

import contextlib
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time

LARGEST = 128 << 10
"""Bytes of a message."""
MOST_DESCRIPTORS = 16
"""Beside a message."""


class Keeper:
    """What is held, and for whom."""

    def __init__(self, door: socket.socket, server: socket.socket, patience: float) -> None:
        """
        Args:
            door: where the next server comes in.
            server: the one that is there.
            patience: seconds to wait for a next one.
        """
        self._door, self._patience = door, patience
        self._server: socket.socket | None = server
        self._deadline = 0.0
        self._kept: dict[bytes, tuple[bytes, list[int]]] = {}

    def serve(self) -> None:
        """Until it is told to end, or nobody comes."""
        while True:
            sockets = [self._door] + ([self._server] if self._server else [])
            poller = select.poll()
            for sock in sockets:
                poller.register(sock, select.POLLIN)
            left = None if self._server else max(0.0, self._deadline - time.monotonic()) * 1000
            ready = {descriptor for descriptor, _ in poller.poll(left)}
            if self._server and self._server.fileno() in ready and not self._hear(self._server):
                return
            if self._door.fileno() in ready:
                self._let_in()
            if self._server is None and (not self._kept or time.monotonic() >= self._deadline):
                self._say("no server came back: all that was kept ends", kept=len(self._kept))
                return

    def _let_in(self) -> None:
        visitor, _ = self._door.accept()
        _, uid, _ = struct.unpack("3i", visitor.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid != os.geteuid():
            visitor.close()
            return
        if self._server is not None:  # a lock lets one server at a time in: the other one is about to be gone
            self._server.close()
        self._server = visitor

    def _hear(self, server: socket.socket) -> bool:
        """Take in a message; False where it was the last."""
        try:
            message, descriptors, flags, _ = socket.recv_fds(server, LARGEST, MOST_DESCRIPTORS)
        except OSError:
            message, descriptors, flags = b"", [], 0
        name, _, about = message[1:].partition(b"\0")
        verb = message[:1]
        if verb == b"K":
            self._drop(name)
            if flags & socket.MSG_CTRUNC:
                _close(descriptors)
                self._say("there is no room for more descriptors: an episode is not kept", kept=len(self._kept))
            else:
                self._kept[name] = about, descriptors
        elif verb == b"D":
            self._drop(name)
        elif verb == b"T":
            self._tell(server)
        elif verb == b"E":
            return False
        else:
            server.close()
            self._server, self._deadline = None, time.monotonic() + self._patience
            if self._kept:
                self._say("the server is gone: its episodes are kept for the next", kept=len(self._kept))
        return True

    def _tell(self, server: socket.socket) -> None:
        try:
            for name, (about, descriptors) in self._kept.items():
                socket.send_fds(server, [b"K" + name + b"\0" + about], descriptors)
            server.send(b".")
        except OSError:
            pass  # it was killed as well; that is seen at the next look

    def _drop(self, name: bytes) -> None:
        _, descriptors = self._kept.pop(name, (b"", []))
        _close(descriptors)

    def _say(self, message: str, **more: int) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        line = {"time": now, "level": "warning", "logger": "cwm_env.server.keeper", "message": message, **more}
        with contextlib.suppress(OSError):  # whoever read it may be gone
            os.write(2, json.dumps(line).encode() + b"\n")


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def main(door: str, server: str, patience: str) -> None:
    """Arguments: descriptors of the two sockets, and seconds."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    Keeper(socket.socket(fileno=int(door)), socket.socket(fileno=int(server)), float(patience)).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
