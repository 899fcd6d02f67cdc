"""What a command printed, kept in bounded memory."""

from __future__ import annotations


class Output:
    """Keeps the head and the tail of a stream, and counts what lay between."""

    def __init__(self, limit: int) -> None:
        """``limit``: bytes that are kept in all."""
        self._limit = limit
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._total = 0

    def add(self, data: bytes) -> None:
        """Take in the next bytes."""
        self._total += len(data)
        room = self._half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        # Trimmed now and then, not on every read: cutting the front moves all that follows.
        if len(self._tail) > 4 * self._limit:
            del self._tail[: -self._limit]

    def text(self) -> tuple[str, int]:
        """The text, its middle replaced by a line that says how much is missing, and that number of bytes."""
        if self._total <= self._limit:
            return _decoded(bytes(self._head + self._tail)), 0
        head = _without_cut_end(bytes(self._head))
        tail = bytes(self._tail[len(self._tail) - (self._limit - self._half) :])
        tail = _without_cut_start(tail)
        missing = self._total - len(head) - len(tail)
        return f"{_decoded(head)}\n[... {missing} bytes left out ...]\n{_decoded(tail)}", missing


def _decoded(data: bytes) -> str:
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
