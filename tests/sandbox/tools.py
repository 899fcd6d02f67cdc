"""What the tests of sandboxes share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cwm_env.sandbox.base import Sandbox
from cwm_env.sandbox.run import Completed, run

needs_python = pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="no python3 in /usr to attack with")


def shell(sandbox: Sandbox, script: str, *, timeout: float = 30.0, user: str = "root", data: bytes = b"") -> Completed:
    """Run a bash script in the sandbox."""
    return run(sandbox, ["bash", "-c", script], timeout=timeout, user=user, input=data)


def python(sandbox: Sandbox, script: str, *, timeout: float = 30.0, user: str = "root") -> Completed:
    """Run a Python script in the sandbox."""
    return run(sandbox, ["/usr/bin/python3", "-I", "-c", script], timeout=timeout, user=user)


def said(done: Completed) -> str:
    """What a program printed, as text without the last newline; its errors go to the test's own output."""
    sys.stderr.write(done.stderr.decode(errors="replace"))
    return done.stdout.decode(errors="replace").rstrip("\n")


def mounts_left(*words: str) -> list[str]:
    """Mounts of sandboxes that reached the machine: overlays whose lower is ``l0``, and rows with one of ``words``."""
    rows = Path("/proc/self/mountinfo").read_text().splitlines()
    return [row for row in rows if any(word in row for word in ("lowerdir=l0", *words))]
