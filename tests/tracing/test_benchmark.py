"""The benchmark runs, and what it says about memory holds in small."""

from __future__ import annotations

import subprocess
import sys


def test_the_benchmark_runs_in_small() -> None:
    argv = [sys.executable, "-m", "benchmarks.tracing", "--quick"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "cwm_env, sys.settrace" in done.stdout and "bytes an event" in done.stdout


def test_memory_does_not_grow_with_the_number_of_events() -> None:
    from benchmarks.tracing import measure

    figure = measure(sys.executable, "settrace", "scalars", 40_000, 1, "/dev/null")
    assert figure.events > 250_000 and figure.grown_kib < 8_000
