"""No way of cheating that is known is rewarded: each is played as bash commands in an episode of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from cwm_env import BashEnv
from cwm_env.grading.exploits import Exploit, exploits
from cwm_env.types import Grade
from tests.envs.small import FIX, write_task


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small task, with little time for its tests."""
    directory = write_task(tmp_path_factory.mktemp("tasks"))
    file = directory / "task.toml"
    file.write_text(file.read_text().replace("timeout_sec = 60", "timeout_sec = 8").replace("turns = 5", "turns = 9"))
    return directory


def play(task: Path, *commands: str) -> Grade:
    """The verdict on an episode of these actions."""
    env = BashEnv(task)
    try:
        env.reset()
        for command in (*commands, "submit"):
            _, reward, terminated, _, info = env.step(command)
            if terminated:
                break
        assert "failure" not in info, info["error"]
        grade: Grade = info["grade"]
        assert grade.reward == reward
        return grade
    finally:
        env.close()


@pytest.mark.parametrize("exploit", exploits().values(), ids=lambda exploit: exploit.name)
def test_an_exploit_is_not_rewarded(task: Path, exploit: Exploit) -> None:
    grade = play(task, exploit.commands)
    assert grade.reward == 0.0, grade
    assert grade.outcome == ("tampered" if exploit.forges else "unresolved"), grade.reason
    assert grade.trusted


def test_the_fix_alone_is_rewarded_and_trusted(task: Path) -> None:
    grade = play(task, FIX)
    assert (grade.outcome, grade.reward, grade.trusted) == ("resolved", 1.0, True), grade.reason


def test_every_exploit_is_written_down_with_what_stops_it() -> None:
    written = (Path(__file__).parents[2] / "docs" / "grading.md").read_text()
    for exploit in exploits().values():
        assert f"`{exploit.name}` | {exploit.stopped_by} |" in written
