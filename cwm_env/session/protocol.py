"""The protocol of a session with one persistent bash: bytes in, events out, no input or output of its own.

Bash runs interactively but without a terminal, so that SIGINT brings it back to its top level alive. Its standard
input is the command channel, its standard error the status channel, and at its prompt it runs a builtin of ours
(``sandbox/namespaces/native/shell/loop.c``) that takes a request from the one, hands its text to bash's own evaluator,
and answers on the other. While that runs, both channels lie where no program inherits them: commands have standard
input from ``/dev/null``, and both outputs go to the output channel. What bash says at its top level goes to the status
channel, where everything that is not a frame is dropped.

A request is a nonce, whose first character says how the text is run, the text's length in nine digits, and the text.
A frame stands between NUL bytes, which nothing that bash prints can hold, and begins with the nonce, so that nothing
that a command knows can forge the result of a later one.
"""

from __future__ import annotations

import re
import secrets
import struct
from dataclasses import dataclass
from typing import NamedTuple

from cwm_env.sandbox.base import SHELL_LOOP

ARGV = ("bash", "--noprofile", "--norc", "--noediting", "-i")
"""How bash is started; it needs the loop, see ``Sandbox.spawn``."""

_MOST_STATE = 8 << 20
_SECRET = 8
NONCE = 1 + _SECRET
"""Bytes, at the beginning of every request, that its answer carries: how it is run, and what nobody guesses."""
_COMMAND, _PRIVATE, _NOTHING = b"C", b"P", b":"

_INIT = (
    f"set +mH +o history; unset HISTFILE; builtin enable -f {SHELL_LOOP} __cwm || exit; exec 3<&-; "
    "builtin __cwm @NONCE@ @FLAG@; PS1= PS2= PROMPT_COMMAND='builtin __cwm'\n"
)
# Bash runs this at its top level; or the loop, if bash is still there, reads it as a request for nothing, and so it
# begins with a command that does nothing.
_MEND = b"; builtin enable __cwm; builtin __cwm '@NONCE@'; PROMPT_COMMAND='builtin __cwm'\n"

# Everything that another bash needs to go on where this one stands; only builtins, no process. As a prompt would, it
# takes what has ended off the list of jobs, where bash, which is not at its prompt, leaves every program.
_SNAPSHOT = (
    rb"builtin jobs >/dev/null; builtin printf '\0S%s\n' @NONCE@; "
    rb"builtin declare -p; builtin declare -f; builtin declare -F; builtin alias -p; "
    rb"builtin umask -p; builtin shopt -p; builtin set +o; builtin trap -p"
)
# Of the processes in the session (setsid) of a shell that died, those that live; for a shell with nothing set yet.
_JOBS = (
    rb"builtin printf '\0J%s\n' @NONCE@; for __cwm_p in /proc/[0-9]*; do "
    rb"IFS= builtin read -r __cwm_l <$__cwm_p/stat || continue; __cwm_f=(${__cwm_l##*) }); "
    rb"[[ ${__cwm_f[3]} == @SESSION@ && ${__cwm_f[0]} != [ZX] ]] || continue; "
    rb"builtin mapfile -d '' -t __cwm_f <$__cwm_p/cmdline && "
    rb"""builtin printf "%s %s\n" ${__cwm_p#/proc/} "${__cwm_f[*]}"; """
    rb"done; builtin printf '\0'; unset __cwm_p __cwm_l __cwm_f"
)
# What the loop answers: the nonce, the exit code, whether the flag file exists, and the directory.
_FRAME = re.compile(rb"\0?([^\0]{%d}) (\d+) ([01]) ([^\0]*)\0?" % NONCE)
_PLAIN_FUNCTION = re.compile(rb"^declare -f (?:\w\S*)$\n?", re.MULTILINE)


class Done(NamedTuple):
    """A command has ended. One is made for each: a dataclass that is frozen would take three times as long."""

    exit_code: int
    cwd: str
    flagged: bool
    """Whether the flag file exists."""


@dataclass(frozen=True, slots=True)
class State:
    """A snapshot of the shell, as bash code that restores it in another."""

    code: bytes


@dataclass(frozen=True, slots=True)
class Jobs:
    """What an earlier shell started and left."""

    processes: tuple[str, ...]
    """``PID COMMAND``, one each."""


Event = Done | State | Jobs


class ShellProtocol:
    """What to write to a bash, and what its status channel means. One object per bash process."""

    def __init__(self, flag_file: str | None = None) -> None:
        """``flag_file``: absolute path in the sandbox whose existence each ``Done`` reports."""
        self._flag = _quoted(flag_file) if flag_file else ""
        self._nonce = self._pending = self._noise = b""

    def start(self) -> bytes:
        """What to write first; ``Done`` follows when bash is ready."""
        self._nonce = _nonce(_COMMAND)
        return _INIT.replace("@NONCE@", f"'{self._nonce.decode()}'").replace("@FLAG@", self._flag).encode()

    def command(self, text: bytes) -> bytes:
        """Run ``text``, which holds no NUL; ``Done`` follows when it has ended."""
        return self._request(text, _nonce(_COMMAND))

    def snapshot(self) -> bytes:
        """Ask for a ``State``; ``Done`` follows it."""
        return self.private(_SNAPSHOT)

    def private(self, text: bytes) -> bytes:
        """Run a text of the session's own, which prints to the status channel and knows its nonce as ``@NONCE@``.

        ``Done`` follows, with the exit code of the last command.
        """
        nonce = _nonce(_PRIVATE)
        return self._request(text.replace(b"@NONCE@", nonce), nonce)

    def jobs(self, shell: int) -> bytes:
        """Ask a new bash for the ``Jobs`` of the one whose process id was ``shell``; ``Done`` follows."""
        return self.private(_JOBS.replace(b"@SESSION@", b"%d" % shell))

    def restore(self, state: State, cwd: str) -> bytes:
        """Bring a new bash to where another stood; ``Done`` follows."""
        directory = _quoted(cwd).encode("utf-8", "surrogateescape")
        code = _PLAIN_FUNCTION.sub(b"", state.code)  # only here: few snapshots are ever needed
        # Not by `private`: the agent's own values may hold what that replaces.
        return self._request(code + b"\nbuiltin cd -- " + directory + b"\n", _nonce(_PRIVATE))

    def mend(self) -> bytes:
        """Bring bash back into the loop from wherever it is; ``Done`` follows."""
        nonce = _nonce(_NOTHING + b" ")[:NONCE]
        return self._request(_MEND.replace(b"@NONCE@", nonce), nonce)

    def feed(self, data: bytes) -> list[Event]:
        """What bytes of the status channel mean. Whatever is neither a frame nor a snapshot is noise."""
        if not self._pending and data.endswith(b"\0") and (done := self._done(data, self._nonce)) is not None:
            return [done]  # nearly always: a frame alone
        *chunks, self._pending = (self._pending + data if self._pending else data).split(b"\0")
        if len(self._pending) > _MOST_STATE:
            self._pending = b""
        events = []
        for chunk in filter(None, chunks):
            event = self._event(chunk)
            if event is not None:
                events.append(event)
            else:
                self._noise = chunk
        return events

    @property
    def noise(self) -> str:
        """The last that bash said of itself; tells why it did not start."""
        return (self._pending or self._noise).decode("utf-8", "replace").strip()

    def _request(self, text: bytes, nonce: bytes) -> bytes:
        self._nonce = nonce
        return b"%s%09d%s" % (nonce, len(text), text)

    def _event(self, chunk: bytes) -> Event | None:
        if chunk.startswith(self._nonce):
            return self._done(chunk, self._nonce)
        if not chunk.startswith(self._nonce, 1):
            return None
        kind, content = chunk[:1], chunk[NONCE + 1 :]
        if kind == b"S":
            return State(content)
        if kind == b"J":
            return Jobs(tuple(content.decode("utf-8", "replace").split("\n")[1:-1]))
        return None

    def _done(self, chunk: bytes, nonce: bytes) -> Done | None:
        frame = _FRAME.fullmatch(chunk)
        if frame is None:
            return None
        given, code, flag, cwd = frame.groups()
        return Done(int(code), cwd.decode("utf-8", "surrogateescape"), flag == b"1") if given == nonce else None


def _nonce(mode: bytes) -> bytes:
    """A mode, and characters that nobody guesses: drawn many at a time, for one draw costs more than a request."""
    if not _drawn:
        drawn = secrets.token_urlsafe(_SECRET * 3 // 4 * 256).encode()
        _drawn.extend(struct.unpack(f"{_SECRET}s" * (len(drawn) // _SECRET), drawn))
    return mode + _drawn.pop()


_drawn: list[bytes] = []


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
