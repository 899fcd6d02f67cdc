"""The verdict on an episode."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace

from cwm_env.errors import GradingError, TaskError
from cwm_env.grading import hidden, rewards, runner, scan
from cwm_env.grading import patch as patches
from cwm_env.grading.gold import gold_patch
from cwm_env.grading.pristine import inspect
from cwm_env.grading.verdict import verdict
from cwm_env.sandbox.base import Backend, Sandbox
from cwm_env.types import Grade, HiddenTests, Image, Limits, Task

_DISK = 1 << 30
_PROCESSES = 512


class Grader:
    """Grades episodes of one task, one at a time, each in fresh clones of the task's image.

    What runs in a clone under the limits (crashes, floods, endless loops) is the policy's doing and ``unresolved``;
    exceptions are for our own failures.
    """

    def __init__(
        self, backend: Backend, image: Image, task: Task, *, reward: str | rewards.Reward = "pass-fail"
    ) -> None:
        """Nothing is started yet.

        Args:
            reward: turns the outcome into ``Grade.reward``: a name of ``rewards.REWARDS``, or a function.

        Raises:
            InputError: there is no such reward.
            TaskError: the reward compares with a solution, and the task has none.
        """
        self._backend = backend
        self._image = image
        self._tree = patches.tree_of(image, task.tests)
        self._task = task
        self._reward = rewards.named(reward)
        if self._reward in rewards.NEEDS_GOLD and task.solution is None:
            raise TaskError(f"task {task.id} has no solution/solve.sh that the reward {reward!r} could compare with")
        own = task.limits
        self._limits = replace(own, network="none", disk=max(own.disk, _DISK), processes=max(own.processes, _PROCESSES))
        self._phases: dict[str, float] = {}

    @property
    def limits(self) -> Limits:
        """What a clone may use while it grades: at least what an episode may, and never the network."""
        return self._limits

    def grade(self, episode: Sandbox) -> Grade:
        """Stop the episode for good, take its change as a patch, and grade that.

        Raises:
            GradingError: the verdict could not be formed.
            SandboxError: a sandbox failed.
        """
        started = time.perf_counter()
        self._phases = {}
        self._check()
        with self._phase("stop"):
            episode.stop()
        try:
            patch = self._take(episode, self._task.tests)
        except ValueError as error:
            return self._finished(_unresolved(f"the change cannot be graded: {error}"), started)
        ran = self.run_tests(patch.text)
        grade = ran if isinstance(ran, Grade) else verdict(self._task.tests, ran)
        suspicions = scan.scan(patch.text)
        trusted = grade.trusted and not (suspicions and grade.outcome == "resolved")
        grade = replace(grade, patch=patch.text, dropped=patch.dropped, ignored=patch.ignored)
        return self._finished(replace(grade, suspicions=suspicions, trusted=trusted), started)

    def grade_patch(self, patch: str) -> Grade:
        """Grade a patch in git's format, relative to the image's workdir, as if an episode had made that change.

        Raises:
            GradingError: the verdict could not be formed.
            SandboxError: a sandbox failed.
        """
        episode = self._backend.create(self._image, self._limits)
        try:
            complaint = patches.apply(episode, self._tree, patch)
            if complaint:
                return self._rewarded(replace(_unresolved(f"the patch does not apply: {complaint}"), patch=patch))
            return self.grade(episode)
        finally:
            episode.close()

    def run_tests(self, patch: str) -> runner.Ran | Grade:
        """Run the hidden tests on a fresh clone with ``patch``, all of which counts; a grade where it does not apply.

        Raises:
            GradingError: the tests could not be brought in.
            SandboxError: a sandbox failed.
        """
        tree, tests = self._tree, self._task.tests
        if tests.reinstall:
            built = self._reinstall(patch)
            if isinstance(built, Grade):
                return built
            patch = built
        with self._clone() as clone:
            with self._phase("prepare"):
                known = inspect(clone, tree)
                overlay = hidden.overlay_of(self._backend, tree, self._limits, tests, known)
                brought = hidden.prepare(clone, known, tree, tests, overlay)
            with self._phase("apply"):
                complaint = patches.apply(clone, tree, patch)
            if complaint:
                return _unresolved(f"the patch does not apply: {complaint}")
            with self._phase("bring"):
                brought.bring(clone)
            with self._phase("tests"):
                return runner.run_tests(clone, self._image, tests, brought)

    def _check(self) -> None:
        tests = self._task.tests
        if tests.runner != "script" and not tests.fail_to_pass:
            raise GradingError(
                f"task {self._task.id} does not say which tests must pass: "
                f"record them with `cwm-env tasks validate --record {self._task.id}`"
            )

    def _take(self, stopped: Sandbox, tests: HiddenTests) -> patches.Patch:
        with self._clone() as clone, self._phase("take"):
            return patches.take(stopped, clone, self._tree, tests)

    def _reinstall(self, patch: str) -> str | Grade:
        """The patch, with what the task's build commands make of the patched tree below the workdir.

        They run code of the agent's as root, in a clone of their own: nothing else of that clone is used.
        """
        tests = replace(self._task.tests, ignored=True)
        with self._clone() as clone:
            with self._phase("reinstall"):
                complaint = patches.apply(clone, self._tree, patch)
                if complaint:
                    return _unresolved(f"the patch does not apply: {complaint}")
                code, said = runner.run_bash(clone, self._image, tests.reinstall, tests.timeout)
                if code:
                    return _unresolved(f"the patched tree does not build, exit code {code}: {said[-300:].strip()}")
                clone.stop()
            try:
                return self._take(clone, tests).text
            except ValueError as error:
                return _unresolved(f"the patched tree does not build: {error}")

    def _rewarded(self, grade: Grade) -> Grade:
        if grade.reward is None or (self._reward is rewards.pass_fail and self._task.tests.runner == "script"):
            return grade  # a Harbor script says the reward itself
        gold = gold_patch(self._backend, self._image, self._task) if self._reward in rewards.NEEDS_GOLD else ""
        return replace(grade, reward=self._reward(grade, gold))

    def _finished(self, grade: Grade, started: float) -> Grade:
        phases = dict(self._phases)
        return self._rewarded(replace(grade, duration=time.perf_counter() - started, phases=phases))

    @contextlib.contextmanager
    def _clone(self) -> Iterator[Sandbox]:
        with self._phase("clone"):
            clone = self._backend.create(self._image, self._limits)
        try:
            yield clone
        finally:
            with self._phase("close"):
                clone.close()

    @contextlib.contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._phases[name] = self._phases.get(name, 0.0) + time.perf_counter() - started


def _unresolved(reason: str) -> Grade:
    return Grade("unresolved", 0.0, reason=reason, trusted=True)
