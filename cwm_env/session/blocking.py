"""A persistent bash in a sandbox, driven by one thread that waits."""

from __future__ import annotations

import contextlib
import dataclasses
import select
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

from cwm_env.errors import SandboxError
from cwm_env.sandbox.base import Sandbox
from cwm_env.session.core import SessionCore
from cwm_env.session.settings import Settings
from cwm_env.session.shell import Answered, Call, Chunk, Steps, Wait
from cwm_env.types import CommandResult


class BashSession:
    """One bash, whose state persists from command to command, and which is replaced when it dies.

    A command is handed to bash as a whole text, so heredocs, open quotes and syntax errors do what they would do in
    a script. Its standard input is empty. What it prints is returned; what it leaves running stays, and what that
    prints later comes in a later result, as its ``late_output``. At the time limit it gets SIGINT, then all that it
    started is killed, then bash itself; the exit code is then 124. When bash dies, the next one gets the directory,
    variables, functions, aliases, options, umask and traps of the last good point, and the result says
    ``shell_restarted``.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        user: str = "root",
        command_timeout: float = 120.0,
        output_limit: int = 64 << 10,
        output_file_limit: int = 16 << 20,
        flag_file: str | None = None,
    ) -> None:
        """Start bash in ``sandbox``.

        Args:
            env: its whole environment; None takes the backend's default.
            command_timeout: seconds that a command may take, where ``run`` is not told otherwise.
            output_limit: bytes of output that a result keeps.
            output_file_limit: bytes of a longer output that are kept in a file in the sandbox; 0 for none.
            flag_file: a path in the sandbox; results say in ``submitted`` whether it exists.

        Raises:
            SandboxError: bash does not start.
        """
        settings = Settings(env, cwd, user, command_timeout, output_limit, output_file_limit, flag_file)
        self._poll = select.poll()
        self._core = SessionCore(sandbox, settings, self)
        try:
            self._drive(self._core.start())
        except BaseException:
            self.close()
            raise

    @property
    def cwd(self) -> str:
        """The shell's working directory after the last command."""
        return self._core.cwd

    def run(self, command: str, *, timeout: float | None = None) -> CommandResult:
        """Run ``command`` and wait until it has ended.

        Args:
            timeout: seconds; None takes the session's.

        Raises:
            SandboxError: the sandbox died.
        """
        return self._drive(self._core.run(command, timeout))

    def stream(self, command: str, *, timeout: float | None = None) -> Iterator[Chunk | CommandResult]:
        """Run ``command`` and hand out what it prints as it comes, and its ``CommandResult`` as the last item.

        Closing the generator early stops the command as its time limit would. A slow reader holds the command up, and
        its time limit too.

        Raises:
            SandboxError: the sandbox died.
        """
        steps = self._core.run(command, timeout, live=True)
        step = steps.send(None)
        while True:
            if isinstance(step, Chunk):
                try:
                    yield step
                except BaseException:
                    self._wind_up(steps, step)
                    raise
            answer = self._answer(step, steps)
            try:
                step = steps.send(answer)
            except StopIteration as end:
                yield end.value
                return

    def fork(self, sandbox: Sandbox) -> BashSession:
        """A session in a fork of this one's sandbox, whose bash goes on where this one stands.

        It has directory, variables, functions, aliases, options, umask and traps; jobs in the background stay here.

        Raises:
            SandboxError: a sandbox died, or bash does not start.
        """
        state, cwd = self._drive(self._core.hand_over())
        settings = {**dataclasses.asdict(self._core.settings), "cwd": "/"}
        twin = BashSession(sandbox, **settings)
        try:
            twin._drive(twin._core.take_over(state, cwd))
        except BaseException:
            twin.close()
            raise
        return twin

    def close(self) -> None:
        """Let go of the shell. The sandbox and what runs in it are the caller's. Idempotent."""
        self._core.kill()
        self._core.forget()

    def __enter__(self) -> BashSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def watch(self, descriptor: int, *, writing: bool = False, late: bool = False) -> None:
        """For the core: as ``Watcher``."""
        self._poll.register(descriptor, select.POLLOUT if writing else select.POLLIN)

    def unwatch(self, descriptor: int) -> None:
        """For the core: as ``Watcher``."""
        self._poll.unregister(descriptor)

    def _drive(self, steps: Steps[Answered]) -> Answered:
        """Carry ``steps`` through to their end."""
        try:
            step = steps.send(None)
            while True:
                step = steps.send(self._answer(step, steps))
        except StopIteration as end:
            answered: Answered = end.value
            return answered

    def _answer(self, step: Wait | Call | Chunk, steps: Steps[Any]) -> Any:
        """Do what ``steps`` asked for. Where something else breaks in (Ctrl-C), the command is stopped first."""
        try:
            return self._do(step)
        except SandboxError:
            steps.close()
            raise
        except BaseException:
            self._wind_up(steps, step)
            raise

    def _do(self, step: Wait | Call | Chunk) -> Any:
        if isinstance(step, Wait):
            left = step.deadline - time.monotonic()
            return [descriptor for descriptor, _ in self._poll.poll(left * 1000)] if left > 0 else ()
        return step.work() if isinstance(step, Call) else None

    def _wind_up(self, steps: Steps[Any], step: Wait | Call | Chunk) -> None:
        """Stop the running command, so that the next can run."""
        self._core.hurry()
        with contextlib.suppress(StopIteration):
            while True:
                step = steps.send(self._do(step))
