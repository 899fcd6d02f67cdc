"""Whether a task may give rewards: untouched it must fail, its gold solution must pass, and repeats must agree."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cwm_env.errors import GradingError, TaskError
from cwm_env.grading.gold import gold_patch
from cwm_env.grading.grader import Grader
from cwm_env.grading.runner import Ran
from cwm_env.sandbox.base import Backend
from cwm_env.types import Grade, Image, Task


@dataclass(frozen=True, slots=True)
class Admission:
    """What was found about one task."""

    task_id: str
    problems: tuple[str, ...]
    """Why the task may not give rewards, a sentence each; empty where it may."""
    untouched: Grade
    """The verdict on the image as it is."""
    gold: tuple[Grade, ...]
    """The verdicts on the gold solution, one per repeat."""
    duration: float
    """Seconds."""

    @property
    def admitted(self) -> bool:
        """Whether the task may give rewards."""
        return not self.problems


def record_expected(backend: Backend, image: Image, task: Task, repeats: int = 2) -> tuple[list[str], list[str]]:
    """Which tests the gold solution makes pass, and which pass before and after it: FAIL_TO_PASS and PASS_TO_PASS.

    Each state is tested ``repeats`` times; a test that does not agree with itself stands in neither list.

    Raises:
        TaskError: no test tells the gold solution from the untouched tree, or the task has no pytest runner.
        GradingError: a test run did not come to its end.
    """
    if task.tests.runner == "script":
        raise TaskError(f"task {task.id}: the runner 'script' has no expected tests to record")
    grader, gold = Grader(backend, image, task), gold_patch(backend, image, task)
    before, after = [_passed(grader, patch, repeats) for patch in ("", gold)]
    fail_to_pass = sorted(after.always - before.ever)
    if not fail_to_pass:
        raise TaskError(f"task {task.id}: no hidden test fails before the gold solution and passes after it")
    return fail_to_pass, sorted(after.always & before.always)


def validate(
    backend: Backend, image: Image, task: Task, *, repeats: int = 1, said: Callable[[str], None] = lambda _: None
) -> Admission:
    """Try the task as an episode would: untouched, and ``repeats`` times with its gold solution.

    Args:
        said: is told what is being tried.

    Raises:
        TaskError: the solution does not work.
        GradingError: a verdict could not be formed.
        SandboxError: a sandbox failed.
    """
    started = time.perf_counter()
    grader = Grader(backend, image, task)
    said("untouched")
    untouched = grader.grade_patch("")
    gold = gold_patch(backend, image, task)
    grades = []
    for number in range(1, repeats + 1):
        said(f"gold {number}/{repeats}")
        grades.append(grader.grade_patch(gold))
    problems = (*_of_untouched(task, untouched), *_of_gold(grades))
    return Admission(task.id, problems, untouched, tuple(grades), time.perf_counter() - started)


def _of_untouched(task: Task, grade: Grade) -> list[str]:
    passing = [name for name in task.tests.fail_to_pass if grade.tests.get(name) == "PASSED"]
    failing = [name for name in task.tests.pass_to_pass if grade.tests.get(name) != "PASSED"]
    problems = []
    if grade.outcome != "unresolved":
        problems.append(f"the untouched tree is {grade.outcome}")
    if passing:
        problems.append(f"the untouched tree passes {len(passing)} of FAIL_TO_PASS, first {passing[0]}")
    if failing:
        problems.append(f"the untouched tree fails {len(failing)} of PASS_TO_PASS, first {failing[0]}")
    return problems


def _of_gold(grades: list[Grade]) -> list[str]:
    bad = [grade for grade in grades if grade.outcome != "resolved"]
    if not bad:
        return []
    flaky = sorted({name for name in bad[0].tests if len({grade.tests.get(name) for grade in grades}) > 1})
    if flaky:
        return [f"repeats of the gold solution disagree on {', '.join(flaky[:3])}"]
    return [f"the gold solution is {bad[0].outcome}: {bad[0].reason}"]


@dataclass(frozen=True, slots=True)
class _Passed:
    always: frozenset[str]
    ever: frozenset[str]


def _passed(grader: Grader, patch: str, repeats: int) -> _Passed:
    runs = [frozenset(_passing(grader.run_tests(patch))) for _ in range(repeats)]
    return _Passed(frozenset.intersection(*runs), frozenset.union(*runs))


def _passing(ran: Ran | Grade) -> list[str]:
    if isinstance(ran, Grade):
        raise GradingError(ran.reason)
    if ran.report.ended is None and not ran.report.tests:
        raise GradingError(f"the hidden tests ended early, with exit code {ran.exit_code}: {ran.output[-500:]}")
    return [name for name, status in ran.report.tests.items() if status == "PASSED"]
