"""Whether nothing but its own line can change a function's variables, from one event to the next.

A signal's handler, another thread, a finalizer that the garbage collector runs, a trace or profile function of the
program's: each may run between two instructions. Where one may, every variable is looked at.
"""

import sys
from _signal import NSIG, default_int_handler, getsignal  # type: ignore[import-not-found,unused-ignore]
from _thread import _count
from gc import get_count
from typing import Any


class Calm:
    """Shared by all threads of one traced process."""

    def __init__(self) -> None:
        """Calm, until something is seen."""
        self.holds = True
        self.disturbing = frozenset(["sys.setprofile", "sys.monitoring.register_callback"])
        """Audit events by which the program has a function of its own called in between."""
        self.ours = False
        """Whether it is the tracer that does so now."""

    def look(self) -> None:
        """See what has been set up before."""
        if sys.getprofile() is not None:
            self.holds = False
        for number in range(1, NSIG):
            try:
                handler = getsignal(number)
            except ValueError:
                continue
            if not (type(handler) is int or handler is None or handler is default_int_handler):
                self.holds = False

    def begins(self, code: Any) -> None:
        """A function runs that has not run before."""
        if code.co_name == "signal" and code.co_filename.endswith("signal.py"):
            self.holds = False

    def audit(self, event: str) -> None:
        """The interpreter tells of something."""
        if event in self.disturbing and not self.ours:
            self.holds = False


def moment() -> Any:
    """What stays as it is until something may have run in between; None where something always may."""
    return None if _count() else get_count()[1:]
