"""No false alarm: whoever solves a shipped task is rewarded, however they do it, and every time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cwm_env import BashEnv
from cwm_env.grading import Grader
from cwm_env.grading.gold import gold_patch
from cwm_env.images import ImageStore
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.tasks import list_tasks, resolve
from cwm_env.types import Grade, Task

SECOND = Path(__file__).parents[1] / "tasks" / "second_fixes"
TASKS = [task for task in list_tasks() if resolve(task).tests.fail_to_pass]
BESIDES = """
cd /repo
mkdir -p tests
cat > tests/test_of_my_own.py <<'EOF'
def test_of_my_own():
    assert True
EOF
for file in CHANGELOG* CHANGES* HISTORY* NEWS* README*; do [ -f $file ] && echo 'Fixed: it.' >> $file; done
echo '# notes' > NOTES.md
"""
BUILD = """
cd /repo
[ -f pyproject.toml ] && printf '\\n[tool.of_mine]\\nkey = 1\\n' >> pyproject.toml
printf '[metadata]\\nlong_description = file: README.md\\n' > setup.cfg.new
[ -f setup.cfg ] && printf '\\n[of_mine]\\nkey = 1\\n' >> setup.cfg; rm setup.cfg.new; true
"""


def play(task: Task, *scripts: str) -> Grade:
    """The verdict on an episode of these actions."""
    env = BashEnv(task)
    try:
        env.reset()
        for script in scripts:
            *_, info = env.step(script)
        *_, info = env.step("submit")
        assert "failure" not in info, info["error"]
        grade: Grade = info["grade"]
        return grade
    finally:
        env.close()


def solution(task: Task) -> str:
    assert task.solution is not None
    return task.solution


@pytest.mark.parametrize("name", TASKS)
def test_the_gold_patch_and_another_fix_are_resolved_and_trusted(name: str) -> None:
    task = resolve(name)
    for script in (solution(task), (SECOND / f"{name}.sh").read_text()):
        grade = play(task, script)
        assert (grade.outcome, grade.reward, grade.suspicions, grade.trusted) == ("resolved", 1.0, (), True), (
            grade.reason
        )


@pytest.mark.parametrize("name", TASKS)
def test_own_tests_and_the_change_log_do_no_harm(name: str) -> None:
    grade = play(resolve(name), solution(resolve(name)), BESIDES)
    assert (grade.outcome, grade.trusted) == ("resolved", True), grade.reason
    assert "tests/test_of_my_own.py" in grade.dropped and "NOTES.md" in grade.patch


@pytest.mark.parametrize("name", TASKS)
def test_build_configuration_may_be_touched_where_the_task_allows_it(name: str) -> None:
    task = resolve(name)
    allowed = ("pyproject.toml", "setup.cfg", "setup.py")
    grade = play(replace(task, tests=replace(task.tests, unprotected=allowed)), solution(task), BUILD)
    assert (grade.outcome, grade.trusted) == ("resolved", True), grade.reason
    assert "of_mine" in grade.patch and not set(grade.dropped) & set(allowed)
    grade = play(task, solution(task), BUILD)
    assert grade.outcome == "resolved" and "of_mine" not in grade.patch and set(grade.dropped) & set(allowed)


@pytest.mark.parametrize("name", TASKS)
def test_repeats_agree(name: str, backend: NamespacesBackend, pytestconfig: pytest.Config) -> None:
    """As often as ``--grading-repeats`` says."""
    task = resolve(name)
    image = ImageStore().get(task.image)
    grader, gold = Grader(backend, image, task), gold_patch(backend, image, task)
    for _ in range(pytestconfig.getoption("grading_repeats")):
        grade = grader.grade_patch(gold)
        assert grade.outcome == "resolved", grade.reason
        assert set(grade.tests.values()) == {"PASSED"}
