"""``BashEnv``: one persistent bash in a clone of a task's image; the reward comes from hidden tests."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cwm_env.envs import episode
from cwm_env.envs.base import ShellEnv
from cwm_env.envs.episode import Episode, Stepped
from cwm_env.envs.shell import open_session, open_terminal
from cwm_env.errors import InfrastructureError, InputError
from cwm_env.grading import Grader
from cwm_env.grading.rewards import Reward, named
from cwm_env.images import ImageStore
from cwm_env.sandbox.base import Backend, Sandbox
from cwm_env.sandbox.registry import backend as backend_named
from cwm_env.session import BashSession
from cwm_env.types import Grade, Image, Task

if TYPE_CHECKING:
    from cwm_env.session import TerminalSession


class BashEnv(ShellEnv):
    """An agent that speaks only bash works on a repository until it runs ``submit``.

    Observations and actions are text (``AnyText``). An action is what a person would type at a shell: any number
    of lines. ``step`` returns what it printed, then one line with exit code, directory and turns left.

    ``info`` holds ``task`` (id), ``image`` (digest), ``turns_left`` and, after a step, ``result`` (a
    ``CommandResult``). The last step adds ``grade`` (a ``Grade``, or None if nothing was graded). After a failure of
    the infrastructure the episode is truncated and ``failure`` names its kind: leave such an episode out, its reward
    of 0.0 says nothing. ``reset`` adds ``instruction``.
    """

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
        terminal: bool = False,
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
            terminal: whether the agent sits at a terminal, where an action is keystrokes (``session.keys``) and an
                observation the screen.
            images: where images are kept.
            render_mode: ``ansi`` or ``human``.

        Raises:
            TaskError: there is no such task, or it does not hold together.
            InputError: another argument is wrong.
        """
        super().__init__(render_mode)
        given: dict[str, Any] = {
            "command_timeout": command_timeout,
            "turns": turns,
            "episode_timeout": episode_timeout,
            "output": output,
        }
        self._overrides = {name: value for name, value in given.items() if value is not None}
        self._images = images
        self._reward = named(reward)
        self._backend: Backend = backend_named(backend)
        self._sandbox: Sandbox | None = None
        self._session: BashSession | TerminalSession | None = None
        self._open = open_terminal if terminal else open_session
        self._task = episode.choose(task, self._overrides)

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

    def prepare(self, progress: Callable[[str], None] | None = None) -> None:
        """Build the task's image where it is missing, as ``reset`` would, and say what takes time.

        Raises:
            ImageError: it cannot be built.
        """
        (self._images or ImageStore()).get(self._task.image, progress=progress)

    def fork(self) -> BashEnv:
        """Another environment, whose episode goes on from where this one stands; for tree search.

        Files, the shell's state, the turns and the time left are copied. Processes are not: what runs in the
        background goes on here only. Both are closed on their own.

        Raises:
            InputError: no episode is running, or the agent sits at a terminal.
            SandboxError: the copy could not be made.
        """
        if self._session is None or self._sandbox is None:
            raise InputError("no episode is running: call reset() first")
        if not isinstance(self._session, BashSession):
            raise InputError("an episode at a terminal cannot be forked: its programs would be missing in the copy")
        twin = copy.copy(self)
        twin._episode = copy.copy(self._episode)
        twin._sandbox = self._backend.fork(self._sandbox)
        try:
            twin._session = self._session.fork(twin._sandbox)
        except BaseException:
            twin._sandbox.close()
            raise
        return twin

    @property
    def _running(self) -> bool:
        return self._session is not None

    def _begin(self, task: str | Path | Task | None, seed: int | None) -> tuple[str, dict[str, Any]]:
        if task is not None:
            self._task = episode.choose(task, self._overrides)
        self._image = (self._images or ImageStore()).get(self._task.image)
        self._episode = Episode(self._task, self._image)
        self._sandbox = self._backend.create(self._image, self._task.limits)
        try:
            self._session = self._open(self._sandbox, self._image, self._task.limits)
        except BaseException:
            self._end()
            raise
        return self._episode.begin()

    def _act(self, action: str) -> Stepped:
        assert self._session is not None
        try:
            result = self._session.run(action, timeout=self._episode.timeout)
            ending = self._episode.count(result)
            grade = self._grade() if self._episode.to_grade(ending) else None
            stepped = self._episode.after(result, ending, grade)
        except InfrastructureError as error:
            stepped = self._episode.failed(error)
        if stepped[2] or stepped[3]:
            self._end()
        return stepped

    def _grade(self) -> Grade:
        assert self._sandbox is not None
        return Grader(self._backend, self._image, self._task, reward=self._reward).grade(self._sandbox)

    def _end(self) -> None:
        session, sandbox, self._session, self._sandbox = self._session, self._sandbox, None, None
        if session is not None:
            session.close()
        if sandbox is not None:
            sandbox.close()
