"""The protocol of a session with one persistent bash: bytes in, events out, no input or output of its own.

Bash runs interactively but without a terminal, so that SIGINT brings it back to its top level alive. Its standard
input is the command channel, its standard error the status channel. At its first prompt it enters a loop that
reads a block (a nonce, which begins with how to run it, and a short text or the length of a long one that follows),
and hands the text to ``eval`` with standard input from ``/dev/null`` and the outputs sent to the output channel.
Whatever bash itself says (prompts, traces of the loop, job notices) goes to the status channel, where everything that
is not a frame is dropped. A frame stands between NUL bytes, which no trace can print, and begins with the block, so
that nothing that a command knows can forge the result of a later one.

The loop's oddities each have a reason:

- It runs as ``PROMPT_COMMAND``, which bash executes as a non-interactive script would be: no ``[1] 123`` on ``&``.
- The channels lie where bash puts what a redirection replaces: above the number that it is replaced by, and closed
  for every program (close-on-exec), which no command of bash's can ask for. Programs so see 0, 1 and 2 alone.
- Blocks have a fixed size because ``read -N`` takes as many bytes at once, while a line is read byte by byte.
- The frame is written in the condition of the inner loop, so that ``continue`` and ``break`` typed by an agent end
  their own command and nothing else. A ``break`` through both loops is answered with a mark, and mended.
- ``__cwm_q`` puts the last exit code back into ``$?``.
- Where ``set -e`` holds, the text's own failures end the shell, as they should; the exit code of a list that bash
  forgives (``! true``, ``false && x``) is taken inside, because ``eval`` would hand it on unforgiven.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

ARGV = ("bash", "--noprofile", "--norc", "--noediting", "-i")
"""How bash is started."""

_MOST_STATE = 8 << 20
_SECRET = 8
NONCE = 1 + _SECRET
"""Bytes, at the beginning of every request, that its answer carries: how it is run, and what nobody guesses."""
_BLOCK = 40
_INLINE = _BLOCK - NONCE  # bytes of text that a block holds
_SHORT = ord("P")
_REDIRECTS = re.compile(rb"\b(exec|eval|source)\b|(^|[;&|\s])\.\s")
_TAKE_STATUS = b"\n{ __cwm_t=$?; } 2>/dev/null"

# 247 and 248 are the commands' outputs once they were redirected, 249 is /dev/null, 251 the commands' standard error,
# 253 the status channel: what the redirections put in place. 250, 252 and 254 are where bash then keeps the command
# channel and the commands' standard output and error.
_INIT = (
    "set +mH +o history; unset HISTFILE; __cwm_q() { return \"${__cwm_h:9:3}\"; }; __cwm_h='@BLOCK@'; "
    "exec 249</dev/null 251>&1 253>&2; PS1= PS2= PROMPT_COMMAND=@LOOP@\n"
)
# The whole block stands in it: to take its beginning alone costs bash more than to print the rest.
_FRAME = r"""builtin printf '\0%s\0' "$__cwm_h $__cwm_s @FLAG@ $- ${PWD-}" """
_LOOP = (
    (
        r"""{ while :; do while __cwm_s=${__cwm_t:-$?} __cwm_t=; @TEST@@FRAME@ || """
        r"""{ builtin enable printf; @TEST@@FRAME@; }; """
        # The end of the channel is the end of the shell; TMOUT is the agent's own, and only makes us read again.
        rf"""until builtin read -rN{_BLOCK} -u250 __cwm_h; do [[ $? -gt 128 ]] || builtin exit; done; do """
        r"""case $__cwm_h in P*) builtin eval "${__cwm_h:9}" >&252 2>&254;; """
        # Characters are bytes where the text is ASCII; only other texts pay for a change of locale.
        r"""*) case $__cwm_h in *w) LC_ALL=C TMOUT= builtin read -rN"${__cwm_h:12:27}" -u250 __cwm_c;; """
        r"""*) TMOUT= builtin read -rN"${__cwm_h:12:27}" -u250 __cwm_c;; esac; """
        r"""case $__cwm_h in Q*) builtin eval "$__cwm_c" >&252 2>&254;; """
        r"""L*) builtin eval "$__cwm_c" @OUT@;; S*) __cwm_q || builtin eval "$__cwm_c" @OUT@;; """
        # After a text that may have redirected the shell's own outputs, what they are now is kept for the next ones.
        r"""R*) { case ${__cwm_h:9:3} in 000) builtin eval "$__cwm_c";; """
        r"""*) __cwm_q || builtin eval "$__cwm_c";; esac; """
        r"""__cwm_t=$?; """
        r"""if [[ -e /dev/fd/1 ]]; then exec 247>&1; __cwm_1=247; else __cwm_1=-; fi; """
        r"""if [[ -e /dev/fd/2 ]]; then exec 248>&2; __cwm_2=248; else __cwm_2=-; fi; } @NOW@;; """
        r"""V*) builtin eval "$__cwm_c" >&2 2>/dev/null;; esac;; esac; done; done; builtin printf '\0T\0'; """
        r"""} 0<&249 1>&251 1>&253 249<&- 251>&- 253>&-"""
    )
    .replace("@OUT@", "@NOW@ 247>&- 248>&-")
    .replace("@NOW@", '>&"${__cwm_1-252}" 2>&"${__cwm_2-254}"')
)
# Bash runs this at its top level, or the loop, if bash is still there, reads it as a block that asks for nothing.
_MEND = "; __cwm_h='@BLOCK@' PROMPT_COMMAND=@LOOP@\n"

# Everything that another bash needs to go on where this one stands; only builtins, no process. As a prompt would, it
# takes what has ended off the list of jobs, where this loop, which bash holds for a script, leaves every program.
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
# The loop's own variables; bash's own that cannot be set are refused by the new bash, without harm.
_OWN = re.compile(rb"^declare -\S+ __cwm_\w+(?:=.*)?$\n?", re.MULTILINE)
_PLAIN_FUNCTION = re.compile(rb"^declare -f (?:\w\S*)$\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Done:
    """A command has ended."""

    exit_code: int
    cwd: str
    flagged: bool
    """Whether the flag file exists."""


@dataclass(frozen=True, slots=True)
class State:
    """A snapshot of the shell, as bash code that restores it in another."""

    code: bytes


@dataclass(frozen=True, slots=True)
class Fallen:
    """The loop was broken out of: send ``mend``."""


@dataclass(frozen=True, slots=True)
class Jobs:
    """What an earlier shell started and left."""

    processes: tuple[str, ...]
    """``PID COMMAND``, one each."""


Event = Done | State | Fallen | Jobs


class ShellProtocol:
    """What to write to a bash, and what its status channel means. One object per bash process."""

    def __init__(self, flag_file: str | None = None) -> None:
        """``flag_file``: absolute path in the sandbox whose existence each ``Done`` reports."""
        self._nonce = b""
        self._pending = self._noise = b""
        self._status = 0  # of the last command, for its successor's $?
        self._is_command = self._errexit = self._verbose = self._redirected = False
        test = f"[[ -e {_quoted(flag_file)} ]]; " if flag_file else ""
        frame = _FRAME.replace("@FLAG@", "$?" if flag_file else "1")
        self._loop = _quoted(_LOOP.replace("@TEST@", test).replace("@FRAME@", frame))

    def start(self) -> bytes:
        """What to write first; ``Done`` follows when bash is ready."""
        self._nonce = _nonce(b"-")
        return _INIT.replace("@BLOCK@", _block(self._nonce)).replace("@LOOP@", self._loop).encode()

    def command(self, text: bytes, *, touches_shell: bool = True) -> bytes:
        """Run ``text``, which holds no NUL; ``Done`` follows when it has ended.

        Args:
            touches_shell: False spares a look for what may redirect the shell's own outputs.
        """
        if self._errexit:
            text += _TAKE_STATUS
        plain = b"L" if self._redirected else b"P"
        mode = b"R" if touches_shell and _REDIRECTS.search(text) else b"S" if self._status else plain
        self._redirected = self._redirected or mode == b"R"
        request = self._request(text, _nonce(mode))
        self._is_command = True
        return request

    def snapshot(self) -> bytes:
        """Ask for a ``State``; ``Done`` follows it."""
        return self.private(_SNAPSHOT)

    def private(self, text: bytes) -> bytes:
        """Run a text of the session's own, which prints to the status channel and knows its nonce as ``@NONCE@``."""
        nonce = _nonce(b"V")
        return self._request(text.replace(b"@NONCE@", nonce), nonce)

    def ends_with(self, exit_code: int) -> None:
        """Say what ``$?`` is for the next command, where no frame has."""
        self._status = exit_code

    def jobs(self, shell: int) -> bytes:
        """Ask a new bash for the ``Jobs`` of the one whose process id was ``shell``; ``Done`` follows."""
        return self.private(_JOBS.replace(b"@SESSION@", b"%d" % shell))

    def restore(self, state: State, cwd: str) -> bytes:
        """Bring a new bash to where another stood; ``Done`` follows."""
        directory = _quoted(cwd).encode("utf-8", "surrogateescape")
        code = _PLAIN_FUNCTION.sub(b"", _OWN.sub(b"", state.code))  # only here: few snapshots are ever needed
        # Not by `private`: the agent's own values may hold what that replaces.
        return self._request(code + b"\nbuiltin cd -- " + directory + b"\n", _nonce(b"V"))

    def mend(self) -> bytes:
        """Bring bash back into the loop from wherever it is; ``Done`` follows."""
        # A nonce that is, with what follows it in the block, a command of bash's that does nothing.
        nonce = _nonce(b": ")[:NONCE]
        text = _MEND.replace("@BLOCK@", _block(nonce)).replace("@LOOP@", self._loop).encode()
        return self._request(text, nonce)

    def feed(self, data: bytes) -> list[Event]:
        """What bytes of the status channel mean. Whatever is neither a frame nor a snapshot is noise."""
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
        self._is_command = False
        ascii_only = text.isascii()
        if nonce[0] == _SHORT:
            if len(text) <= _INLINE and ascii_only and not self._verbose:
                self._nonce = nonce
                return nonce + text.rjust(_INLINE)
            nonce = b"Q" + nonce[1:]
        self._nonce = nonce
        return b"%s%03d%027d%s%s" % (nonce, self._status, len(text), b"-" if ascii_only else b"w", text)

    def _event(self, chunk: bytes) -> Event | None:
        if chunk.startswith(self._nonce):
            return self._done(chunk)
        if chunk == b"T":
            return Fallen()
        if not chunk.startswith(self._nonce, 1):
            return None
        kind, content = chunk[:1], chunk[NONCE + 1 :]
        if kind == b"S":
            return State(content)
        if kind == b"J":
            return Jobs(tuple(content.decode("utf-8", "replace").split("\n")[1:-1]))
        return None

    def _done(self, chunk: bytes) -> Done | None:
        parts = chunk[_BLOCK:].split(b" ", 4)  # the first is empty
        if len(parts) != 5 or not (parts[1].isdigit() and parts[2].isdigit()):
            return None
        exit_code = int(parts[1])
        if self._is_command:
            self._status = exit_code
        self._errexit, self._verbose = b"e" in parts[3], b"v" in parts[3]
        return Done(exit_code, parts[4].decode("utf-8", "surrogateescape"), parts[2] == b"0")


def _nonce(mode: bytes) -> bytes:
    """A mode, and characters that nobody guesses: drawn many at a time, for one draw costs more than a request."""
    if not _drawn:
        drawn = secrets.token_urlsafe(_SECRET * 3 // 4 * 256).encode()
        _drawn.extend(drawn[start : start + _SECRET] for start in range(0, len(drawn), _SECRET))
    return mode + _drawn.pop()


_drawn: list[bytes] = []


def _block(nonce: bytes) -> str:
    """A block that asks for nothing, as a word of bash's."""
    return nonce.ljust(_BLOCK, b"-").decode()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
