"""Whether a task may give rewards: untouched it fails, its gold solution passes every time, and no forgery does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cwm_env.errors import GradingError, TaskError
from cwm_env.grading.exploits import FOR_ADMISSION, Exploit, exploits
from cwm_env.grading.gold import gold_patch
from cwm_env.grading.grader import Grader
from cwm_env.grading.leaks import leaks
from cwm_env.grading.runner import Ran, run_bash
from cwm_env.sandbox.base import Backend
from cwm_env.types import Grade, Image, Outcome, Task

CHECKS = ("untouched", "gold", "forged", "leaks", "time")
"""What a task is tried for, in this order."""
_SHARE_OF_TIMEOUT = 0.5
_NAMED = 10


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
    forged: Mapping[str, Outcome]
    """What came of the exploits that were tried, by their name."""
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
    backend: Backend,
    image: Image,
    task: Task,
    *,
    repeats: int = 1,
    said: Callable[[str, str], None] = lambda *_: None,
) -> Admission:
    """Try the task as episodes would: untouched, with its gold solution, and with exploits; and look for leaks.

    Args:
        repeats: of the gold solution.
        said: is told the check (one of ``CHECKS``) and how it goes: a count while it runs, then ``ok`` or ``no``.

    Raises:
        TaskError: the solution does not work.
        GradingError: a verdict could not be formed.
        SandboxError: a sandbox failed.
    """
    started = time.perf_counter()
    grader = Grader(backend, image, task)
    problems: list[str] = []

    def close(check: str, found: Sequence[str]) -> None:
        problems.extend(found)
        said(check, "no" if found else "ok")

    said("untouched", "…")
    untouched = grader.grade_patch("")
    close("untouched", _of_untouched(task, untouched))
    gold = gold_patch(backend, image, task)
    grades: list[Grade] = []
    for number in range(repeats):
        said("gold", f"{number}/{repeats}")
        grades.append(grader.grade_patch(gold))
    close("gold", _of_gold(grades))
    forged: dict[str, Outcome] = {}
    for number, name in enumerate(FOR_ADMISSION):
        said("forged", f"{number}/{len(FOR_ADMISSION)}")
        forged[name] = _play(backend, image, task, grader, exploits()[name]).outcome
    rewarded = [name for name, outcome in forged.items() if outcome == "resolved"]
    close("forged", [f"the exploit {name} is rewarded" for name in rewarded])
    said("leaks", "…")
    close("leaks", leaks(backend, image, task, gold))
    close("time", _of_time(task, grades))
    return Admission(task.id, tuple(problems), untouched, tuple(grades), forged, time.perf_counter() - started)


def _play(backend: Backend, image: Image, task: Task, grader: Grader, exploit: Exploit) -> Grade:
    """The verdict on a sandbox in which an exploit was run."""
    episode = backend.create(image, task.limits)
    try:
        run_bash(episode, image, exploit.commands, task.limits.command_timeout, user=image.user)
        return grader.grade(episode)
    finally:
        episode.close()


def _of_time(task: Task, grades: Sequence[Grade]) -> list[str]:
    longest = max(grade.phases.get("tests", 0.0) for grade in grades)
    if longest <= task.tests.timeout * _SHARE_OF_TIMEOUT:
        return []
    return [
        f"the hidden tests took {longest:.1f} of {task.tests.timeout:g} seconds, too near to their limit: "
        "raise [verifier] timeout_sec"
    ]


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


def _of_gold(grades: Sequence[Grade]) -> list[str]:
    bad = [grade for grade in grades if grade.outcome != "resolved"]
    if not bad:
        return []
    flaky = sorted({name for name in bad[0].tests if len({grade.tests.get(name) for grade in grades}) > 1})
    if flaky:
        more = f" and {len(flaky) - _NAMED} more" if len(flaky) > _NAMED else ""
        return [f"repeats of the gold solution disagree on {', '.join(flaky[:_NAMED])}{more}"]
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
