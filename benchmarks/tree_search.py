"""Tree search over forks: one episode, many branches with different commands, each graded.

    python -m benchmarks.tree_search [BRANCHES]     # 64 unless told otherwise

The task is small so that the forks are what is seen: a program adds where it should multiply, and a test says so. The
trunk of the search sets the repository up and keeps its shell's state in a file; every branch is a fork of it, tries an
edit of its own in a shell that goes on where the trunk's stood, and is graded by the tests in yet another fork, where
none of the branch's processes run.
"""

from __future__ import annotations

import itertools
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.sandbox import ENV, LIMITS, bare_image
from cwm_env.sandbox.base import Backend, Sandbox
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.sandbox.run import run
from cwm_env.session import BashSession

SETUP = r"""mkdir -p /repo && cd /repo
write() { echo "area() { echo \$(( \$1 $1 \$2 $2 )); }" > area.sh; }
write +
STEP=1
{ declare -f; declare -p STEP; echo "cd $PWD"; } > /run/shell"""
OPERATORS = ("+", "-", "*", "/", "%", "&", "|", "^")
TAILS = ("", "+ 0", "+ 1", "- 1", "* 2", "/ 2", "% 7", "& 255")
TESTS = ". ./area.sh; for a in 2 3 7; do for b in 1 4 9; do [ $(area $a $b) = $((a * b)) ] || exit 1; done; done"


def grade(backend: Backend, branch: Sandbox) -> float:
    """1.0 if the tests pass in a fork of the branch, where none of its processes run."""
    judge = backend.fork(branch)
    try:
        return float(run(judge, ["bash", "-c", TESTS], env=ENV, cwd="/repo", timeout=20).exit_code == 0)
    finally:
        judge.close()


def search(backend: Backend, trunk: Sandbox, count: int) -> dict[str, float]:
    """Command of each branch to its reward."""
    rewards = {}
    for operator, tail in itertools.islice(itertools.product(OPERATORS, TAILS), count):
        branch = backend.fork(trunk)
        with BashSession(branch, env=ENV) as shell:
            shell.run(". /run/shell")
            command = f"write '{operator}' '{tail}' && STEP=$((STEP + 1))"
            result = shell.run(command)
            assert (result.exit_code, shell.run("echo $STEP").output) == (0, "2\n"), result.output
        rewards[command] = grade(backend, branch)
        branch.close()
    return rewards


def main(count: int = 64) -> dict[str, float]:
    """Run the search and print what was found."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    backend = NamespacesBackend()
    try:
        trunk = backend.create(bare_image(directory / "layer"), LIMITS)
        with BashSession(trunk, env=ENV) as shell:
            shell.run(SETUP)
        started = time.perf_counter()
        rewards = search(backend, trunk, count)
        took = time.perf_counter() - started
        assert b"$1 + $2 " in trunk.read_file("/repo/area.sh")  # no branch has touched it
    finally:
        backend.close()
        shutil.rmtree(directory)
    print(
        f"{count} branches, each forked twice, stepped and graded, in {took:.2f} s ({took / count * 1000:.1f} ms each)"
    )
    for command, reward in rewards.items():
        if reward:
            print(f"  reward {reward}: {command}")
    return rewards


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
