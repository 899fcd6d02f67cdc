"""The client's side of one container's stream: requests, answers, and the streams of all its processes.

The other side is pid 1 of the container, our native program (``namespaces/native/container.c``; ``frames.c`` says what
a frame is). The stream is the container's standard input and output as the engine's attach call gives them, so this
works with an engine on another machine, and with whatever runtime lies below.

Nothing that comes from there is believed: under gVisor the container's root can write to pid 1's streams. What pid 1
would not send, or more of it than it may, ends the container, and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import socket
import ssl
import struct
from collections.abc import Callable

from cwm_env.errors import SandboxError
from cwm_env.sandbox.docker.pump import Pump
from cwm_env.sandbox.docker.streams import PIECE, Streams
from cwm_env.sandbox.docker.tunnel import Tunnel

_FRAME = struct.Struct("!cxHI")
_ENGINE = struct.Struct("!BxxxI")  # what the engine puts before each piece: 1 is standard output, 2 error
_CODE = struct.Struct("!i")
_LENGTH = struct.Struct("!I")
_READ = 1 << 18
_SAID = 4096
_KINDS = (b"d", b"e", b"D", b"E", b"x", b"c", b"k")
_LONGEST_ANSWER = 1 << 20
_FIRST_TUNNEL, _MOST_TUNNELS = 1 << 31, 512  # pid 1 numbers connections from the first, and has at most 128 at once
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

Answer = dict[str, str]


class Channel:
    """Owns the socket. Thread-safe, but one request at a time."""

    def __init__(self, pump: Pump, attached: tuple[socket.socket, Callable[[], None]]) -> None:
        """``attached``: what ``Engine.attach`` returned."""
        self._pump = pump
        self._sock, self._hang_up = attached
        self._out = bytearray()
        self._raw, self._frames, self._text = bytearray(), bytearray(), bytearray()
        self._processes: dict[int, Streams] = {}
        self._tunnels: dict[int, Tunnel] = {}
        self.on_connection: Callable[[socket.socket], None] | None = None
        """Takes over a connection that a program in the container made to the proxy; called in the pump's thread. None
        where no name is allowed."""
        self._count = 0
        self._due = 1  # answers that pid 1 owes: the first says that it is ready
        self._answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        self.said = b""
        """What pid 1 wrote to its standard error: why it could not begin."""
        self.dead = False
        self._sock.setblocking(False)
        pump.watch(self._sock.fileno(), select.EPOLLIN, self._ready)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        with self._pump.lock:
            if self.dead:
                return
            if not self._out:
                data = data[self._send_some(data) :]
            if data:
                if not self._out:
                    self._pump.change(self._sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
                self._out += data

    def ask(self, request: bytes, timeout: float) -> Answer:
        """Send an encoded request, and wait for its answer, at most ``timeout`` seconds.

        Raises:
            EOFError: the container is gone.
            TimeoutError: no answer came; the channel can no longer be used.
        """
        with self._pump.lock:
            self._due += 1
        for at in range(0, len(request), PIECE):
            self._send_frame(0, b"d", request[at : at + PIECE])
        return self.answer(timeout)

    def answer(self, timeout: float) -> Answer:
        """Wait for one answer; the errors are those of ``ask``."""
        if self.dead and self._answers.empty():
            raise EOFError("the container is gone")
        try:
            answer = self._answers.get(timeout=timeout)
        except queue.Empty:
            self.close()
            raise TimeoutError("the container does not answer") from None
        if answer is None:
            raise EOFError("the container is gone")
        return answer

    def open_streams(self) -> tuple[int, Streams]:
        """A number for a process that is about to be asked for, and its streams."""
        with self._pump.lock:
            if self.dead:
                raise EOFError("the container is gone")
            self._count += 1
            number = self._count

            def send(kind: bytes, data: bytes) -> None:
                self._send_frame(number, kind, data)

            def gone() -> None:
                self._processes.pop(number, None)
                send(b"k", b"")

            streams = self._processes[number] = Streams(self._pump, send, gone)
            return number, streams

    def drop_streams(self, number: int) -> None:
        """The process did not start."""
        with self._pump.lock:
            streams = self._processes.pop(number, None)
            if streams is not None:
                streams.close()
                streams.close_theirs()

    def close(self) -> None:
        """Hang up: pid 1 then ends, and everything in the container with it. Idempotent."""
        with self._pump.lock:
            if self.dead:
                return
            self.dead = True
            self._pump.forget(self._sock.fileno())
            with contextlib.suppress(OSError):  # where the other side was faster
                self._sock.shutdown(socket.SHUT_RDWR)
            self._hang_up()
            for streams in self._processes.values():
                streams.close()
            for tunnel in self._tunnels.values():
                tunnel.close()
            self._processes.clear()
            self._tunnels.clear()
            self._answers.put(None)

    def _send_frame(self, number: int, kind: bytes, data: bytes) -> None:
        self.send(_FRAME.pack(kind, len(data), number) + data)

    def _send_some(self, data: bytes | bytearray) -> int:
        try:
            return self._sock.send(data)
        except _NOT_NOW:
            return 0
        except OSError:
            self.close()
            return len(data)

    def _ready(self, events: int) -> None:
        if events & select.EPOLLOUT and self._out:
            del self._out[: self._send_some(self._out)]
            if not self._out and not self.dead:
                self._pump.change(self._sock.fileno(), select.EPOLLIN)
        if not self.dead and events & ~select.EPOLLOUT:
            self._receive()

    def _receive(self) -> None:
        while not self.dead:
            try:
                data = self._sock.recv(_READ)
            except _NOT_NOW:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                return
            self._raw += data
            try:
                self._unwrap()
                self._deliver()
            except (ValueError, struct.error) as error:
                self.said = f"pid 1 broke the protocol: {error}".encode()
                self.close()
            if not isinstance(self._sock, ssl.SSLSocket):  # the others have their turn before there is more
                return

    def _unwrap(self) -> None:
        """Take the engine's headers off."""
        raw, at = self._raw, 0
        while len(raw) - at >= _ENGINE.size:
            stream, size = _ENGINE.unpack_from(raw, at)
            start = at + _ENGINE.size
            if len(raw) - start < size:
                break
            if stream == 2:
                self.said = (self.said + raw[start : start + size])[-_SAID:]
            else:
                self._frames += raw[start : start + size]
            at = start + size
        del raw[:at]

    def _deliver(self) -> None:
        frames, at = self._frames, 0
        while len(frames) - at >= _FRAME.size:
            kind, size, number = _FRAME.unpack_from(frames, at)
            start = at + _FRAME.size
            if len(frames) - start < size:
                break
            payload = bytes(frames[start : start + size])
            at = start + size
            if number == 0:
                self._take_answer(payload)
            elif (streams := self._processes.get(number)) is not None:
                _dispatch(streams, kind, payload)
            elif kind == b"o":
                self._open_tunnel(number)
            elif (tunnel := self._tunnels.get(number)) is not None:
                self._pass_on(number, tunnel, kind, payload)
            elif kind not in _KINDS or self._count < number < _FIRST_TUNNEL:
                raise ValueError("a frame that cannot be")
        del frames[:at]

    def _open_tunnel(self, number: int) -> None:
        if self.on_connection is None or number < _FIRST_TUNNEL or len(self._tunnels) >= _MOST_TUNNELS:
            raise ValueError("a connection that cannot be")

        def send(kind: bytes, data: bytes) -> None:
            self._send_frame(number, kind, data)

        def gone() -> None:
            if self._tunnels.pop(number, None) is not None:
                send(b"k", b"")

        tunnel = self._tunnels[number] = Tunnel(self._pump, send, gone)
        self.on_connection(tunnel.theirs)

    def _pass_on(self, number: int, tunnel: Tunnel, kind: bytes, payload: bytes) -> None:
        if kind == b"k":
            self._tunnels.pop(number)
            tunnel.close()
        elif kind == b"c":
            tunnel.add_credit(payload)
        elif kind in (b"d", b"D"):
            tunnel.take(payload if kind == b"d" else None)

    def _take_answer(self, payload: bytes) -> None:
        self._text += payload
        while len(self._text) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._text)
            if length > _LONGEST_ANSWER:
                raise ValueError("an answer that is too long")
            end = _LENGTH.size + length
            if len(self._text) < end:
                return
            rows = bytes(self._text[_LENGTH.size : end]).split(b"\0")
            del self._text[:end]
            if not self._due:
                raise ValueError("an answer to nothing")
            self._due -= 1
            pairs = (os.fsdecode(row).partition("=") for row in rows if row)
            self._answers.put({name: value for name, _, value in pairs})


def _dispatch(streams: Streams, kind: bytes, payload: bytes) -> None:
    if kind == b"d":
        streams.take("out", payload)
    elif kind == b"e":
        streams.take("err", payload)
    elif kind == b"D":
        streams.take("out", None)
    elif kind == b"E":
        streams.take("err", None)
    elif kind == b"x":
        streams.take_status(_CODE.unpack(payload)[0])
    elif kind == b"c":
        streams.add_credit(payload)
    elif kind == b"k":
        streams.end_input()


def hung_up(error: BaseException, name: str, said: bytes) -> SandboxError:
    """The error for a container that is gone, with what it said last."""
    words = said.decode("utf-8", "replace").strip()
    return SandboxError(f"sandbox {name} died{f' ({words})' if words else ''}: {error}")
