"""``Trace``: a recorded run in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from cwm_env.tracing.format import Frame, Reader, Resolver, write

Outcome = Literal["returned", "raised", "incomplete"]


@dataclass(frozen=True)
class Trace:
    """What one thread did in its entry's scope, frame by frame.

    Two traces are equal if their texts are. What is not part of the text (output, line numbers) does not count.
    """

    context: str
    """The source code; its entry line carries ``# << START_OF_TRACE``."""
    frames: tuple[Frame, ...]
    complete: bool = True
    """Whether the entry was left. False where a limit ended the recording."""
    stdout: str = field(default="", compare=False)
    stderr: str = field(default="", compare=False)
    exit_code: int | None = field(default=None, compare=False)
    """Of the traced process; None where it ran in this one."""
    others: tuple[Trace, ...] = field(default=(), compare=False)
    """What the other threads did that it started."""
    metadata: Mapping[str, object] = field(default_factory=dict, compare=False)

    def to_cwm(self) -> str:
        """The trace in the Code World Model's format."""
        return "".join(write(self.context, self.frames, self.complete))

    @classmethod
    def from_cwm(cls, text: str | Iterable[str]) -> Trace:
        """Read a trace.

        Raises:
            FormatError: the text is not one; says where.
        """
        reader = Reader([text] if isinstance(text, str) else text)
        frames = tuple(reader)
        return cls(reader.context, frames, reader.complete)

    @cached_property
    def resolved(self) -> tuple[dict[str, str], ...]:
        """Every variable at every frame, ``..`` resolved."""
        resolver = Resolver()
        return tuple(resolver.feed(frame) for frame in self.frames)

    @property
    def outcome(self) -> Outcome:
        """How the entry was left."""
        if not self.complete or not self.frames:
            return "incomplete"
        return "raised" if self._raised is not None else "returned"

    @property
    def value(self) -> str | None:
        """The ``repr`` of what the entry returned, or of the exception that left it."""
        if self.outcome == "incomplete":
            return None
        return self._raised if self._raised is not None else self.frames[-1].value

    @property
    def _raised(self) -> str | None:
        """An exception leaves a call in two frames: the exception, then a return of None from the same line."""
        if len(self.frames) < 2 or self.frames[-1].value != "None":
            return None
        before = self.frames[-2]
        if before.kind != "exception" or before.source != self.frames[-1].source:
            return None
        ended_loop = (before.value or "").startswith("StopIteration(") and before.source.lstrip().startswith("for ")
        return None if ended_loop else before.value
