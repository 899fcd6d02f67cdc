"""The verdict on an episode."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from cwm_env.errors import GradingError
from cwm_env.grading import patch as patches
from cwm_env.grading import runner
from cwm_env.sandbox.base import Backend, Sandbox
from cwm_env.types import Grade, Image, Outcome, Task, TestStatus


class Grader:
    """Grades episodes of one task, each in fresh clones of the task's image.

    What runs in a clone under the limits (crashes, floods, endless loops) is the policy's doing and ``unresolved``;
    exceptions are for our own failures.
    """

    def __init__(self, backend: Backend, image: Image, task: Task) -> None:
        self._backend = backend
        self._image = image
        self._task = task
        self._limits = replace(task.limits, network="none")

    def grade(self, episode: Sandbox) -> Grade:
        """Stop the episode for good, take its change as a patch, and grade that.

        Raises:
            GradingError: the verdict could not be formed.
            SandboxError: a sandbox failed.
        """
        started = time.perf_counter()
        episode.stop()
        pristine = self._backend.create(self._image, self._limits)
        try:
            patch = patches.take(episode, pristine, self._image, self._task.tests.protected)
        except ValueError as error:
            return Grade("unresolved", 0.0, reason=f"the change cannot be graded: {error}")
        finally:
            pristine.close()
        grade = self.grade_patch(patch.text)
        return replace(grade, dropped=patch.dropped, duration=time.perf_counter() - started)

    def grade_patch(self, patch: str) -> Grade:
        """Grade a patch in git's format, relative to the image's workdir.

        Raises:
            GradingError: the verdict could not be formed.
            SandboxError: a sandbox failed.
        """
        started = time.perf_counter()
        if self._task.tests.runner == "pytest" and not self._task.tests.fail_to_pass:
            raise GradingError(
                f"task {self._task.id} does not say which tests must pass: "
                f"record them with `cwm-env tasks validate --record {self._task.id}`"
            )
        ran = self.run_tests(patch)
        grade = ran if isinstance(ran, Grade) else self._verdict(ran)
        return replace(grade, patch=patch, duration=time.perf_counter() - started)

    def run_tests(self, patch: str) -> runner.Ran | Grade:
        """Run the hidden tests on a fresh clone with ``patch``; a grade where the patch does not even apply."""
        clone = self._backend.create(self._image, self._limits)
        try:
            complaint = patches.apply(clone, self._image, patch)
            if complaint:
                return Grade("unresolved", 0.0, reason=f"the patch does not apply: {complaint}")
            runner.bring_tests(clone, self._task.tests)
            runs = {"pytest": runner.run_pytest, "script": runner.run_script}
            return runs[self._task.tests.runner](clone, self._image, self._task.tests)
        finally:
            clone.close()

    def _verdict(self, ran: runner.Ran) -> Grade:
        tests = self._task.tests
        outcome: Outcome
        statuses = expected_statuses(ran.report.tests, (*tests.fail_to_pass, *tests.pass_to_pass))
        failing = [name for name, status in statuses.items() if status != "PASSED"]
        if ran.timed_out:
            outcome, reason = "unresolved", f"the hidden tests did not finish within {tests.timeout:g} seconds"
        elif ran.reward is not None:
            outcome = "resolved" if ran.reward >= 1.0 else "unresolved"
            return Grade(outcome, ran.reward, reason=f"tests/test.sh gave {ran.reward:g}", output=ran.output)
        elif ran.report.forged:
            outcome, reason = "tampered", ran.report.forged
        elif ran.report.ended is None:
            outcome, reason = "unresolved", f"the test run ended early, with exit code {ran.exit_code}"
        elif ran.report.ended != ran.exit_code:
            outcome = "tampered"
            reason = f"the test run announced exit code {ran.report.ended} and ended with {ran.exit_code}"
        elif failing:
            outcome = "unresolved"
            reason = (
                f"{len(failing)} of {len(statuses)} tests did not pass, first {failing[0]} ({statuses[failing[0]]})"
            )
        else:
            outcome, reason = "resolved", f"all {len(statuses)} tests passed"
        return Grade(outcome, 1.0 if outcome == "resolved" else 0.0, statuses, reason, output=ran.output)


def expected_statuses(seen: Mapping[str, TestStatus], expected: tuple[str, ...]) -> dict[str, TestStatus]:
    """The status of each expected test; ``MISSING`` where it left no result."""
    return {name: seen.get(name, "MISSING") for name in expected}
