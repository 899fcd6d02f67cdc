"""What the attacks share: system calls by number, and a neighbour that is watched."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cwm_env.sandbox.base import Sandbox
from cwm_env.session import BashSession

PRELUDE = """
import ctypes, errno, os, platform, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
ARM = platform.machine() == "aarch64"
def call(number, *arguments):
    ctypes.set_errno(0)
    value = libc.syscall(*map(ctypes.c_long, (number, *arguments)))
    return errno.errorcode[ctypes.get_errno()] if value == -1 else "went through"
"""
"""For Python in the sandbox: ``call`` makes a system call and names what came of it."""


class Neighbour:
    """A session in another sandbox, whose steps are timed while something goes on beside it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.session = BashSession(sandbox)
        assert self.session.run("echo secret > /tmp/mine; echo $$").exit_code == 0

    def median(self, steps: int = 40) -> float:
        """Seconds that a step takes, the middle of so many; each must do what it should."""
        taken = []
        for _ in range(steps):
            started = time.perf_counter()
            result = self.session.run("cat /tmp/mine; echo on")
            taken.append(time.perf_counter() - started)
            assert (result.output, result.exit_code) == ("secret\non\n", 0)
        return statistics.median(taken)


@contextmanager
def watched(sandbox: Sandbox) -> Iterator[Neighbour]:
    """A neighbour that must be whole at the end."""
    neighbour = Neighbour(sandbox)
    yield neighbour
    assert neighbour.session.run("cat /tmp/mine; ls /tmp | wc -l").output == "secret\n1\n"
    neighbour.session.close()
