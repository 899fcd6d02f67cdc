"""The special tokens of both dialects, and text that happens to read like one.

A trace as text is unambiguous only if the traced source cannot contain a separator. In JSON strings the writer escapes
``<|`` as ``\\u003c|``. In raw text (``CONTEXT`` and ``SOURCE``) a special token's text gains a backslash after its
``<``, and loses it when it is read; a token id never needs it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

BEGIN: Final = "<|begin_of_text|>"
END: Final = "<|end_of_text|>"
FRAME: Final = "<|frame_sep|>"
ACTION: Final = "<|action_sep|>"
RETURN: Final = "<|return_sep|>"
CALL: Final = "<|call_sep|>"
LINE: Final = "<|line_sep|>"
EXCEPTION: Final = "<|exception_sep|>"
ARG: Final = "<|arg_sep|>"
CONTEXT: Final = "<|trace_context_start|>"

TOKENS: Final[dict[str, int]] = {
    BEGIN: 128000,
    END: 128001,
    FRAME: 128100,
    ACTION: 128101,
    RETURN: 128102,
    CALL: 128103,
    LINE: 128104,
    EXCEPTION: 128105,
    ARG: 128106,
    CONTEXT: 128107,
}
"""The Code World Model's tokens and their ids."""

DEBUGGER_TOKENS: Final[dict[str, int]] = {
    f"<|{name}|>": 128108 + i
    for i, name in enumerate(
        (
            "src_sep",
            "step_into",
            "step_over",
            "step_return",
            "breakpoint",
            "continue",
            "inv_step_into",
            "inv_step_over",
            "inv_step_call",
            "inv_breakpoint",
            "inv_continue",
            "inv_call_sep",
            "inv_line_sep",
            "inv_return_sep",
            "inv_exception_sep",
            "exit_normal",
            "exit_exception",
            "trace_end",
        )
    )
}
"""The neural debugger's further tokens. Nobody published their ids: these are the next that are free."""

_BEFORE_SOURCE = (CONTEXT, ACTION, "<|src_sep|>", "<|breakpoint|>", "<|inv_breakpoint|>")
_ALL = TOKENS | DEBUGGER_TOKENS
_NAMES = "|".join(re.escape(token[2:-2]) for token in _ALL)
_SPECIAL = re.compile(rf"<\|(?:{_NAMES})\|>")
_RAW = re.compile(rf"<(\\*)\|(?=(?:{_NAMES})\|>)")
_ESCAPED = re.compile(rf"<\\(\\*)\|(?=(?:{_NAMES})\|>)")
_TEXT_OF = {number: token for token, number in _ALL.items()}


def escape(text: str) -> str:
    """Raw text in which no special token can be seen."""
    return _RAW.sub(r"<\\\1|", text) if "|>" in text else text


def unescape(text: str) -> str:
    """What ``escape`` was given."""
    return _ESCAPED.sub(r"<\1|", text) if "|>" in text else text


def escape_json(text: str) -> str:
    """JSON that holds no text of a special token; it means what it meant."""
    return text.replace("<|", "\\u003c|") if "<|" in text else text


def split(text: str) -> Iterator[tuple[str, int]]:
    """The special tokens and the runs of text between them, in order, each with its position."""
    at = 0
    for match in _SPECIAL.finditer(text):
        if match.start() > at:
            yield text[at : match.start()], at
        yield match.group(), match.start()
        at = match.end()
    if at < len(text):
        yield text[at:], at


def encode(text: str, tokenize: Callable[[str], Sequence[int]]) -> list[int]:
    """Token ids of a trace.

    Args:
        tokenize: turns ordinary text into ids; it never sees a special token, and must not make one.
    """
    ids: list[int] = []
    raw = True  # where text is source, not JSON
    for part, _ in split(text):
        if part in _ALL:
            ids.append(_ALL[part])
            raw = part in _BEFORE_SOURCE
        else:
            ids.extend(tokenize(unescape(part) if raw else part))
    return ids


def decode(ids: Sequence[int], detokenize: Callable[[Sequence[int]], str]) -> str:
    """The text of token ids: the reverse of ``encode``."""
    parts: list[str] = []
    run: list[int] = []
    raw = True
    for number in ids:
        if number not in _TEXT_OF:
            run.append(number)
            continue
        if run:
            parts.append(_written(detokenize(run), raw))
            run = []
        token = _TEXT_OF[number]
        parts.append(token)
        raw = token in _BEFORE_SOURCE
    if run:
        parts.append(_written(detokenize(run), raw))
    return "".join(parts)


def _written(text: str, raw: bool) -> str:
    return escape(text) if raw else escape_json(text)
