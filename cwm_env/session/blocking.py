"""A persistent bash in a sandbox, driven by one thread that waits."""

from __future__ import annotations

import fcntl
import os
import re
import select
import time
from collections.abc import Mapping
from types import TracebackType

from cwm_env.errors import SandboxError
from cwm_env.sandbox.base import Process, Sandbox
from cwm_env.session.output import Output
from cwm_env.session.protocol import ARGV, Done, Fallen, ShellProtocol, State
from cwm_env.types import CommandResult

TIMED_OUT = 124
"""The exit code of a command that was stopped at its time limit, as ``timeout(1)`` has it."""

_READ = 1 << 18
_START_SECONDS = 20.0
_SNAPSHOT_SECONDS = 5.0
_INTERRUPT_SECONDS, _KILL_SECONDS = 0.25, 0.25
# Before a text that may end or hurt the shell its state is taken, and otherwise when the last is this old.
_RISKY = re.compile(rb"\b(exit|exec|kill|pkill|killall|set|trap|logout|return|source|eval|ulimit)\b|(^|[;&|\s])\.\s")
_SNAPSHOT_AGE = 2.0


class BashSession:
    """One bash, whose state persists from command to command, and which is replaced when it dies.

    A command is handed to bash as a whole text, so heredocs, open quotes and syntax errors do what they would do in
    a script. Its standard input is empty. What it prints is returned; what it leaves running stays, and what that
    prints later shows in a later result. At the time limit it gets SIGINT, then all that it started is killed, then
    bash itself; the exit code is then 124. When bash dies, the next one gets the directory, variables, functions,
    aliases, options, umask and traps of the last good point, and the result says ``shell_restarted``.
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
        flag_file: str | None = None,
    ) -> None:
        """Start bash in ``sandbox``.

        Args:
            env: its whole environment; None takes the backend's default.
            command_timeout: seconds that a command may take, where ``run`` is not told otherwise.
            output_limit: bytes of output that a result keeps.
            flag_file: a path in the sandbox; results say in ``submitted`` whether it exists.

        Raises:
            SandboxError: bash does not start.
        """
        self._sandbox = sandbox
        self._env, self._user = env, user
        self._timeout, self._output_limit = command_timeout, output_limit
        self._flag_file = flag_file or "/dev/null/none"
        self._state: State | None = None
        self._state_time = 0.0
        self._flagged = False
        self.cwd = cwd
        self._start()

    def run(self, command: str, *, timeout: float | None = None) -> CommandResult:
        """Run ``command`` and wait until it has ended.

        Args:
            timeout: seconds; None takes the session's.

        Raises:
            SandboxError: the sandbox died.
        """
        started = time.perf_counter()
        text = command.encode("utf-8", "surrogateescape")
        if b"\0" in text:
            return CommandResult("bash: a command cannot hold a NUL byte\n", 2, self.cwd, 0.0, submitted=self._flagged)
        output = Output(self._output_limit)
        restarted = False
        if self._ended():  # since the last command, by something that one left running
            self._restart(output)
            restarted = True
        self._keep_state(text, output)
        boot = time.clock_gettime(time.CLOCK_BOOTTIME)
        done = self._exchange(self._protocol.command(text), output, self._timeout if timeout is None else timeout)
        timed_out = done is None and not self._lost
        if timed_out and not self._torn:
            done = self._stop_command(output, boot)
        if done is None:
            exit_code = self._restart(output)
            restarted = True
        else:
            exit_code = done.exit_code
            self.cwd, self._flagged = done.cwd, done.flagged
        shown, missing = output.text()
        return CommandResult(
            shown,
            TIMED_OUT if timed_out else exit_code,
            self.cwd,
            time.perf_counter() - started,
            timed_out=timed_out,
            truncated_bytes=missing,
            shell_restarted=restarted,
            submitted=self._flagged,
        )

    def close(self) -> None:
        """Let go of the shell. The sandbox and what runs in it are the caller's. Idempotent."""
        self._process.kill()
        self._process.close()

    def __enter__(self) -> BashSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        self._process: Process = self._sandbox.spawn(list(ARGV), env=self._env, cwd=self.cwd, user=self._user)
        os.set_blocking(self._process.stdin, False)
        self._pipe_size = fcntl.fcntl(self._process.stdout, fcntl.F_GETPIPE_SZ)
        self._protocol = ShellProtocol(self._flag_file)
        self._poll = select.poll()
        for descriptor in (self._process.stdout, self._process.stderr, self._process.exited):
            self._poll.register(descriptor, select.POLLIN)
        self._taken: State | None = None
        self._silent = self._torn = self._lost = False
        said = Output(4096)
        done = self._exchange(self._protocol.start(), said, _START_SECONDS)
        if done is None:
            raise SandboxError(f"bash did not start: {said.text()[0].strip() or self._protocol.noise}")
        self.cwd, self._flagged = done.cwd, done.flagged

    def _exchange(self, request: bytes, output: Output, seconds: float) -> Done | None:
        """Write a request and read until it is answered; None when bash has died or time is up."""
        deadline = time.monotonic() + seconds
        rest = self._write(request)
        if rest:
            self._poll.register(self._process.stdin, select.POLLOUT)
        try:
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    self._lost = self._ended()
                    return None
                ready = self._poll.poll(left * 1000)
                if rest and any(descriptor == self._process.stdin for descriptor, _ in ready):
                    rest = self._write(rest)
                    if not rest:
                        self._poll.unregister(self._process.stdin)
                done = self._take(ready, output)
                if done is not None or self._lost:
                    self._drain(output)
                    return done
        finally:
            # Half a request leaves bash where nothing can be said to it.
            self._torn = bool(rest)
            if rest:
                self._poll.unregister(self._process.stdin)

    def _write(self, data: bytes) -> bytes:
        """Write what the channel takes now; returns the rest."""
        try:
            return data[os.write(self._process.stdin, data) :]
        except BlockingIOError:
            return data
        except BrokenPipeError:
            return b""

    def _take(self, ready: list[tuple[int, int]], output: Output) -> Done | None:
        """Read what is there; the answer if it has come. Notes in ``_lost`` that bash has died."""
        done = None
        for descriptor, _ in ready:
            if descriptor == self._process.stdout:
                self._read_output(output, _READ)
            elif descriptor == self._process.stderr:
                data = _read(descriptor)
                if data == b"":  # bash is gone, or has become another program by `exec`
                    self._poll.unregister(descriptor)
                for event in self._protocol.feed(data or b""):
                    if isinstance(event, Done):
                        done = event
                    elif isinstance(event, State):
                        self._taken = event
                    elif isinstance(event, Fallen):
                        self._write(self._protocol.mend())
            elif descriptor == self._process.exited:
                self._lost = True
        return done

    def _read_output(self, output: Output, most: int) -> int:
        if self._silent:
            return 0
        data = _read(self._process.stdout, most)
        if data == b"":  # everything that could write has gone
            self._silent = True
            self._poll.unregister(self._process.stdout)
        output.add(data or b"")
        return len(data or b"")

    def _drain(self, output: Output) -> None:
        """Take what the command had written when it ended, at most what the pipe holds: others may go on writing."""
        left = self._pipe_size
        while left > 0 and (count := self._read_output(output, left)):
            left -= count

    def _ended(self) -> bool:
        return self._process.wait(0) is not None

    def _keep_state(self, text: bytes, output: Output) -> None:
        """Take a snapshot if the shell may not survive ``text``, or the last one is old."""
        now = time.monotonic()
        if now - self._state_time < _SNAPSHOT_AGE and not _RISKY.search(text):
            return
        self._taken = None
        if self._exchange(self._protocol.snapshot(), output, _SNAPSHOT_SECONDS) and self._taken:
            self._state, self._state_time = self._taken, now

    def _stop_command(self, output: Output, boot: float) -> Done | None:
        """Bring bash back to its prompt: SIGINT, then kill what the command started. None if it does not come."""
        self._process.interrupt()
        done = self._answer(output, _INTERRUPT_SECONDS)
        if done is None:
            self._sandbox.kill_processes(keep=(self._process.pid,), started_after=boot)
            done = self._answer(output, _KILL_SECONDS)
        else:
            # What ignored the signal, or moved to a session of its own, was started by the command all the same.
            self._sandbox.kill_processes(keep=(self._process.pid,), started_after=boot)
        return done

    def _answer(self, output: Output, seconds: float) -> Done | None:
        """Wait for the answer to the running command, or for bash to show otherwise that it is back."""
        return self._exchange(b"", output, seconds / 2) or self._exchange(self._protocol.mend(), output, seconds / 2)

    def _restart(self, output: Output) -> int:
        """Put a new bash in the place of one that is dead or does not answer; returns the old one's exit code."""
        self._process.kill()
        code = self._process.wait(_START_SECONDS)
        if code is None:
            raise SandboxError("bash does not die")
        self._drain(output)
        self._process.close()
        cwd, self.cwd = self.cwd, "/"
        flagged = self._flagged
        self._start()
        self._flagged = self._flagged or flagged
        state = self._state or State(b"")
        done = self._exchange(self._protocol.restore(state, cwd), output, _START_SECONDS)
        if done is None:
            raise SandboxError("a new bash did not take over the state of the old one")
        self.cwd = done.cwd
        return code


def _read(descriptor: int, most: int = _READ) -> bytes | None:
    """What is there to read: ``b""`` at end of file, None where nothing is there yet."""
    try:
        return os.read(descriptor, most)
    except BlockingIOError:
        return None
