"""A fork of an episode: the same from there on, and then another."""

from __future__ import annotations

from pathlib import Path

import pytest

from cwm_env import BashEnv
from cwm_env.errors import InputError
from tests.envs.small import FIX


def test_a_fork_goes_on_where_its_origin_stands(env: BashEnv) -> None:
    env.reset()
    env.step("cd /tmp; X='a b'; export Y=2; f() { echo f; }; alias g='echo al'; umask 027; echo 1 > file")
    twin = env.fork()
    observation, *_, info = twin.step("pwd; echo $X $Y; f; g; umask; cat file; ls -d /tests")
    assert observation.startswith("/tmp\na b 2\nf\nal\n0027\n1\nls: cannot access '/tests'")
    assert info["turns_left"] == 3
    twin.close()
    assert env.step("echo $X")[0].startswith("a b\n")


def test_branches_do_not_see_each_other_and_are_graded_alone(env: BashEnv) -> None:
    env.reset()
    env.step("cd /repo")
    branches = [env.fork() for _ in range(3)]
    commands = ["touch /tmp/one", FIX, "ls /tmp; sed -i 's/+ 1/+ 2/' doubling.py"]
    observations = [branch.step(command)[0] for branch, command in zip(branches, commands, strict=True)]
    assert "one" not in observations[2]
    assert [branch.step("submit")[1] for branch in branches] == [0.0, 1.0, 0.0]
    assert env.step("cat doubling.py; ls /tmp")[0].startswith("def double(x):\n    return x + x + 1\n[")
    for branch in branches:
        branch.close()


def test_jobs_stay_with_the_origin_and_their_output_is_not_lost(env: BashEnv) -> None:
    env.reset()
    env.step("(sleep 0.5; echo late) & sleep 600 &")
    twin = env.fork()
    assert twin.step("pgrep sleep || echo none")[0].startswith("none\n")
    assert "late" in env.step("sleep 1; pgrep sleep")[4]["result"].output
    twin.close()


def test_what_cannot_be_forked_says_so(small_task: Path, env: BashEnv) -> None:
    with pytest.raises(InputError, match="call reset"):
        env.fork()
    at_terminal = BashEnv(small_task, terminal=True)
    at_terminal.reset()
    with pytest.raises(InputError, match="terminal"):
        at_terminal.fork()
    at_terminal.close()
