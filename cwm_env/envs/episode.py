"""What an episode decides, without waiting for anything: turns, time, when it ends, and what is told about it.

``BashEnv`` and the server's episodes both ask here, so that a remote episode is a local one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from cwm_env.envs import prompts
from cwm_env.errors import InfrastructureError, InputError, TaskError
from cwm_env.tasks import resolve
from cwm_env.types import CommandResult, Grade, Image, Task

Ending = Literal["submitted", "turns", "time"]
"""Why an episode is over."""
Stepped = tuple[str, float, bool, bool, dict[str, Any]]
"""Observation, reward, terminated, truncated, info."""

OVERRIDES = ("command_timeout", "turns", "episode_timeout", "output")
"""The limits of a task that its user may set."""


def choose(task: str | Path | Task, overrides: Mapping[str, float]) -> Task:
    """The task that ``task`` means, with some of its limits replaced.

    Raises:
        TaskError: there is none, it does not hold together, or nobody has said which of its tests must pass.
        InputError: a limit cannot be.
    """
    for name, value in overrides.items():
        if value <= 0:
            raise InputError(f"{name} must be more than 0, not {value}")
    found = resolve(task)
    if found.tests.runner == "pytest" and not found.tests.fail_to_pass:
        raise TaskError(
            f"task {found.id} does not say which tests must pass: record them with "
            f"`cwm-env tasks validate --record {found.directory or found.id}`"
        )
    limits: dict[str, Any] = dict(overrides)
    return replace(found, limits=replace(found.limits, **limits))


class Episode:
    """The course of one episode. Its clock starts when this is made."""

    def __init__(self, task: Task, image: Image) -> None:
        self.task, self.image = task, image
        self.turns_left = task.limits.turns
        self._deadline = time.monotonic() + task.limits.episode_timeout

    def resume(self, turns: int, began: float) -> None:
        """Go on where another process has stopped.

        Args:
            turns: that were taken.
            began: when it made the episode, of the monotonic clock.
        """
        self.turns_left -= turns
        self._deadline = began + self.task.limits.episode_timeout

    def begin(self) -> tuple[str, dict[str, Any]]:
        """The first observation and its info."""
        return prompts.first(self.task, self.task.limits), {**self._info(), "instruction": self.task.instruction}

    @property
    def timeout(self) -> float:
        """Seconds that the next command may take."""
        return min(self.task.limits.command_timeout, max(self._deadline - time.monotonic(), 0.001))

    def count(self, result: CommandResult) -> Ending | None:
        """Count a turn; what has ended the episode, if it is over."""
        self.turns_left -= 1
        if result.submitted:
            return "submitted"
        if self.turns_left <= 0:
            return "turns"
        return "time" if time.monotonic() >= self._deadline else None

    def to_grade(self, ending: Ending | None) -> bool:
        """Whether an episode that ended so is graded."""
        return ending == "submitted" or (ending is not None and self.task.grade_on_truncation)

    def after(self, result: CommandResult, ending: Ending | None, grade: Grade | None) -> Stepped:
        """The five values of a step; ``info`` holds ``grade`` if the episode is over."""
        terminated = ending == "submitted"
        out_of = None if terminated else ending
        observation = prompts.after(result, self.turns_left, out_of, grade)
        info = {**self._info(), "result": result}
        if ending:
            info["grade"] = grade
        return observation, (grade.reward if grade and grade.reward else 0.0), terminated, out_of is not None, info

    def failed(self, error: InfrastructureError) -> Stepped:
        """The five values of the step under which the infrastructure failed."""
        return failed(self._info(), error)

    def _info(self) -> dict[str, Any]:
        return {"task": self.task.id, "image": self.image.digest, "turns_left": self.turns_left}


def failed(about: Mapping[str, Any], error: InfrastructureError) -> Stepped:
    """The five values of the step under which the infrastructure failed.

    Args:
        about: what ``info`` holds in every step.
    """
    info = {**about, "result": None, "grade": None, "failure": error.kind, "error": str(error)}
    return prompts.failed(error), 0.0, False, True, info
