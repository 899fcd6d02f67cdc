"""Whether a command may change, hurt or end the shell that runs it, told from its text: too often rather than never."""

from __future__ import annotations

import re

_WORDS = frozenset(
    b"alias bg declare disown enable eval exec exit export fg for function getopts hash jobs kill killall let logout "
    b"mapfile pkill popd pushd read readarray readonly return set shopt source trap typeset ulimit umask unalias "
    b"unset".split()
)
_BREAKS = bytes(byte if chr(byte).isalnum() or byte in b"_." or byte > 127 else 32 for byte in range(256))
# Assignments, jobs, functions, arithmetic, and the command `.`; each begins with a character that most texts lack.
_SIGNS = re.compile(rb"[=&%]|\(\s*[()]|\.(?<![^;&|\s]\.)\s")


def touches_shell(text: bytes) -> bool:
    """Whether ``text`` holds a word or a sign by which a shell's state changes.

    Every command of every session is asked about: to look for all of it at every place of a text would cost five times
    as much.
    """
    words = text.translate(_BREAKS).split()
    if not _WORDS.isdisjoint(words) or _SIGNS.search(text) is not None:
        return True
    return b"-v" in text and b"printf" in words
