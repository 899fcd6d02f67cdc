"""The shipped tasks: real, whole, and not fooled by a plausible wrong fix.

That correct fixes are rewarded is shown in `tests/adversarial/test_rewards_honest.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cwm_env import BashEnv
from cwm_env.tasks import list_tasks, resolve

HERE = Path(__file__).parent
TASKS = list_tasks()


def verdict(task: str, script: str) -> tuple[str, float, str]:
    """Outcome, reward and reason of an episode in which ``script`` is run and submitted."""
    env = BashEnv(task)
    try:
        env.reset()
        *_, info = env.step(script)
        assert info["result"].exit_code == 0, info["result"].output
        _, reward, *_, info = env.step("submit")
        assert "failure" not in info, info["error"]
        return info["grade"].outcome, reward, info["grade"].reason
    finally:
        env.close()


def test_there_are_six_on_at_least_four_packages_and_one_is_hard() -> None:
    tasks = [resolve(task) for task in TASKS]
    assert len(tasks) >= 6
    assert len({task.metadata["package"] for task in tasks}) >= 4
    assert "hard" in {task.metadata["difficulty"] for task in tasks}
    for task in tasks:
        assert task.metadata["package_license"] and task.metadata["package_version"]
        assert "submit" in task.instruction and "/repo" in task.instruction


@pytest.mark.parametrize("task", TASKS)
def test_the_instruction_gives_away_neither_tests_nor_solution(task: str) -> None:
    found = resolve(task)
    assert "test_" not in found.instruction and "/tests/" not in found.instruction.replace("/repo/tests", "")
    assert found.solution is not None and not found.solution.startswith("#!")


@pytest.mark.parametrize("task", TASKS)
def test_a_plausible_wrong_fix_is_not(task: str) -> None:
    outcome, reward, _ = verdict(task, (HERE / "wrong_fixes" / f"{task}.sh").read_text())
    assert (outcome, reward) == ("unresolved", 0.0)


@pytest.mark.parametrize("task", TASKS)
def test_the_untouched_tree_fails_what_must_be_fixed_and_passes_the_rest(task: str) -> None:
    found = resolve(task)
    env = BashEnv(found)
    env.reset()
    _, reward, *_, info = env.step("submit")
    env.close()
    assert reward == 0.0
    statuses = info["grade"].tests
    assert {statuses[name] for name in found.tests.pass_to_pass} == {"PASSED"}
    assert "PASSED" not in {statuses[name] for name in found.tests.fail_to_pass}
