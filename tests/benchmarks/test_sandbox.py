"""The benchmarks run, and say what they should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks import tree_search

ROOT = Path(__file__).parents[2]


def test_the_benchmark_of_sandboxes_runs_small() -> None:
    command = [sys.executable, "-m", "benchmarks.sandbox", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for figure in (
        "create to first prompt",
        "destroy",
        "from a warm pool",
        "two spawners",
        "alive, each",
        "steps over",
        "beside one at its worst",
    ):
        assert figure in done.stdout
    assert done.stderr == ""


def test_a_search_over_forks_finds_the_branches_that_solve_it() -> None:
    rewards = tree_search.main(64)
    assert len(rewards) == 64
    solved = {command for command, reward in rewards.items() if reward}
    assert solved == {f"write '*' '{tail}' && STEP=$((STEP + 1))" for tail in ("", "+ 0", "& 255")}
