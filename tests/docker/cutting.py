"""A proxy before a server on this machine that cuts every connection after so many bytes of answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class Cutting:
    """Counts what it let pass."""

    def __init__(self, target: str, after: int) -> None:
        """
        Args:
            target: HOST:PORT of the server.
            after: bytes of each connection's answers that come through.
        """
        host, _, port = target.partition(":")
        self._target, self._after = (host, int(port)), after
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self._listening.getsockname())
        self.passed = self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(self._target)
                threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        left = self._after
        with contextlib.suppress(OSError):
            while left and (data := server.recv(min(left, 65536))):
                client.sendall(data)
                left -= len(data)
                self.passed += len(data)
        self.cuts += not left
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextlib.contextmanager
def cutting(target: str, after: int) -> Iterator[Cutting]:
    """The proxy, until the end of the block."""
    made = Cutting(target, after)
    try:
        yield made
    finally:
        made.close()
