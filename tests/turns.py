"""Who may run beside whom, where tests run side by side (``pytest --numprocesses 2``)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def turn(*, alone: bool) -> Iterator[None]:
    """Hold a place among the tests that run, or the only one.

    Two locked files that all workers of a user share. The first is held while one waits for the second, so that who
    wants to be alone waits for the tests that run, and not for those that would come after them.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:  # there is nobody beside it
        yield
        return
    files = (Path(tempfile.gettempdir(), f"cwm-env-tests-{os.getuid()}-{name}") for name in ("queue", "places"))
    with contextlib.ExitStack() as stack:
        queue, places = (stack.enter_context(file.open("w")) for file in files)
        fcntl.flock(queue, fcntl.LOCK_EX)
        fcntl.flock(places, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(queue, fcntl.LOCK_UN)
        yield
