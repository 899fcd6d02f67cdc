"""What a terminal shows: pyte draws it."""

from __future__ import annotations

import pyte

_DECCKM = 1 << 5  # pyte keeps private modes shifted by five


class Screen:
    """The visible lines of a terminal, and what a program has told it."""

    def __init__(self, rows: int, columns: int) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)

    def feed(self, data: bytes) -> None:
        """Draw what was written."""
        try:
            self._stream.feed(data)
        except Exception:
            # Sequences that pyte does not know may make it raise; the rest of the screen is still worth seeing.
            self._stream = pyte.ByteStream(self._screen)

    def resize(self, rows: int, columns: int) -> None:
        """Change its size."""
        self._screen.resize(rows, columns)

    def text(self) -> str:
        """The lines, without the blanks at their ends and the empty lines below."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip("\n")

    @property
    def cursor(self) -> tuple[int, int]:
        """Row and column, from 0."""
        return self._screen.cursor.y, self._screen.cursor.x

    @property
    def cursor_application(self) -> bool:
        """Whether the program has asked for the other way of sending cursor keys (DECCKM)."""
        return _DECCKM in self._screen.mode
