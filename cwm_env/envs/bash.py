"""``BashEnv``: one persistent bash in a clone of a task's image; the reward comes from hidden tests."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium

from cwm_env.envs import prompts
from cwm_env.envs.shell import open_session
from cwm_env.envs.spaces import AnyText
from cwm_env.errors import InfrastructureError, InputError, TaskError
from cwm_env.grading import Grader
from cwm_env.grading.rewards import Reward, named
from cwm_env.images import ImageStore
from cwm_env.sandbox.base import Backend, Sandbox
from cwm_env.sandbox.registry import backend as backend_named
from cwm_env.session import BashSession
from cwm_env.tasks import resolve
from cwm_env.text import harmless
from cwm_env.types import CommandResult, Grade, Image, Task


class BashEnv(gymnasium.Env[str, str]):
    """An agent that speaks only bash works on a repository until it runs ``submit``.

    Observations and actions are text (``AnyText``). An action is what a person would type at a shell: any number
    of lines. ``step`` returns what it printed, then one line with exit code, directory and turns left.

    ``info`` holds ``task`` (id), ``image`` (digest), ``turns_left`` and, after a step, ``result`` (a
    ``CommandResult``). The last step adds ``grade`` (a ``Grade``, or None if nothing was graded). After a failure of
    the infrastructure the episode is truncated and ``failure`` names its kind: leave such an episode out, its reward
    of 0.0 says nothing. ``reset`` adds ``instruction``.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi", "human"], "render_fps": 4}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self,
        task: str | Path | Task,
        backend: str = "namespaces",
        *,
        command_timeout: float | None = None,
        turns: int | None = None,
        episode_timeout: float | None = None,
        output: int | None = None,
        reward: str | Reward = "pass-fail",
        images: ImageStore | None = None,
        render_mode: str | None = None,
    ) -> None:
        """Choose the task; nothing is started before ``reset``.

        Args:
            task: a shipped task's id, the path of a task's directory, or a ``Task``.
            backend: name of a sandbox backend.
            command_timeout: seconds a command may take; None takes the task's, as for the next three.
            turns: steps until the episode is truncated.
            episode_timeout: seconds until the episode is truncated.
            output: bytes of a command's output that an observation keeps.
            reward: what a verdict is worth: ``pass-fail``, ``signed``, ``share``, ``similarity``, or a function
                (``grading.rewards``). An episode that ends without a verdict is worth 0.
            images: where images are kept.
            render_mode: ``ansi`` or ``human``.

        Raises:
            TaskError: there is no such task, or it does not hold together.
            InputError: another argument is wrong.
        """
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise InputError(f"render_mode must be 'ansi' or 'human', not {render_mode!r}")
        given: dict[str, Any] = {
            "command_timeout": command_timeout,
            "turns": turns,
            "episode_timeout": episode_timeout,
            "output": output,
        }
        self._overrides = {name: value for name, value in given.items() if value is not None}
        for name, value in self._overrides.items():
            if value <= 0:
                raise InputError(f"{name} must be more than 0, not {value}")
        self.action_space = AnyText()
        self.observation_space = AnyText()
        self.render_mode = render_mode
        self._images = images
        self._reward = named(reward)
        self._backend: Backend = backend_named(backend)
        self._sandbox: Sandbox | None = None
        self._session: BashSession | None = None
        self._frame = ""
        self._choose(task)

    @property
    def task(self) -> Task:
        """The task of the current or next episode, with this environment's limits."""
        return self._task

    @property
    def sandbox(self) -> Sandbox | None:
        """The running episode's sandbox, for tools that look into it; None between episodes."""
        return self._sandbox

    @property
    def image(self) -> Image:
        """The image of the current or last episode; there is none before the first ``reset``."""
        return self._image

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
        if "task" in options:
            self._choose(options["task"])
        self._image = (self._images or ImageStore()).get(self._task.image)
        self._limits = self._task.limits
        self._turns_left = self._limits.turns
        self._deadline = time.monotonic() + self._limits.episode_timeout
        self._sandbox = self._backend.create(self._image, self._limits)
        try:
            self._session = open_session(self._sandbox, self._image, self._limits)
        except BaseException:
            self._end()
            raise
        observation = prompts.first(self._task, self._limits)
        self._show(observation)
        return observation, {**self._info(), "instruction": self._task.instruction}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Run one action in the shell; after ``submit``, grade.

        Raises:
            InputError: the episode has ended, or never began: call ``reset``.
        """
        if self._session is None:
            raise InputError("no episode is running: call reset() first")
        if not isinstance(action, str):
            raise InputError(f"an action is text, not {type(action).__name__}")
        try:
            result = self._run(action)
            self._turns_left -= 1
            terminated = result.submitted
            out_of = None if terminated else self._exhausted()
            grade = self._grade(terminated) if terminated or out_of else None
        except InfrastructureError as error:
            return self._failed(action, error)
        observation = prompts.after(result, self._turns_left, out_of, grade)
        self._show(f"$ {action}\n{observation}")
        info = {**self._info(), "result": result}
        if terminated or out_of:
            info["grade"] = grade
            self._end()
        return observation, (grade.reward if grade and grade.reward else 0.0), terminated, bool(out_of), info

    def render(self) -> str | None:
        """The last thing that happened, as text, in mode ``ansi``; in mode ``human`` it is printed as it happens."""
        return self._frame if self.render_mode == "ansi" else None

    def close(self) -> None:
        """End the episode and free its sandbox. Idempotent."""
        self._end()

    def _choose(self, task: str | Path | Task) -> None:
        found = resolve(task)
        if found.tests.runner == "pytest" and not found.tests.fail_to_pass:
            raise TaskError(
                f"task {found.id} does not say which tests must pass: record them with "
                f"`cwm-env tasks validate --record {found.directory or found.id}`"
            )
        self._task = replace(found, limits=replace(found.limits, **self._overrides))

    def _run(self, action: str) -> CommandResult:
        assert self._session is not None
        seconds_left = max(self._deadline - time.monotonic(), 0.001)
        return self._session.run(action, timeout=min(self._limits.command_timeout, seconds_left))

    def _exhausted(self) -> str | None:
        """What the episode has run out of."""
        if self._turns_left <= 0:
            return "turns"
        return "time" if time.monotonic() >= self._deadline else None

    def _grade(self, submitted: bool) -> Grade | None:
        assert self._sandbox is not None
        if not submitted and not self._task.grade_on_truncation:
            return None
        return Grader(self._backend, self._image, self._task, reward=self._reward).grade(self._sandbox)

    def _failed(self, action: str, error: InfrastructureError) -> tuple[str, float, bool, bool, dict[str, Any]]:
        observation = prompts.failed(error)
        self._show(f"$ {action}\n{observation}")
        info = {**self._info(), "result": None, "grade": None, "failure": error.kind, "error": str(error)}
        self._end()
        return observation, 0.0, False, True, info

    def _info(self) -> dict[str, Any]:
        return {"task": self._task.id, "image": self._image.digest, "turns_left": self._turns_left}

    def _show(self, text: str) -> None:
        self._frame = text
        if self.render_mode == "human":
            print(harmless(text), flush=True)

    def _end(self) -> None:
        session, sandbox, self._session, self._sandbox = self._session, self._sandbox, None, None
        if session is not None:
            session.close()
        if sandbox is not None:
            sandbox.close()
