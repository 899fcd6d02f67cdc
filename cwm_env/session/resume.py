"""Goes on with a bash that another process of ours talked to until it was killed.

What that process had read is gone with it, so bash is asked for what it can still say: the exit code of the last
command that it ran. What stands before the answer is what the other process had not read.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from cwm_env.errors import SandboxError
from cwm_env.sandbox.base import Process
from cwm_env.session.core import TIMED_OUT, SessionCore
from cwm_env.session.output import Output
from cwm_env.session.protocol import Done, Event, ShellProtocol
from cwm_env.session.shell import Shell, Steps, Wait
from cwm_env.types import CommandResult

MISSED = "[... what it had printed before the server was restarted is lost ...]\n"
"""Stands first in an output of which the other process had read something."""

_ANSWER_SECONDS = 20.0
_ONE_WRITE = 64 << 10  # bytes that an idle channel takes whole or not at all


@dataclass(frozen=True, slots=True)
class Given:
    """A command that the other process had begun to give to bash, and nobody has heard of since."""

    nonce: bytes
    size: int
    """Bytes of the whole request."""
    shell: int
    """Id, in the sandbox, of the bash that it was given to."""
    begun: float
    """Of the monotonic clock, which all processes of the machine share."""
    status_read: bool
    """Whether anything was read of what bash says of itself since."""
    output_read: bool
    """Whether anything was read of what the command printed."""


@dataclass(frozen=True, slots=True)
class Left:
    """Where the other process had got to."""

    cwd: str
    given: Given | None = None


class ResumableCore(SessionCore):
    """A ``SessionCore`` that can begin with somebody else's bash."""

    def resume(self, process: Process, left: Left, timeout: float) -> Steps[CommandResult | None]:
        """Go on with ``process``, and bring the command that was given to its end.

        Args:
            timeout: seconds that the command gets from now on.

        Returns:
            Its result; None where none was given, or it never reached bash.

        Raises:
            SandboxError: what became of the command cannot be told, or the shell does not answer.
        """
        given, protocol = left.given, _ResumedProtocol(self.settings.flag_file, left.given)
        self.cwd, self._first_pid = left.cwd, process.pid
        shell = self._shell = Shell(process, protocol, self._watcher, self.marks)
        result = None
        if given is None:
            done = yield from shell.exchange(protocol.ask(), self._late, _within(_ANSWER_SECONDS))
            if done is None and not shell.lost:
                raise SandboxError("the shell does not answer since the server was restarted")
            if done is not None:
                self.cwd, self._flagged = done.cwd, done.flagged
        else:
            _check(given, process)
            result = yield from self._finish(shell, protocol, given, timeout)
        protocol.given = b""
        if not shell.lost:
            yield from self.measure()  # the shell's state is taken before the next command, for none is known
        return result

    def _finish(
        self, shell: Shell, protocol: _ResumedProtocol, given: Given, timeout: float
    ) -> Steps[CommandResult | None]:
        output = Output(self.settings.output_limit, self.settings.output_file_limit)
        restarted = timed_out = False
        jobs: tuple[str, ...] = ()
        try:
            wait = self._command_wait = Wait(0.0 if self._hurried else time.monotonic() + timeout)
            done = yield from shell.exchange(protocol.ask(), output, wait)
            timed_out = done is None and not shell.lost
            if timed_out:
                done = yield from self._stop_command(shell, output, given.begun)
            if done is None:
                exit_code, jobs = yield from self._replace(shell, output, given.begun if timed_out else None)
                restarted = True
            else:
                self.cwd, self._flagged = done.cwd, done.flagged
                if protocol.ended is not None:
                    exit_code = protocol.ended.exit_code
                elif given.status_read:
                    exit_code = done.exit_code
                elif output.total or timed_out:
                    raise SandboxError("what became of a command when the server was restarted cannot be told")
                else:
                    return None
            shown, missing = output.text()
            file = (yield from self._keep_file(output)) if missing else None
        finally:
            self._hurried, self._command_wait, self._idle_since = False, None, time.monotonic()
            output.close()
        return CommandResult.made(
            output=MISSED + shown if given.output_read else shown,
            exit_code=TIMED_OUT if timed_out else exit_code,
            cwd=self.cwd,
            duration=time.monotonic() - given.begun,
            timed_out=timed_out,
            truncated_bytes=missing,
            shell_restarted=restarted,
            submitted=self._flagged,
            output_file=file,
            surviving_jobs=jobs,
        )


class _ResumedProtocol(ShellProtocol):
    """Knows, until its own question was answered, the frame of the command that the other process had given."""

    def __init__(self, flag_file: str | None, given: Given | None) -> None:
        super().__init__(flag_file)
        self.given = given.nonce if given else b""
        self.ended: Done | None = None
        """What the command given came to, if its frame was still there to be read."""

    def ask(self) -> bytes:
        """Ask where bash is; ``Done`` follows, with the exit code of the last command that bash ran."""
        return self.private(b"")

    def _event(self, chunk: bytes) -> Event | None:
        if self.given and chunk.startswith(self.given):
            self.ended = self._done(chunk, self.given) or self.ended
            return None
        return super()._event(chunk)


def _check(given: Given, process: Process) -> None:
    if given.shell != process.pid:
        raise SandboxError("the shell ended under a command just when the server was restarted")
    if given.size > _ONE_WRITE and not (given.status_read or given.output_read):
        raise SandboxError("a long command was being given to the shell when the server was restarted")


def _within(seconds: float) -> Wait:
    return Wait(time.monotonic() + seconds)
