"""A persistent bash in a sandbox, driven by an event loop: thousands on one, without a thread each."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType

from cwm_env.sandbox.base import Process, Sandbox
from cwm_env.session.driver import Driver, Ended
from cwm_env.session.resume import Left, ResumableCore
from cwm_env.session.settings import Settings
from cwm_env.session.shell import Call, Chunk, Marks, Steps
from cwm_env.types import CommandResult

_STATE_AGE = 60.0  # seconds
_MOST_CHUNKS = 16  # that wait for a slow reader before the command is held up


class AsyncBashSession(Driver):
    """``BashSession`` for asyncio: the same decisions, made by the same code.

    Made by ``await AsyncBashSession.open(…)``, on the loop that it belongs to. Commands given at the same time run
    one after the other. A cancelled ``run`` stops its command as the time limit would, within a second and without
    being waited for; the next command waits until that is done.

    Only what blocks for a moment goes through the loop's own few threads: to start a shell, to signal one, and to
    kill what a command left. A step needs none of them.
    """

    def __init__(self, sandbox: Sandbox, settings: Settings) -> None:
        """Use ``open``."""
        super().__init__()
        self._core = ResumableCore(sandbox, settings, self)
        # Among thousands every session pauses between two commands, for seconds: to take each one's state whenever
        # there seems to be time would be more than all of the loop's. What changes it is seen all the same.
        self._core.age = _STATE_AGE
        self._core.pause = math.inf
        self._chunks: deque[Chunk] = deque()
        self._news: asyncio.Event | None = None
        self._held = False

    @classmethod
    async def open(
        cls,
        sandbox: Sandbox,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        user: str = "root",
        command_timeout: float = 120.0,
        output_limit: int = 64 << 10,
        output_file_limit: int = 16 << 20,
        flag_file: str | None = None,
    ) -> AsyncBashSession:
        """Start bash in ``sandbox``; the arguments are those of ``BashSession``.

        Raises:
            SandboxError: bash does not start.
        """
        settings = Settings(env, cwd, user, command_timeout, output_limit, output_file_limit, flag_file)
        session = cls(sandbox, settings)
        try:
            await session._drive(session._core.start())
            await session._drive(session._core.measure())  # there will be no pauses to do it in
        except BaseException:
            await session.close()
            raise
        return session

    def mark(self, marks: Marks) -> Process | None:
        """Make notes for who goes on with the bash when this process was killed; the bash that runs now, if any."""
        return self._core.mark(marks)

    async def resume(self, process: Process, left: Left, timeout: float) -> CommandResult | None:
        """Begin with a bash that another process has left, instead of ``open``; see ``ResumableCore.resume``.

        Raises:
            SandboxError: what became of a command cannot be told, or the sandbox died.
        """
        result: CommandResult | None = await self._drive(self._core.resume(process, left, timeout))
        return result

    @property
    def cwd(self) -> str:
        """The shell's working directory after the last command."""
        return self._core.cwd

    async def run(self, command: str, *, timeout: float | None = None) -> CommandResult:
        """Run ``command``, as ``BashSession.run``.

        Raises:
            SandboxError: the sandbox died.
        """
        result: CommandResult = await self._drive(self._core.run(command, timeout))
        return result

    def begin(self, command: str, timeout: float | None, ended: Ended) -> None:
        """As ``run``, without a task: ``ended`` is called, at the latest a second after the time limit."""
        self._begin(self._core.run(command, timeout), ended)

    async def stream(
        self, command: str, *, timeout: float | None = None
    ) -> AsyncGenerator[Chunk | CommandResult, None]:
        """Run ``command`` and hand out what it prints as it comes, and its ``CommandResult`` as the last item.

        Closing the generator early stops the command as its time limit would. A slow reader holds the command up.

        Raises:
            SandboxError: the sandbox died.
        """
        self._news = news = asyncio.Event()
        running = asyncio.ensure_future(self._drive(self._core.run(command, timeout, live=True)))
        running.add_done_callback(lambda _: news.set())
        self._loop.call_soon(self.look)
        try:
            while not running.done():
                await news.wait()
                news.clear()
                while self._chunks:
                    yield self._chunks.popleft()
                if self._held:
                    self._held = False
                    self._advance(None)
            yield await running
        finally:
            self._chunks.clear()
            running.cancel()

    async def close(self) -> None:
        """Let go of the shell, after at most a second if a command runs. Idempotent."""
        if self._steps is not None:
            self._stop()
        await self._drive(self._end())
        if self._timer is not None:
            self._timer.cancel()

    async def __aenter__(self) -> AsyncBashSession:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _end(self) -> Steps[None]:
        if self._core.alive:
            yield Call(self._core.kill)
            self._core.forget()

    def _hand_out(self, chunk: Chunk) -> bool:
        """Queue a chunk; False where the reader is behind, who then goes on with us."""
        if self._news is None:
            return True
        self._chunks.append(chunk)
        self._news.set()
        self._held = len(self._chunks) >= _MOST_CHUNKS
        return not self._held

    def _stop(self) -> None:
        """Bring the running command to its time limit."""
        self._core.hurry()
        self._release()
        wait = self._waiting
        if wait is not None and wait.deadline <= time.monotonic():
            self._waiting = None
            self._advance(())

    def _release(self) -> None:
        """Go on without the reader of chunks."""
        self._news = None
        if self._held:
            self._held = False
            self._advance(None)
