"""What can be wrong with a trace, or stand in the way of one."""

from __future__ import annotations

from cwm_env.errors import InputError


class TraceError(InputError):
    """A trace, or the request for one, is wrong."""

    kind = "trace"


class FormatError(TraceError):
    """Text is not a trace."""

    def __init__(self, what: str, position: int, found: str = "", unit: str = "character") -> None:
        """Say what was expected at ``position`` (in characters or frames from the beginning), and what stands there."""
        self.position = position
        shown = f", where {found[:40]!r} stands" if found else ""
        super().__init__(f"{what}: at {unit} {position}{shown}")


class Refused(TraceError):
    """A program cannot be traced."""

    def __init__(self, reason: str, detail: str) -> None:
        """``reason`` is one word to count by: syntax, import, entry, input, time, events, bytes, lost, killed, …"""
        self.reason = reason
        super().__init__(f"no trace ({reason}): {detail}")
