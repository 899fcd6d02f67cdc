"""The local end of one connection that a program in a container made to the proxy."""

from __future__ import annotations

import select
import socket
import struct
from collections import deque
from collections.abc import Callable

from cwm_env.sandbox.docker.pump import Pump
from cwm_env.sandbox.docker.streams import GRANT, PIECE, WINDOW, Send

_COUNT = struct.Struct("!I")


class Tunnel:
    """Moves bytes between the container's connection and a local socket. Called under the pump's lock."""

    def __init__(self, pump: Pump, send: Send, on_gone: Callable[[], None]) -> None:
        """
        Args:
            send: sends a frame of this connection.
            on_gone: called when both directions have ended, or one end is broken.
        """
        self._pump, self._send, self._on_gone = pump, send, on_gone
        self._socket, self.theirs = socket.socketpair()
        self._socket.setblocking(False)
        self._queue: deque[bytes | None] = deque()  # for the proxy; None is the end
        self._credit, self._waiting, self._passed, self._events = WINDOW, 0, 0, 0
        self._reads, self._writes, self._open = True, True, True
        self._wait()

    def take(self, data: bytes | None) -> None:
        """Pass on what the program sent; None where it sends no more.

        Raises:
            ValueError: more than the window was sent.
        """
        self._waiting += len(data or b"-")
        if self._waiting > WINDOW + 1:
            raise ValueError("a connection's data beyond the window")
        self._queue.append(data)
        self._flush()

    def add_credit(self, payload: bytes) -> None:
        """The program has read so much."""
        self._credit += _COUNT.unpack(payload)[0]
        self._wait()

    def close(self) -> None:
        """Close our end. Idempotent."""
        if self._open:
            self._open = False
            if self._events:
                self._pump.forget(self._socket.fileno())
            self._socket.close()

    def _wait(self) -> None:
        """Watch for what can be done now; a socket that waits for nothing would report its broken end for ever."""
        if not self._open:
            return
        reading = select.EPOLLIN if self._reads and self._credit > 0 else 0
        events = reading | (select.EPOLLOUT if self._queue else 0)
        if events == self._events:
            return
        number = self._socket.fileno()
        if self._events and events:
            self._pump.change(number, events)
        elif events:
            self._pump.watch(number, events, self._ready)
        else:
            self._pump.forget(number)
        self._events = events

    def _ready(self, events: int) -> None:
        if self._queue and events & ~select.EPOLLIN:
            self._flush()
        if self._open and self._reads and self._credit > 0 and events & ~select.EPOLLOUT:
            self._read()

    def _read(self) -> None:
        try:
            data = self._socket.recv(min(PIECE, self._credit))
        except BlockingIOError:
            return
        except OSError:
            self._end()
            return
        if data:
            self._credit -= len(data)
            self._send(b"d", data)
        else:
            self._reads = False
            self._send(b"D", b"")
            if not self._writes:
                self._end()
        self._wait()

    def _flush(self) -> None:
        try:
            while self._open and self._queue:
                data = self._queue[0]
                if data is None:
                    self._queue.clear()
                    self._writes = False
                    self._socket.shutdown(socket.SHUT_WR)
                    if not self._reads:
                        self._end()
                    break
                wrote = self._socket.send(data)
                self._waiting -= wrote
                self._grant(wrote)
                if wrote < len(data):
                    self._queue[0] = data[wrote:]
                else:
                    self._queue.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._end()
        self._wait()

    def _grant(self, count: int) -> None:
        self._passed += count
        if self._passed >= GRANT:
            self._send(b"c", _COUNT.pack(self._passed))
            self._passed = 0

    def _end(self) -> None:
        self.close()
        self._on_gone()
