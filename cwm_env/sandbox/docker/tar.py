"""Archives as streams of pieces: reading them in bounded memory, and making them of an image's layers."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator


class PieceReader(io.RawIOBase):
    """A file to read over pieces that come one by one."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        super().__init__()
        self._pieces: Iterator[bytes] = iter(pieces)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """Fill ``buffer`` as far as the present piece goes; 0 at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def read(self, size: int = -1) -> bytes:
        """Exactly ``size`` bytes unless the stream ends first; all of them where it is negative."""
        parts, left = [], size
        while left:
            part = super().read(left if size >= 0 else 1 << 20)
            if not part:
                break
            parts.append(part)
            left -= len(part)
        return b"".join(parts)


def name_of(name: str) -> bytes:
    """The bytes of a name in an archive, without what says only "here"."""
    parts = name.encode("utf-8", "surrogateescape").split(b"/")
    return b"/".join(part for part in parts if part not in (b"", b"."))
