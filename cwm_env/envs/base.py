"""What ``BashEnv`` and ``RemoteEnv`` have in common: Gymnasium's contract around an episode, wherever it runs."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import gymnasium

from cwm_env.envs.episode import Stepped
from cwm_env.envs.spaces import AnyText
from cwm_env.errors import InputError
from cwm_env.text import harmless
from cwm_env.types import Task


class ShellEnv(gymnasium.Env[str, str]):
    """An environment whose actions and observations are text, of which one episode runs at a time."""

    metadata: dict[str, Any] = {"render_modes": ["ansi", "human"], "render_fps": 4}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self, render_mode: str | None) -> None:
        """
        Raises:
            InputError: there is no such mode.
        """
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise InputError(f"render_mode must be 'ansi' or 'human', not {render_mode!r}")
        self.action_space = AnyText()
        self.observation_space = AnyText()
        self.render_mode = render_mode
        self._frame = ""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode in a fresh clone; the observation is the instruction.

        Args:
            seed: seeds the spaces and ``np_random``; the sandbox itself has no randomness to seed.
            options: ``{"task": …}`` switches to another task.

        Raises:
            TaskError: ``options`` names a task that does not exist.
            InfrastructureError: the image cannot be built, or no sandbox can be made.
        """
        super().reset(seed=seed)
        options = options or {}
        if unknown := set(options) - {"task"}:
            raise InputError(f"reset knows the option 'task' only, not {', '.join(sorted(map(repr, unknown)))}")
        self._end()
        observation, info = self._begin(options.get("task"), seed)
        self._show(observation)
        return observation, info

    def step(self, action: str) -> Stepped:
        """Run one action in the shell; after ``submit``, grade.

        Raises:
            InputError: the episode has ended, or never began: call ``reset``.
        """
        if not self._running:
            raise InputError("no episode is running: call reset() first")
        if not isinstance(action, str):
            raise InputError(f"an action is text, not {type(action).__name__}")
        stepped = self._act(action)
        self._show(f"$ {action}\n{stepped[0]}")
        return stepped

    def render(self) -> str | None:
        """The last thing that happened, as text, in mode ``ansi``; in mode ``human`` it is printed as it happens."""
        return self._frame if self.render_mode == "ansi" else None

    def close(self) -> None:
        """End the episode and free its sandbox. Idempotent."""
        self._end()

    @property
    @abstractmethod
    def _running(self) -> bool:
        """Whether an episode has begun and not ended."""

    @abstractmethod
    def _begin(self, task: str | Path | Task | None, seed: int | None) -> tuple[str, dict[str, Any]]:
        """Start an episode, of another task if one is given."""

    @abstractmethod
    def _act(self, action: str) -> Stepped:
        """Run one action, and end the episode if it is over."""

    @abstractmethod
    def _end(self) -> None:
        """End the episode if one runs. Idempotent."""

    def _show(self, text: str) -> None:
        self._frame = text
        if self.render_mode == "human":
            print(harmless(text), flush=True)
