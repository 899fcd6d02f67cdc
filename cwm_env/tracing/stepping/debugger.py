"""A debugger over a recorded trace: a position, and steps in both directions."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable

from cwm_env.errors import InputError
from cwm_env.tracing.format import Frame
from cwm_env.tracing.stepping.calltree import CallTree
from cwm_env.tracing.traces import Trace

ACTIONS = (
    "into",
    "over",
    "out",
    "continue",
    "back",
    "back_over",
    "back_out",
    "back_continue",
)
"""Steps: the second four undo the first four."""


class Debugger:
    """Walks over the frames of a trace. A step beyond either end stays there."""

    def __init__(self, trace: Trace) -> None:
        """Stand at the first frame.

        Raises:
            InputError: the trace has no frames.
            FormatError: its variables cannot be resolved.
        """
        if not trace.frames:
            raise InputError("the trace has no frames to step through")
        self.trace, self.tree = trace, CallTree(trace.frames)
        self.position = 0
        self.breakpoints: set[str] = set()
        """Source lines, without the space around them."""
        self._where_is: dict[str, list[int]] = {}
        for i, frame in enumerate(trace.frames):
            self._where_is.setdefault(frame.source.strip(), []).append(i)

    @property
    def frame(self) -> Frame:
        """Where it stands."""
        return self.trace.frames[self.position]

    @property
    def variables(self) -> dict[str, str]:
        """Every variable of the current call, resolved."""
        return self.trace.resolved[self.position]

    @property
    def at_end(self) -> bool:
        """Whether this is the last frame."""
        return self.position == len(self.trace.frames) - 1

    def do(self, action: str) -> Frame:
        """Make one step of ``ACTIONS``, and return the frame that it leads to.

        Raises:
            InputError: there is no such step.
        """
        if action not in ACTIONS:
            raise InputError(f"there is no step {action!r}: choose one of {', '.join(ACTIONS)}")
        step: Callable[[], int] = getattr(self, f"_{action}")
        self.position = min(max(step(), 0), len(self.trace.frames) - 1)
        return self.frame

    def toggle(self, source: str) -> bool:
        """Set a breakpoint at a source line, or remove it. Whether it is set now.

        Raises:
            InputError: no frame of the trace is at such a line.
        """
        source = source.strip()
        if source not in self._where_is:
            raise InputError(f"the trace never comes to a line {source!r}")
        self.breakpoints ^= {source}
        return source in self.breakpoints

    def run_to(self, source: str, inverse: bool = False) -> Frame:
        """Go to the next frame at a source line, or the previous one; to the end if there is none."""
        self.position = self._next({source.strip()}, inverse)
        return self.frame

    def where(self) -> list[Frame]:
        """The frames of the open calls, the entry's first."""
        return [self.trace.frames[i] for i in self.tree.stack(self.position)]

    def _into(self) -> int:
        return self.position + 1

    def _over(self) -> int:
        beside = self.tree.beside(self.position, 1)
        return self._after_return() if beside is None else beside

    def _out(self) -> int:
        call = self.tree.call_of[self.position]
        last = self.tree.members[call][-1]
        return self._after_return() if last == self.position else last

    def _continue(self) -> int:
        return self._next(self.breakpoints, False)

    def _back(self) -> int:
        return self.position - 1

    def _back_over(self) -> int:
        beside = self.tree.beside(self.position, -1)
        return self._before_call() if beside is None else beside

    def _back_out(self) -> int:
        call = self.tree.call_of[self.position]
        first = self.tree.members[call][0]
        return self._before_call() if first == self.position else first

    def _back_continue(self) -> int:
        return self._next(self.breakpoints, True)

    def _after_return(self) -> int:
        """The caller's next frame."""
        caller = self.tree.caller(self.position)
        after = None if caller is None else self.tree.beside(caller, 1)
        return self.position + 1 if after is None else after

    def _before_call(self) -> int:
        caller = self.tree.caller(self.position)
        return 0 if caller is None else caller

    def _next(self, sources: set[str], inverse: bool) -> int:
        found = []
        for source in sources:
            places = self._where_is.get(source, [])
            at = bisect_left(places, self.position) - 1 if inverse else bisect_right(places, self.position)
            if 0 <= at < len(places):
                found.append(places[at])
        if inverse:
            return max(found, default=0)
        return min(found, default=len(self.trace.frames) - 1)


def first_divergence(ours: Trace, theirs: Trace) -> int | None:
    """The first frame in which two traces differ, by kind, source, resolved variables or value; None if none does."""
    for i, (a, b) in enumerate(zip(ours.frames, theirs.frames, strict=False)):
        if (a.kind, a.source, a.value) != (b.kind, b.source, b.value) or ours.resolved[i] != theirs.resolved[i]:
            return i
    shorter = min(len(ours.frames), len(theirs.frames))
    return None if len(ours.frames) == len(theirs.frames) else shorter
