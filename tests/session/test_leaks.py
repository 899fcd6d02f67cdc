"""Ten thousand steps and five hundred restarts leave nothing behind: counted, not guessed."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.session.conftest import Driver, end

pytestmark = pytest.mark.alone


def _resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


_LOOP_THREADS = min(32, (os.cpu_count() or 1) + 4)  # what one event loop keeps for all, started as they are wanted


def _held(bash: Driver) -> tuple[int, int]:
    """Descriptors here, and processes in the sandbox, once those that were killed are gone."""
    time.sleep(0.2)
    processes = bash.run("set -- /proc/[0-9]*; echo $#").output
    return len(list(Path("/proc/self/fd").iterdir())), int(processes)


def test_steps_and_restarts_leave_nothing_behind(open_session: Callable[..., Driver]) -> None:
    bash = open_session()

    def work(steps: int, restarts: int) -> None:
        for number in range(steps):
            assert bash.run("true" if number % 10 else f"X={number}").exit_code == 0
        for _ in range(restarts):
            assert bash.run("exit 1").shell_restarted

    work(500, 20)  # what is made once is made now
    gc.collect()
    before, memory, threads = _held(bash), _resident(), threading.active_count()
    work(10_000, 500)
    gc.collect()
    assert _held(bash) == before
    assert threading.active_count() <= threads + _LOOP_THREADS
    assert _resident() - memory < 8 << 20


def test_sessions_that_come_and_go_leave_nothing_behind(open_session: Callable[..., Driver]) -> None:
    counter = open_session()
    end(open_session())
    before, threads = _held(counter), threading.active_count()
    for _ in range(50):
        session = open_session()
        session.run("echo x")
        end(session)
    assert _held(counter) == before
    assert threading.active_count() <= threads + _LOOP_THREADS
