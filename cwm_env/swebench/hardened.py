"""The hardened verdict: our own grading, which a patch cannot talk to, in the words of a SWE-bench record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cwm_env.grading import Grader
from cwm_env.sandbox.base import Backend
from cwm_env.swebench.harness import LIMITS, apply_patch
from cwm_env.tasks.swebench import Record, reported_ids, task_of
from cwm_env.tasks.swebench.excuses import excused, remember
from cwm_env.types import Grade, Image, TestStatus


class Hardened:
    """Grades patches of one record, one at a time."""

    def __init__(self, backend: Backend, image: Image, record: Record, tests: Path, timeout: float) -> None:
        """Nothing runs yet.

        Args:
            tests: an empty directory on the host.
            timeout: seconds for the tests.
        """
        task = task_of(record, image.name, tests)
        self._task = replace(task, limits=LIMITS, tests=replace(task.tests, timeout=timeout))
        self._backend, self._image, self._record = backend, image, record
        self._ids = reported_ids(record)
        self._gold_known = excused(record) is not None

    def grade(self, patch: str) -> tuple[Grade, frozenset[str]]:
        """The grade of a model's patch, applied as the official harness does, and what passed, by the record's names.

        In the official grading a test that fails as expected has passed, and one of ``PASS_TO_PASS`` that is skipped.
        Here it has if the gold fix leaves it so, so that a patch cannot skip what it breaks.

        Raises:
            GradingError: the verdict could not be formed.
            SandboxError: a sandbox failed.
        """
        grade = self._graded(patch)
        left = [each for each in grade.tests.items() if each[1] != "PASSED"]
        if grade.outcome == "unresolved" and not self._gold_known and any(self._mild(*each) for each in left):
            self._learn(grade if patch == self._record.patch else self._graded(self._record.patch))
            if all(each in self._task.tests.excused for each in left):
                grade = self._graded(patch)
        excuses = self._task.tests.excused
        good = {id_ for id_, status in grade.tests.items() if status == "PASSED" or (id_, status) in excuses}
        return grade, frozenset(name for name, id_ in self._ids.items() if id_ in good)

    def _graded(self, patch: str) -> Grade:
        grader = Grader(self._backend, self._image, self._task)
        episode = self._backend.create(self._image, grader.limits)
        try:
            if patch.strip():
                applied, said = apply_patch(episode, self._image, patch)
                if not applied:
                    why = f"the patch does not apply: {' '.join(said.split())[:300]}"
                    return Grade("unresolved", 0.0, reason=why, patch=patch, trusted=True)
            return grader.grade(episode)
        finally:
            episode.close()

    def _mild(self, id_: str, status: TestStatus) -> bool:
        """Whether the official grading lets such a test pass."""
        to_pass = (self._ids.get(name) for name in self._record.fail_to_pass)
        return status == "XFAIL" or (status == "SKIPPED" and id_ not in to_pass)

    def _learn(self, gold: Grade) -> None:
        """Excuse what the gold fix leaves so."""
        found = tuple((id_, status) for id_, status in gold.tests.items() if self._mild(id_, status))
        self._task = replace(self._task, tests=replace(self._task.tests, excused=found))
        self._gold_known = True
        remember(self._record, found)
