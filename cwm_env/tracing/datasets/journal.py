"""A file that grows piece by piece, and knows after a stop which pieces are whole.

Beside the file lies a state while it is made: one line for each finished piece of work, with the size that the file
then had. What comes after the last of them is cut off when the work goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cwm_env.tracing.errors import TraceError


class Journal:
    """Appends to a file, one finished piece of work at a time."""

    def __init__(self, path: Path, state: Path) -> None:
        """Begin the file, or go on with it where its ``state`` says that it was stopped.

        Raises:
            TraceError: the file is there and finished: it is never written over.
        """
        self._path, self._state = path, state
        if not state.exists() and path.exists() and path.stat().st_size:
            raise TraceError(f"{path} is finished already: remove it, or write to another file")
        self.entries: list[dict[str, Any]] = []
        """What was noted of each finished piece."""
        for line in state.read_text().splitlines() if state.exists() else ():
            try:
                self.entries.append(json.loads(line))
            except ValueError:  # the stop came in the middle of this line
                break
        state.write_text("".join(json.dumps(entry) + "\n" for entry in self.entries))
        path.touch()
        with path.open("r+b") as file:
            file.truncate(self.entries[-1]["size"] if self.entries else 0)

    def add(self, data: bytes, note: Mapping[str, Any]) -> None:
        """Write what one piece gave, and that it is finished."""
        with self._path.open("ab") as file:
            file.write(data)
            size = file.tell()
        with self._state.open("a") as state:
            state.write(json.dumps({**note, "size": size}) + "\n")

    def finish(self) -> None:
        """All pieces are done: leave the file alone in its place."""
        self._state.unlink()
