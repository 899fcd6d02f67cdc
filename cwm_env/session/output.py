"""What a command printed, kept in bounded memory."""

from __future__ import annotations

import tempfile
from collections import deque
from typing import IO

_IN_MEMORY = 1 << 20


class Output:
    """Keeps the head and the tail of a stream, counts what lay between, and may set the beginning aside whole."""

    __slots__ = ("_chunks", "_half", "_head", "_limit", "_size", "_spool", "_spool_limit", "_spool_room", "total")

    def __init__(self, limit: int, spool_limit: int = 0) -> None:
        """Keep ``limit`` bytes in all; once more came, keep also the first ``spool_limit`` bytes, for ``spooled``."""
        self._limit = limit
        self._half = limit // 2
        self._chunks: list[bytes] | deque[bytes] = []  # a list of all, until it exceeds the limit; then of the tail
        self._size = 0  # of the chunks
        self._head = b""
        self.total = 0
        self._spool_limit = spool_limit
        self._spool: IO[bytes] | None = None
        self._spool_room = 0

    def add(self, data: bytes) -> None:
        """Take in the next bytes."""
        size = len(data)
        self._chunks.append(data)
        self._size += size
        self.total += size
        if self.total > self._limit:
            self._overflow(data)

    def text(self) -> tuple[str, int]:
        """The text, its middle replaced by a line that says how much is missing, and that number of bytes."""
        if not self.total:
            return "", 0
        if self.total <= self._limit:
            return decoded(b"".join(self._chunks)), 0
        head = _without_cut_end(self._head)
        tail = b"".join(self._chunks)
        tail = _without_cut_start(tail[len(tail) - (self._limit - self._half) :])
        missing = self.total - len(head) - len(tail)
        return f"{decoded(head)}\n[... {missing} bytes left out ...]\n{decoded(tail)}", missing

    @property
    def spooled(self) -> IO[bytes] | None:
        """The beginning, whole, in a file without a name that closes with this object; None if all was kept."""
        return self._spool

    def close(self) -> None:
        """Let go of what was set aside. Idempotent."""
        if self._spool is not None:
            self._spool.close()

    def _overflow(self, data: bytes) -> None:
        """Bring what is held back to its bounds, after ``data`` has come."""
        if isinstance(self._chunks, list):
            whole = b"".join(self._chunks)
            self._open_spool()
            self._set_aside(whole)
            self._head, rest = whole[: self._half], whole[self._half :]
            self._chunks, self._size = deque((rest,)), len(rest)
        elif self._spool_room:
            self._set_aside(data)
        # Whole chunks are dropped from the front, so that no byte of a flood is ever moved.
        keep = self._limit - self._half
        while self._size - len(self._chunks[0]) >= keep:
            self._size -= len(self._chunks.popleft())

    def _open_spool(self) -> None:
        if self._spool_limit:
            self._spool = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed by `close`
            self._spool_room = self._spool_limit

    def _set_aside(self, data: bytes) -> None:
        if self._spool is not None and self._spool_room:
            part = data[: self._spool_room]
            self._spool_room -= len(part)
            self._spool.write(part)


def decoded(data: bytes) -> str:
    """Valid text: bytes that are not UTF-8 become U+FFFD, and NUL, which no text file holds, is left out."""
    return data.decode("utf-8", "replace").replace("\0", "")


def _without_cut_end(data: bytes) -> bytes:
    """Without the first bytes of a character whose rest is missing."""
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte & 0xC0 == 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data[:-back] if back < length else data
        if byte < 0x80:
            break
    return data


def _without_cut_start(data: bytes) -> bytes:
    """Without the last bytes of a character whose start is missing."""
    for index in range(min(3, len(data))):
        if data[index] & 0xC0 != 0x80:
            return data[index:]
    return data[min(3, len(data)) :]
