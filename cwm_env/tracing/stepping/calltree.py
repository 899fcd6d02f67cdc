"""The calls of a trace as a tree, so that every step of a debugger is one look-up, forwards and backwards."""

from __future__ import annotations

from collections.abc import Sequence

from cwm_env.tracing.format import Frame


class CallTree:
    """Who called whom. A call is known by its number in the order of calls; a generator that goes on is a new one."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        """Read the frames once."""
        self.call_of: list[int] = []
        """Of each frame, its call; -1 of one that stands outside of any."""
        self.parent: list[int] = []
        """Of each call, the call that made it; -1 of the entry."""
        self.members: list[list[int]] = []
        """Of each call, its frames."""
        self.rank: list[int] = []
        """Of each frame, its place among the frames of its call."""
        stack: list[int] = []
        for i, frame in enumerate(frames):
            if frame.kind == "call":
                self.parent.append(stack[-1] if stack else -1)
                self.members.append([])
                stack.append(len(self.parent) - 1)
            call = stack[-1] if stack else -1
            self.call_of.append(call)
            self.rank.append(len(self.members[call]) if call >= 0 else 0)
            if call >= 0:
                self.members[call].append(i)
            if frame.kind == "return" and stack:
                stack.pop()

    def beside(self, i: int, step: int) -> int | None:
        """The next (1) or previous (-1) frame of the same call."""
        members = self.members[self.call_of[i]] if self.call_of[i] >= 0 else []
        place = self.rank[i] + step
        return members[place] if 0 <= place < len(members) else None

    def caller(self, i: int) -> int | None:
        """The frame that the call of frame ``i`` was made from."""
        call = self.call_of[i]
        if call < 0 or self.parent[call] < 0:
            return None
        before = self.members[call][0] - 1
        while self.call_of[before] != self.parent[call]:  # a call that ended just before this one began
            before = self.members[self.call_of[before]][0] - 1
        return before

    def stack(self, i: int) -> list[int]:
        """The frames that are open at frame ``i``, the entry's first, frame ``i`` last."""
        found: list[int] = []
        at: int | None = i
        while at is not None:
            found.append(at)
            at = self.caller(at)
        return found[::-1]
