"""Keystrokes as text: what a person types, with names in angle brackets for the keys that are no character."""

from __future__ import annotations

import re

_NAMED = {
    "enter": "\r", "tab": "\t", "esc": "\x1b", "space": " ", "backspace": "\x7f", "lt": "<", "delete": "\x1b[3~",
    "insert": "\x1b[2~", "pageup": "\x1b[5~", "pagedown": "\x1b[6~", "s-tab": "\x1b[Z",
    "f1": "\x1bOP", "f2": "\x1bOQ", "f3": "\x1bOR", "f4": "\x1bOS", "f5": "\x1b[15~", "f6": "\x1b[17~",
    "f7": "\x1b[18~", "f8": "\x1b[19~", "f9": "\x1b[20~", "f10": "\x1b[21~", "f11": "\x1b[23~", "f12": "\x1b[24~",
}  # fmt: skip
# These are sent in one of two ways; the program chooses, by the terminal's mode for cursor keys (DECCKM).
_CURSOR = {"up": "A", "down": "B", "right": "C", "left": "D", "home": "H", "end": "F"}
_NAME = re.compile(r"<([A-Za-z][A-Za-z0-9]*|S-Tab|[CA]-[^\s<>])>", re.IGNORECASE)


def encode(text: str, *, cursor_application: bool = False) -> bytes:
    """The bytes that a terminal sends for ``text``.

    Names (in any case): ``<Enter> <Tab> <S-Tab> <Esc> <Space> <Backspace> <Delete> <Insert> <Up> <Down> <Left> <Right>
    <Home> <End> <PageUp> <PageDown> <F1>`` to ``<F12>``, ``<C-x>`` with Control and ``<A-x>`` with Alt, and ``<lt>``
    for ``<`` where a name would be read. A line end is ``<Enter>``. What is no name stays as it is.

    Args:
        cursor_application: whether the program has asked for the other way of sending cursor keys.
    """
    prefix = "\x1bO" if cursor_application else "\x1b["

    def key(match: re.Match[str]) -> str:
        name = match[1].lower()
        if name in _CURSOR:
            return prefix + _CURSOR[name]
        if name[:2] == "c-" and len(name) == 3 and ("@" <= name[2].upper() <= "_" or name[2] == "?"):
            return "\x7f" if name[2] == "?" else chr(ord(name[2].upper()) & 0x1F)
        if name[:2] == "a-" and len(name) == 3:
            return "\x1b" + match[1][2]
        return _NAMED.get(name, match[0])

    return _NAME.sub(key, text.replace("\r\n", "\r").replace("\n", "\r")).encode("utf-8", "surrogateescape")
