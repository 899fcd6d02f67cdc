"""The protocol of a session with one persistent bash: bytes in, events out, no input or output of its own.

Bash runs interactively but without a terminal, so that SIGINT brings it back to its top level alive. Its standard
input is the command channel, its standard error the status channel. At its first prompt it enters a loop that
reads a header (nonce, length, how to run it) and as many bytes of text, and hands the text to ``eval`` with standard
input from ``/dev/null`` and the outputs sent to the output channel. Whatever bash itself says (prompts, traces of
the loop, job notices) goes to the status channel, where everything that is not a frame is dropped. A frame stands
between NUL bytes, which no trace can print, and carries the nonce, so that nothing that a command knows can forge
the result of a later one.

The loop's oddities each have a reason:

- It runs as ``PROMPT_COMMAND``, which bash executes as a non-interactive script would be: no ``[1] 123`` on ``&``.
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
_OUTPUTS = "</dev/null >&250 2>&251 250>&- 251>&-"
_PLAIN, _WITH_STATUS, _MAY_REDIRECT, _PRIVATE = range(4)
_REDIRECTS = re.compile(rb"\bexec\b")

_FRAME = r"""builtin printf '\0%s %s %s %s\0' "$__cwm_a" "$__cwm_s" "$?" "${PWD-}" >&2"""
_LOOP = (
    r"""while :; do while __cwm_s=${__cwm_t:-$?}; __cwm_t=; [[ -e @FLAG@ ]]; @FRAME@ || """
    r"""{ builtin enable printf; [[ -e @FLAG@ ]]; @FRAME@; }; __cwm_c=; """
    r"""TMOUT= IFS=' ' builtin read -r -u 0 __cwm_a __cwm_n __cwm_x __cwm_r || builtin exit; do """
    # Characters are bytes where the text is ASCII; only other texts pay for a change of locale.
    r"""case $__cwm_x in 1?) LC_ALL=C TMOUT= IFS= builtin read -r -N "$__cwm_n" -u 0 __cwm_c;; """
    r"""*) TMOUT= IFS= builtin read -r -N "$__cwm_n" -u 0 __cwm_c;; esac; """
    r"""[[ $- == *e* ]] && __cwm_c+=$'\n{ __cwm_t=$?; } 2>/dev/null'; """
    r"""case $__cwm_x in ?0) builtin eval "$__cwm_c" @OUT@;; ?1) __cwm_q || builtin eval "$__cwm_c" @OUT@;; """
    # After a text that may have redirected the shell's own outputs, what they are now is kept for the next one.
    r"""?2) { builtin eval "$__cwm_c"; __cwm_t=$?; """
    r"""if [[ -e /dev/fd/1 ]]; then exec 250>&1; else exec 250>/dev/null; fi; """
    r"""if [[ -e /dev/fd/2 ]]; then exec 251>&2; else exec 251>/dev/null; fi; } </dev/null >&250 2>&251;; """
    r"""?3) builtin eval "$__cwm_c" </dev/null >&2 2>/dev/null;; esac; done; done; builtin printf '\0T\0' >&2"""
).replace("@OUT@", _OUTPUTS)
_INIT = (
    "set +mH +o history; unset HISTFILE; __cwm_q() { return $__cwm_r; }; __cwm_a=@NONCE@ __cwm_t=0; "
    "exec 250>&1 251>&1 >/dev/null; PS1= PS2= PROMPT_COMMAND=@LOOP@\n"
)
# Bash runs this at its top level; the loop, if bash is still there, reads it as a header that asks for nothing.
_MEND = "__cwm_a=@NONCE@; PROMPT_COMMAND=@LOOP@\n"

# Everything that another bash needs to go on where this one stands; only builtins, no process.
_SNAPSHOT = (
    rb"builtin printf '\0S%s\n' @NONCE@; builtin declare -p; builtin declare -f; builtin declare -F; "
    rb"builtin alias -p; builtin umask -p; builtin shopt -p; builtin set +o; builtin trap -p"
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


Event = Done | State | Fallen


class ShellProtocol:
    """What to write to a bash, and what its status channel means. One object per bash process."""

    def __init__(self, flag_file: str = "/dev/null/none") -> None:
        """``flag_file``: absolute path in the sandbox whose existence each ``Done`` reports."""
        self._nonce = b""
        self._pending = self._noise = b""
        self._status = 0  # of the last command, for its successor's $?
        self._is_command = False
        frame = _LOOP.replace("@FRAME@", _FRAME).replace("@FLAG@", _quoted(flag_file))
        self._loop = _quoted(frame)

    def start(self) -> bytes:
        """What to write first; ``Done`` follows when bash is ready."""
        self._nonce = _new_nonce()
        return _INIT.replace("@NONCE@", self._nonce.decode()).replace("@LOOP@", self._loop).encode()

    def command(self, text: bytes) -> bytes:
        """Run ``text``, which holds no NUL; ``Done`` follows when it has ended."""
        mode = _MAY_REDIRECT if _REDIRECTS.search(text) else _WITH_STATUS if self._status else _PLAIN
        request = self._request(text, mode)
        self._is_command = True
        return request

    def snapshot(self) -> bytes:
        """Ask for a ``State``; ``Done`` follows it."""
        nonce = _new_nonce()
        return self._request(_SNAPSHOT.replace(b"@NONCE@", nonce), _PRIVATE, nonce)

    def restore(self, state: State, cwd: str) -> bytes:
        """Bring a new bash to where another stood; ``Done`` follows."""
        directory = _quoted(cwd).encode("utf-8", "surrogateescape")
        return self._request(state.code + b"\nbuiltin cd -- " + directory + b"\n", _PRIVATE)

    def mend(self) -> bytes:
        """Bring bash back into the loop from wherever it is; ``Done`` follows."""
        self._nonce, self._is_command = _new_nonce(), False
        return _MEND.replace("@NONCE@", self._nonce.decode()).replace("@LOOP@", self._loop).encode()

    def feed(self, data: bytes) -> list[Event]:
        """What bytes of the status channel mean. Whatever is neither a frame nor a snapshot is noise."""
        *chunks, self._pending = (self._pending + data).split(b"\0")
        if len(self._pending) > _MOST_STATE:
            self._pending = b""
        events = []
        for chunk in chunks:
            event = self._event(chunk)
            if event is not None:
                events.append(event)
            elif chunk:
                self._noise = chunk
        return events

    @property
    def noise(self) -> str:
        """The last that bash said of itself; tells why it did not start."""
        return (self._pending or self._noise).decode("utf-8", "replace").strip()

    def _request(self, text: bytes, mode: int, nonce: bytes | None = None) -> bytes:
        self._nonce = nonce or _new_nonce()
        self._is_command = False
        wide = not text.isascii()
        return b"%s %d %d%d %d\n%s" % (self._nonce, len(text), wide, mode, self._status, text)

    def _event(self, chunk: bytes) -> Event | None:
        if chunk == b"T":
            return Fallen()
        if chunk.startswith(b"S" + self._nonce + b"\n"):
            code = chunk.partition(b"\n")[2]
            return State(_PLAIN_FUNCTION.sub(b"", _OWN.sub(b"", code)))
        nonce, _, rest = chunk.partition(b" ")
        parts = rest.split(b" ", 2)
        nonce = nonce.removeprefix(b"__cwm_a=").removesuffix(b";")
        if nonce != self._nonce or len(parts) != 3 or not (parts[0].isdigit() and parts[1].isdigit()):
            return None
        if self._is_command:
            self._status = int(parts[0])
        return Done(int(parts[0]), parts[2].decode("utf-8", "surrogateescape"), parts[1] == b"0")


def _new_nonce() -> bytes:
    return secrets.token_hex(8).encode()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
