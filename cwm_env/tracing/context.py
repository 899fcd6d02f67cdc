"""The source code that a trace is about, with its entry marked."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from cwm_env.errors import InputError

MARKER = "  # << START_OF_TRACE"


def mark(source: str, line: int) -> str:
    """The source with the entry's line (from 1) marked."""
    lines = source.split("\n")
    lines[line - 1] += MARKER
    return "\n".join(lines)


def mark_program(source: str) -> str:
    """A whole program, which begins at a line of its own above the first: that may be inside a string."""
    return f"{MARKER.lstrip()}\n{source}"


def call_text(entry: str, args: Sequence[object], kwargs: Mapping[str, object]) -> str:
    """``f(1, 'a', key=[2])``.

    Raises:
        InputError: an argument has no literal form.
    """
    shown = [_literal(value) for value in args] + [f"{name}={_literal(value)}" for name, value in kwargs.items()]
    return f"{entry}({', '.join(shown)})"


def _literal(value: object) -> str:
    text = repr(value)
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise InputError(f"{text[:80]} is no literal: say how it is made, with call='f(…)'") from None
    return text


def with_main(source: str, call: str) -> tuple[str, str, int]:
    """The source with CRUXEval's ``def main(): return f(INPUT)`` at its end: text, name of main, its line.

    Raises:
        InputError: the call is not one expression.
    """
    try:
        ast.parse(call, mode="eval")
    except (SyntaxError, ValueError) as error:
        raise InputError(f"{call!r} is not one expression: {error}") from None
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    if source and not source.endswith("\n"):
        source += "\n"
    name = "main"
    while name in source:
        name = f"_{name}" if name == "main" else f"{name}_"
    return f"{source}def {name}():\n    return {call}\n", name, source.count("\n") + 1
