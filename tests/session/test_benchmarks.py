"""The benchmarks of sessions run: small, so that the figures mean nothing, and the tables are whole."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "rows"),
    [
        ("benchmarks.step", ["bare bash over pipes", "AsyncBashSession", "sessions on one loop", "GB/s"]),
        ("benchmarks.session_cases", ["heredoc holding a TAB", "right, of"]),
    ],
)
def test_runs_quickly(module: str, rows: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--quick"], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert not [row for row in rows if row not in done.stdout]
