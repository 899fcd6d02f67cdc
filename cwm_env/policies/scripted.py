"""Policies that know what they will do: the gold solution, nothing at all, a script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cwm_env.errors import InputError
from cwm_env.types import Task

SUBMIT = "submit"


class ScriptPolicy:
    """Takes the given actions in turn, then submits."""

    def __init__(self, name: str, actions: Sequence[str]) -> None:
        self.name = name
        self._actions = actions

    def begin(self, task: Task) -> None:
        """Start from the first action."""
        self._left: Iterator[str] = iter(self._actions)

    def act(self, observation: str) -> str:
        """The next action, whatever was observed."""
        return next(self._left, SUBMIT)


class GoldPolicy(ScriptPolicy):
    """Runs the task's own solution as one action, then submits."""

    def __init__(self) -> None:
        super().__init__("gold", ())

    def begin(self, task: Task) -> None:
        """Take up the task's solution."""
        if task.solution is None:
            raise InputError(f"task {task.id} has no solution/solve.sh, so the policy 'gold' cannot act in it")
        self._actions = (task.solution,)
        super().begin(task)


def noop() -> ScriptPolicy:
    """Submits at once."""
    return ScriptPolicy("noop", ())


def from_file(path: Path) -> ScriptPolicy:
    """Runs a bash script's text as one action, then submits.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        return ScriptPolicy(f"script:{path.name}", (path.read_text(encoding="utf-8"),))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{path}: the script cannot be read: {reason}") from None
