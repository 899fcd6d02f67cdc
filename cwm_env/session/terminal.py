"""A terminal in a sandbox: keystrokes in, a screen out.

``script`` holds the pty inside the sandbox, so that the three streams of any backend suffice: its standard input is the
keyboard, its standard output what the terminal shows. Its standard error becomes a channel on which bash says, before
each command and each prompt, where it is. pexpect reads and writes, pyte draws the screen.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import select
import struct
import termios
import time
from collections.abc import Mapping
from types import TracebackType

from pexpect import EOF, TIMEOUT, fdpexpect

from cwm_env.errors import SandboxError
from cwm_env.sandbox.base import Process, Sandbox
from cwm_env.session import keys
from cwm_env.session.blocking import BashSession
from cwm_env.session.foreground import Foreground, ForegroundWatch
from cwm_env.session.output import Output, decoded
from cwm_env.session.screen import Screen
from cwm_env.session.usage import Meter
from cwm_env.types import CommandResult

RUNNING = -1
"""The exit code of a command that has none yet."""

_QUIET_SECONDS = 0.01  # before it is asked whether the program waits; doubled up to the second figure while it does not
_MOST_QUIET_SECONDS = 0.16
# Of silence, before a program that polls until a time of its own counts as waiting (an editor on its way out waits a
# moment for the terminal's answer), and where nobody can say what it does.
_DOZE_SECONDS, _BLIND_SECONDS = 0.25, 0.4
_SILENCE = {Foreground.WAITS: 0.0, Foreground.DOZES: _DOZE_SECONDS, Foreground.UNKNOWN: _BLIND_SECONDS}
_START_SECONDS = 20.0

_RC = (
    r"""bind 'set enable-bracketed-paste off'; PS1='\$ '; PS0='$(printf "\0@NONCE@ S 0 /\0" >&250)'; unset HISTFILE; """
    r"""PROMPT_COMMAND=([1]='printf "\0@NONCE@ P %s %s\0" "$?" "$PWD" >&250'); printf '\0@NONCE@ I %s /\0' $$ >&250"""
)
_START = """exec 250>&2; export SHELL="$BASH" __cwm_rc="$0"; exec script -qfc 'stty sane rows @ROWS@ cols @COLUMNS@
exec bash --noprofile --rcfile <(printf %s "$__cwm_rc"; echo; echo unset __cwm_rc) -i' /dev/null"""


class TerminalSession:
    """A bash on a pty, driven by keystrokes as a person would.

    ``run`` sends keys (see ``keys.encode``) and returns when the command has ended, or when the program in the
    foreground waits for more. Its result has the ``screen``, and as ``output`` all that was written to it meanwhile;
    ``running`` is True until the command has ended, and ``exit_code`` is then -1. Nothing is stopped at the time limit:
    send ``<C-c>``. When the shell ends, another takes its place in the same directory.

    ``child`` is pexpect's, to ``expect`` with between two ``run``: what it reads is on the screen all the same.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        user: str = "root",
        rows: int = 24,
        columns: int = 80,
        command_timeout: float = 120.0,
        output_limit: int = 64 << 10,
        flag_file: str | None = None,
    ) -> None:
        """Open a terminal of ``rows`` by ``columns`` characters; the other arguments are those of ``BashSession``.

        Raises:
            SandboxError: it does not start; the image may lack ``script`` (util-linux) or ``bash``.
        """
        self._sandbox, self._user = sandbox, user
        self._env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", **(env or {}), "TERM": "xterm-256color"}
        self._timeout, self._output_limit = command_timeout, output_limit
        self.cwd = cwd
        self._size = rows, columns
        self._control = BashSession(sandbox, env=env, user=user, flag_file=flag_file)
        self._meter = Meter()
        self._process: Process | None = None
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    @property
    def screen(self) -> str:
        """What the terminal shows now."""
        return self._screen.text()

    def run(self, keystrokes: str, *, timeout: float | None = None) -> CommandResult:
        """Type ``keystrokes`` and wait until there is something to look at.

        Args:
            timeout: seconds; None takes the session's.

        Raises:
            SandboxError: the sandbox died.
        """
        started = time.monotonic()
        deadline = started + (self._timeout if timeout is None else timeout)
        self._said = Output(self._output_limit)
        restarted = self._exited()
        if restarted:
            self._start()
        self._type(keys.encode(keystrokes, cursor_application=self._screen.cursor_application), deadline)
        settled = self._settle(deadline)
        if ended := self._exited():
            restarted, code = True, self._child_process.wait(0)
            self._start()
        control = self._control.run("")
        exit_code = (code or 0) if ended else RUNNING if self._running else self._exit_code
        text, missing = self._said.text()
        used = self._meter.told(
            self._sandbox.usage(),
            text,
            failed=exit_code not in (0, RUNNING),
            flooded=bool(missing),
            timed_out=not settled,
        )
        return CommandResult(
            text,
            exit_code,
            self.cwd,
            time.monotonic() - started,
            timed_out=not settled,
            truncated_bytes=missing,
            shell_restarted=restarted,
            submitted=control.submitted,
            running=self._running,
            screen=self.screen,
            **used,
        )

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size; the program is told, as by a person who pulls at its corner."""
        self._size = rows, columns
        self._screen.resize(rows, columns)
        self._control.run(f"stty -F {self._tty} rows {rows} cols {columns}")

    def close(self) -> None:
        """Let go of the terminal, and end its shell. Idempotent."""
        self._drop()
        self._control.close()

    def __enter__(self) -> TerminalSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _child_process(self) -> Process:
        if self._process is None:
            raise SandboxError("the terminal was closed")
        return self._process

    def _start(self) -> None:
        self._drop()
        self._nonce = "n" + secrets.token_hex(8)  # a digit would be taken for a part of the \0 before it
        self._status = b""
        self._running, self._exit_code, shell = False, 0, 0
        rows, columns = self._size
        self._screen = Screen(rows, columns)
        self._said = Output(self._output_limit)
        start = _START.replace("@ROWS@", str(rows)).replace("@COLUMNS@", str(columns))
        argv = ["bash", "-c", start, _RC.replace("@NONCE@", self._nonce)]
        process = self._process = self._sandbox.spawn(argv, env=self._env, cwd=self.cwd, user=self._user)
        self.child = fdpexpect.fdspawn(process.stdout, timeout=0)
        self.child.logfile_read = _Tee(self)  # whoever reads, the screen and the result get it
        self._poll = select.poll()
        for descriptor in (process.stdout, process.stderr, process.exited):
            self._poll.register(descriptor, select.POLLIN)
        self._shell = 0
        deadline = time.monotonic() + _START_SECONDS
        while not self._shell:
            if not self._take(deadline - time.monotonic()) or self._exited():
                said = (self._said.text()[0] + decoded(self._status)).strip()
                raise SandboxError(f"no terminal starts, is script (util-linux) in the image? {said}")
        shell = self._shell
        self._watch = ForegroundWatch(self._control, shell, process.pid)
        tty = self._control.run(f"for f in /proc/{shell}/fd/0; do readlink $f; done").output.strip()
        self._tty = tty or "/dev/tty"
        self._settle(deadline)
        self._said = Output(self._output_limit)

    def _drop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()  # the pty closes, and its shell gets a hang-up
            process.close()

    def _exited(self) -> bool:
        return self._child_process.wait(0) is not None

    def _type(self, data: bytes, deadline: float) -> None:
        """Write to the keyboard, while what the program answers is read."""
        stdin = self._child_process.stdin
        os.set_blocking(stdin, False)
        while data and time.monotonic() < deadline and not self._exited():
            try:
                data = data[os.write(stdin, data[:1024]) :]
            except BlockingIOError:
                self._take(0.01)
            except ConnectionError:
                return

    def _settle(self, deadline: float) -> bool:
        """Read until the program waits for its user, or the shell has ended; False when time is up."""
        quiet, since = _QUIET_SECONDS, time.monotonic()
        while True:
            now = time.monotonic()
            if now >= deadline:
                return False
            if self._take(min(quiet, deadline - now)):
                quiet, since = _QUIET_SECONDS, time.monotonic()
            elif self._exited():
                return True
            elif not self._unread():
                needed = _SILENCE.get(self._watch.ask())
                if needed is not None and time.monotonic() - since >= needed and not self._take(0):
                    return True
                quiet = min(quiet * 2, _MOST_QUIET_SECONDS)

    def _unread(self) -> bool:
        """Whether keys wait that were not yet taken from the channel."""
        with contextlib.suppress(OSError):
            answer = fcntl.ioctl(self._child_process.stdin, termios.TIOCOUTQ, b"\0" * 4)
            return bool(struct.unpack("i", answer)[0])
        return False

    def _take(self, seconds: float) -> bool:
        """Wait for something to be said, at most so long, and take it; whether anything was."""
        process, taken = self._child_process, False
        for descriptor, _ in self._poll.poll(max(seconds, 0) * 1000):
            if descriptor == process.stdout:
                taken = self._read_screen() or taken
            elif descriptor == process.stderr:
                taken = self._read_status() or taken
            else:
                self._poll.unregister(descriptor)
        return taken

    def _read_screen(self) -> bool:
        with contextlib.suppress(TIMEOUT):
            try:
                return bool(self.child.read_nonblocking(1 << 16, timeout=0))
            except (EOF, OSError):
                self._poll.unregister(self._child_process.stdout)
        return False

    def _read_status(self) -> bool:
        data = os.read(self._child_process.stderr, 1 << 16)
        if not data:
            self._poll.unregister(self._child_process.stderr)
            return False
        *frames, self._status = (self._status + data)[-(1 << 16) :].split(b"\0")
        for frame in frames:
            parts = frame.decode("utf-8", "surrogateescape").split(" ", 3)
            if len(parts) == 4 and parts[0] == self._nonce and parts[2].isdigit():
                self._note(parts[1], int(parts[2]), parts[3])
        return True

    def _note(self, kind: str, number: int, cwd: str) -> None:
        if kind == "I":
            self._shell = number
        elif kind == "S":
            self._running = True
        elif kind == "P":
            self._running, self._exit_code, self.cwd = False, number, cwd


class _Tee:
    """Where pexpect writes a copy of what it reads."""

    def __init__(self, session: TerminalSession) -> None:
        self._session = session

    def write(self, data: bytes) -> None:
        self._session._said.add(data)
        self._session._screen.feed(data)

    def flush(self) -> None:
        """Nothing is held back."""
