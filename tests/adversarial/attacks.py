"""What the attacks share: system calls by number, and a neighbour that is watched."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
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


BOMB = "f() { f & f & }; f 2>/dev/null; while :; do f 2>/dev/null; done"
HOG = "import os; k = []\nwhile True: k.append(os.urandom(1 << 20))"
WORST = (
    "while :; do :; done",
    "while :; do cat /dev/zero > /tmp/x; done",
    f"while :; do /usr/bin/python3 -c '{HOG}'; done",
    BOMB,
)
"""A spin, a disk filler, a memory hog and a fork bomb, for bash; the bomb last, for it leaves the others no room."""


def let_loose(sandbox: Sandbox) -> None:
    """Begin to do the worst, all at once."""
    for script in WORST:
        sandbox.spawn(["bash", "-c", f"{{ {script}; }} >/dev/null 2>&1"]).close()
    time.sleep(0.5)


def slowdowns(monster: Sandbox, sessions: Sequence[BashSession], rounds: int, command: str) -> list[float]:
    """How many times longer the median step of ``sessions`` takes while ``monster`` runs than while it is paused.

    One figure for each round, of two measurements right after one another: whatever else the machine does meets both.
    """

    def median() -> float:
        taken = []
        for session in sessions:
            started = time.perf_counter()
            assert session.run(command).exit_code == 0
            taken.append(time.perf_counter() - started)
        return statistics.median(taken)

    found = []
    for _ in range(rounds):
        monster.pause()
        calm = median()
        monster.resume()
        time.sleep(0.05)
        found.append(median() / calm)
    return found


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
