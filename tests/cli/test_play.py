"""``cwm-env play``: a person at a real terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from cwm_env.trajectories import TrajectoryStore
from tests.cli.conftest import Run, one_sentence
from tests.envs.small import FIX


@pytest.fixture
def person(small_task: Path, tmp_path: Path) -> Iterator[pexpect.spawn[str]]:
    """A terminal in which the small task is being played."""
    arguments = ["-m", "cwm_env", "play", str(small_task)]
    spawned = pexpect.spawn(
        sys.executable, arguments, cwd=str(tmp_path), encoding="utf-8", timeout=60, dimensions=(24, 100)
    )
    spawned.expect("one too much")
    spawned.expect(r"/repo # $")
    yield spawned
    spawned.close(force=True)


def test_a_person_solves_a_task_in_a_real_terminal(person: pexpect.spawn[str], tmp_path: Path) -> None:
    person.sendline("tty; stty size; git log --oneline | cat")
    person.expect("/dev/pts/")
    person.expect("24 100")
    person.sendline("(echo begun; exec sleep 90)")
    person.expect("begun\r\n")  # it has the terminal: a signal sent before that would be lost
    person.sendintr()
    person.sendline(FIX)
    person.sendline("submit")
    person.expect("resolved, reward 1: all 2 tests passed")
    person.expect(pexpect.EOF)
    person.close()
    assert person.exitstatus == 0
    (recorded,) = TrajectoryStore(tmp_path / "trajectories.jsonl")
    assert (recorded.policy, recorded.reward) == ("person", 1.0)


def test_leaving_the_shell_gives_up_without_a_verdict(person: pexpect.spawn[str], tmp_path: Path) -> None:
    person.sendline("exit")
    person.expect("Not submitted, so there is no verdict")
    person.expect(pexpect.EOF)
    person.close()
    assert person.exitstatus == 0


def test_without_a_terminal_it_says_what_to_do(cwm_env: Run, small_task: Path) -> None:
    assert "--policy SCRIPT" in one_sentence(cwm_env("play", small_task), 2)
