"""The local ends of one process's streams, and what waits to be written to them."""

from __future__ import annotations

import os
import select
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Literal

from cwm_env.sandbox.docker.pump import Pump

WINDOW = 256 << 10
"""Bytes that one side may send on a stream before the other says that it has passed them on (``container.h``)."""
PIECE = 32 << 10
"""Bytes that a frame may hold."""
GRANT = WINDOW // 4
"""After so many bytes the sender learns that they were passed on."""
_MOST_WAITING = 2 * WINDOW + 16
_STATUS = struct.Struct("=i")
_COUNT = struct.Struct("!I")

Send = Callable[[bytes, bytes], None]
"""Send a frame of this process: kind, payload."""
Target = Literal["out", "err", "exited"]


class Streams:
    """Made for one process before it is asked for. All methods are called under the pump's lock."""

    def __init__(self, pump: Pump, send: Send, on_gone: Callable[[], None]) -> None:
        """
        Args:
            on_gone: called when the process's owner has closed the descriptors.
        """
        self._pump, self._send, self._on_gone = pump, send, on_gone
        # A socket: the owner's write must fail with BrokenPipeError, and never with a signal.
        ours, theirs = socket.socketpair()
        self._input: socket.socket | None = ours
        self._input_credit = WINDOW
        ends: dict[Target, tuple[int, int]] = {name: os.pipe() for name in ("out", "err", "exited")}
        self._ends: dict[Target, int] = {name: pair[1] for name, pair in ends.items()}
        self.descriptors = (theirs.detach(), *(pair[0] for pair in ends.values()))
        """For the owner: standard input, output, error, and what becomes readable at the end."""
        # One queue for all, so that nothing overtakes what was sent before it.
        self._queue: deque[tuple[Target, bytes | None]] = deque()
        self._waiting = 0  # bytes in the queue, and ends, which count as one
        self._passed: dict[Target, int] = {"out": 0, "err": 0}
        self._blocked: int | None = None
        ours.setblocking(False)
        for end in self._ends.values():
            os.set_blocking(end, False)
        pump.watch(ours.fileno(), select.EPOLLIN, self._read_input)
        pump.watch(self._ends["exited"], 0, self._owner_left)

    def take(self, target: Target, data: bytes | None) -> None:
        """Write to a stream after all that came before; None ends it.

        Raises:
            ValueError: more than the windows of output and error together was sent.
        """
        self._waiting += len(data or b"-")
        if self._waiting > _MOST_WAITING:
            raise ValueError("output beyond the window")
        self._queue.append((target, data))
        if self._blocked is None:
            self._flush()

    def take_status(self, code: int) -> None:
        """The process has ended."""
        self.take("exited", _STATUS.pack(code))

    def add_credit(self, payload: bytes) -> None:
        """The process has read so much of its input."""
        before, self._input_credit = self._input_credit, self._input_credit + _COUNT.unpack(payload)[0]
        if before <= 0 and self._input is not None:
            self._pump.watch(self._input.fileno(), select.EPOLLIN, self._read_input)

    def end_input(self) -> None:
        """Nobody reads the input any more: the owner's next write fails."""
        if self._input is not None:
            self._pump.forget(self._input.fileno())
            self._input.close()
            self._input = None

    def close(self) -> None:
        """Close our ends, so that the owner reads end of file everywhere. Idempotent."""
        self.end_input()
        self._queue.clear()
        self._waiting = 0
        for name in list(self._ends):
            self._end(name)

    def close_theirs(self) -> None:
        """Close what the owner would have got, where the process did not start."""
        for descriptor in self.descriptors:
            os.close(descriptor)

    def _flush(self) -> None:
        self._unblock()
        while self._queue:
            target, data = self._queue[0]
            end = self._ends.get(target)
            if data is None:
                self._end(target)
            elif end is not None and not self._write(target, end, data):
                return
            self._waiting -= len(self._queue.popleft()[1] or b"-")

    def _write(self, target: Target, end: int, data: bytes) -> bool:
        """False where the owner has to read first."""
        try:
            wrote = os.write(end, data)
        except BlockingIOError:
            wrote = 0
        except BrokenPipeError:  # it has closed this one: the process is to see that, but goes on
            self._end(target)
            return True
        if target != "exited":
            self._grant(target, wrote)
        if wrote == len(data):
            return True
        self._queue[0] = (target, data[wrote:])
        self._waiting -= wrote
        self._blocked = end
        self._pump.watch(end, select.EPOLLOUT, lambda _: self._flush())
        return False

    def _unblock(self) -> None:
        if self._blocked is not None:
            self._pump.forget(self._blocked)
            self._blocked = None

    def _grant(self, target: Target, count: int) -> None:
        passed = self._passed[target] + count
        if passed >= GRANT:
            self._send(b"c" if target == "out" else b"C", _COUNT.pack(passed))
            passed = 0
        self._passed[target] = passed

    def _end(self, target: Target) -> None:
        end = self._ends.pop(target, None)
        if end is not None:
            if self._blocked == end:
                self._blocked = None
            self._pump.forget(end)
            os.close(end)

    def _read_input(self, events: int) -> None:
        if self._input is None:
            return
        try:
            data = self._input.recv(min(PIECE, self._input_credit))
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._send(b"D", b"")
            self.end_input()
            return
        self._input_credit -= len(data)
        if self._input_credit <= 0:  # not even its end may be seen before what is ahead of it
            self._pump.forget(self._input.fileno())
        self._send(b"d", data)

    def _owner_left(self, events: int) -> None:
        self.close()
        self._on_gone()
