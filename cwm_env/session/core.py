"""What a session decides, written once: when to keep the shell's state, how to stop a command, how to replace a shell.

Everything that takes time is a generator, see ``shell``; the drivers in ``blocking`` and ``aio`` only wait.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from cwm_env.errors import SandboxError
from cwm_env.sandbox.base import Process, Sandbox
from cwm_env.session import spool
from cwm_env.session.output import Output
from cwm_env.session.protocol import ARGV, NONCE, Done, Jobs, ShellProtocol, State
from cwm_env.session.settings import Settings
from cwm_env.session.shell import Call, LiveText, Marks, Shell, Steps, Wait, Watcher
from cwm_env.session.touching import touches_shell
from cwm_env.session.usage import LONG, Meter
from cwm_env.types import CommandResult

TIMED_OUT = 124
"""The exit code of a command that was stopped at its time limit, as ``timeout(1)`` has it."""

_START_SECONDS = 20.0
_PRIVATE_SECONDS = 5.0  # for what the session itself asks of bash
# From the limit to the next prompt a second may pass: three waits, and what killing and starting take.
_ANSWER_SECONDS = 0.1
# The shell's state is taken before and after a text that may change, hurt or end the shell, after a pause for thought,
# and where neither is seen, when the last is this old. Where taking it is slow, the last two take at most one part in
# so many of the time.
_PAUSE, _STATE_AGE, _STATE_SHARE = 0.25, 2.0, 100
_SIGNALLED = 128  # what is above is the exit code of a command that a signal has ended
_NOTHING_KNOWN: dict[str, Any] = {}
_NO_JOBS: tuple[str, ...] = ()


class SessionCore:
    """One bash, whose state persists from command to command, and which is replaced when it dies."""

    def __init__(self, sandbox: Sandbox, settings: Settings, watcher: Watcher) -> None:
        self._sandbox, self.settings, self._watcher = sandbox, settings, watcher
        self.pause, self.age = _PAUSE, _STATE_AGE  # a driver of many sets them otherwise
        self._shell: Shell | None = None
        self.cwd = settings.cwd
        self._flagged = False
        self._state = State(b"")
        self._late = Output(settings.output_limit)
        self._state_due = self._state_earliest = self._idle_since = 0.0
        self._files = self._first_pid = 0
        self._meter = Meter()
        self._touched = self._rested = self._hurried = self._midway = False
        self._command_wait: Wait | None = None
        self.marks: Marks | None = None

    def mark(self, marks: Marks) -> Process | None:
        """Make notes from now on; the bash that runs now, if one does."""
        self.marks, shell = marks, self._shell
        if shell is None:
            return None
        shell.marks = marks
        return shell.process

    def start(self) -> Steps[None]:
        """Start bash.

        Raises:
            SandboxError: it does not start.
        """
        settings, spawn = self.settings, self._sandbox.spawn
        process = yield Call(lambda: spawn(ARGV, env=settings.env, cwd=self.cwd, user=settings.user, shell_loop=True))
        self._first_pid = self._first_pid or process.pid
        shell = self._shell = Shell(process, ShellProtocol(settings.flag_file), self._watcher, self.marks)
        said = Output(4096)
        done = yield from shell.exchange(shell.protocol.start(), said, _within(_START_SECONDS))
        if done is None:
            self.forget()
            raise SandboxError(f"bash did not start: {said.text()[0].strip() or shell.protocol.noise}")
        if self.marks is not None:
            self.marks.started(process)
        self.cwd, self._flagged = done.cwd, self._flagged or done.flagged

    def run(self, command: str, timeout: float | None = None, *, live: bool = False) -> Steps[CommandResult]:
        """Run one command; with ``live`` its output is handed out in ``Chunk`` as it comes.

        Raises:
            SandboxError: the sandbox died.
        """
        text = command.encode("utf-8", "surrogateescape")
        if b"\0" in text:
            message = "bash: a command cannot hold a NUL byte\n"
            return CommandResult(message, 2, self.cwd, 0.0, submitted=self._flagged)
        started = time.monotonic()
        settings, shell = self.settings, self._shell
        if shell is None:
            raise SandboxError("the session was closed")
        late, output = self._late, Output(settings.output_limit, settings.output_file_limit)
        restarted, jobs = False, _NO_JOBS
        try:
            if self._midway or shell.stirred():
                restarted, jobs = yield from self._revive(shell, late)
            self._midway = True
            if self._is_time_for_state(text, started):
                yield from self._keep_state(self._shell or shell, late)
                if (self._shell or shell).lost:  # it died at this very moment
                    restarted, jobs = yield from self._revive(self._shell or shell, late)
            shell = self._shell or shell
            begun = time.monotonic()
            wait = Wait(0.0 if self._hurried else begun + (settings.command_timeout if timeout is None else timeout))
            self._command_wait = wait
            request = shell.protocol.command(text)
            if self.marks is not None:
                self.marks.gives(request[:NONCE], len(request), shell.process.pid)
            done = yield from shell.exchange(request, output, wait, LiveText() if live else None)
            timed_out = done is None and not shell.lost
            if timed_out:
                done = yield from self._stop_command(shell, output, begun)
            if done is None:
                exit_code, jobs = yield from self._replace(shell, output, begun if timed_out else None)
                restarted = True
            else:
                exit_code, self.cwd, self._flagged = done.exit_code, done.cwd, done.flagged
            self._midway = False
            duration = time.monotonic() - started
            shown, missing = output.text()
            used = _NOTHING_KNOWN
            failed = exit_code and (exit_code > _SIGNALLED or output.total)
            if failed or timed_out or missing or duration >= LONG or self._meter.news:
                now = yield Call(self._sandbox.usage)
                used = self._meter.told(now, shown, failed=exit_code != 0, flooded=missing > 0, timed_out=timed_out)
            else:
                self._meter.unmeasured += duration
            file = (yield from self._keep_file(output)) if missing else None
        finally:
            self._hurried, self._command_wait, self._idle_since = False, None, time.monotonic()
            output.close()
        if late.total:
            self._late = Output(settings.output_limit)
            used = {**used, "late_output": late.text()[0]}
        if restarted or missing or timed_out or self._flagged:  # else all is as it is by default
            used = {
                **used,
                "timed_out": timed_out,
                "truncated_bytes": missing,
                "shell_restarted": restarted,
                "submitted": self._flagged,
                "output_file": file,
                "surviving_jobs": jobs,
            }
        exit_code = TIMED_OUT if timed_out else exit_code
        return CommandResult.made(output=shown, exit_code=exit_code, cwd=self.cwd, duration=duration, **used)

    def hand_over(self) -> Steps[tuple[State, str]]:
        """What another bash needs to go on where this one stands: its state, and its directory."""
        if self._shell is None:
            raise SandboxError("the session was closed")
        if not (self._midway or self._shell.ended()):  # else the last good point is all that there is
            yield from self._keep_state(self._shell, self._late)
        return self._state, self.cwd

    def take_over(self, state: State, cwd: str) -> Steps[None]:
        """Go on, in a shell that has just started, where another one stood."""
        assert self._shell is not None
        self._state = state
        yield from self._restore(self._shell, cwd, self._late)

    @property
    def alive(self) -> bool:
        """Whether there is a shell."""
        return self._shell is not None

    def hurry(self) -> None:
        """Bring the running command to its time limit now; the generator then ends as after any time-out."""
        self._hurried = True
        if self._command_wait is not None:
            self._command_wait.deadline = 0.0

    def kill(self) -> None:
        """Kill the shell. Blocks for a moment."""
        if self._shell is not None:
            self._shell.process.kill()

    def forget(self) -> None:
        """Let go of the shell's descriptors."""
        shell, self._shell = self._shell, None
        if shell is not None:
            shell.forget()

    def _revive(self, shell: Shell, late: Output) -> Steps[tuple[bool, tuple[str, ...]]]:
        """Take what was written since the last command, and replace a shell that has died or was left midway.

        Returns:
            Whether it was replaced, and what it left running.
        """
        shell.drain(late)
        if not (self._midway or shell.ended()):
            return False, _NO_JOBS
        _, jobs = yield from self._replace(shell, late, None)
        return True, jobs

    def _is_time_for_state(self, text: bytes, now: float) -> bool:
        touched, self._touched = self._touched, touches_shell(text)
        self._rested = now >= self._state_earliest and now - self._idle_since >= self.pause
        return touched or self._touched or self._rested or now >= self._state_due

    def _keep_state(self, shell: Shell, late: Output) -> Steps[None]:
        """Take a snapshot of the shell, and after a pause see what the sandbox has used so far."""
        now = time.monotonic()
        shell.taken = None
        done = yield from shell.exchange(shell.protocol.snapshot(), late, _within(_PRIVATE_SECONDS))
        if done and shell.taken:
            self._state = shell.taken
        taken = time.monotonic()
        self._state_earliest = taken + (taken - now) * _STATE_SHARE
        self._state_due = max(taken + self.age, self._state_earliest)
        if self._rested:
            yield from self.measure()

    def measure(self) -> Steps[None]:
        """See what the sandbox has used so far: what a command has used is told against that."""
        self._meter.begin((yield Call(self._sandbox.usage)))

    def _stop_command(self, shell: Shell, output: Output, begun: float) -> Steps[Done | None]:
        """Bring bash back to its prompt: SIGINT, then kill what the command started. None if it does not come."""
        if shell.torn:
            return None
        self._meter.glance((yield Call(self._sandbox.usage)))
        yield Call(shell.process.interrupt)
        done = yield from self._answer(shell, output)
        # What ignored the signal, or moved to a session of its own, was started by the command all the same.
        if not shell.lost:
            yield Call(lambda: self._kill_started_after(begun, keep=(shell.process.pid,)))
        return done or (yield from self._answer(shell, output))

    def _kill_started_after(self, begun: float, keep: Collection[int] = ()) -> None:
        since_boot = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
        self._sandbox.kill_processes(keep=keep, started_after=begun + since_boot)

    def _answer(self, shell: Shell, output: Output) -> Steps[Done | None]:
        """Wait for the answer to the running command, or for bash to show otherwise that it is back."""
        if shell.lost:
            return None
        done = yield from shell.exchange(b"", output, _within(_ANSWER_SECONDS))
        if done or shell.lost:
            return done
        return (yield from shell.exchange(shell.protocol.mend(), output, _within(_ANSWER_SECONDS)))

    def _replace(self, old: Shell, output: Output, begun: float | None) -> Steps[tuple[int, tuple[str, ...]]]:
        """Put a new bash in the place of one that is dead or does not answer.

        Args:
            begun: kill also what started after this moment of the monotonic clock.

        Returns:
            The old one's exit code, and what it started and left running.
        """
        yield Call(old.process.kill)
        last = _within(_START_SECONDS)
        while (code := old.process.wait(0)) is None:
            yield from old.exchange(b"", output, last)
            if time.monotonic() >= last.deadline:
                raise SandboxError("bash does not die")
        if begun is not None:
            yield Call(lambda: self._kill_started_after(begun))
        old.drain(output)
        self.forget()
        cwd, self.cwd = self.cwd, "/"
        yield from self.start()
        new: Shell | None = self._shell
        assert new is not None
        yield from new.exchange(new.protocol.jobs(old.process.pid), output, _within(_PRIVATE_SECONDS))
        yield from self._restore(new, cwd, output)
        jobs: Jobs | None = new.jobs
        return code, jobs.processes if jobs else ()

    def _restore(self, shell: Shell, cwd: str, output: Output) -> Steps[None]:
        done = yield from shell.exchange(shell.protocol.restore(self._state, cwd), output, _within(_START_SECONDS))
        if done is None:
            raise SandboxError("a new bash did not take over the state of the old one")
        self.cwd = done.cwd

    def _keep_file(self, output: Output) -> Steps[str | None]:
        if output.spooled is None:
            return None
        self._files += 1
        shell, number, file = self._first_pid, self._files, output.spooled
        path: str | None = yield Call(lambda: spool.deliver(self._sandbox, file, shell, number, self.settings.user))
        return path


def _within(seconds: float) -> Wait:
    return Wait(time.monotonic() + seconds)
