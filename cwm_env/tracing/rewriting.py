"""Traces told in plain words by a model; a telling that comes to another value than the trace is dropped."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from cwm_env.tracing.context import MARKER
from cwm_env.tracing.endpoint import Endpoint
from cwm_env.tracing.traces import Trace

_TASK = """\
Below is a Python program and a recording of one execution of it, line by line. Explain the execution in plain English,
step by step, as somebody would who follows it in their head: which line runs, why, and how the variables change.
Summarise what repeats. Do not mention the recording. End with one line of exactly this form, with the value that the
entry returns (or the exception that leaves it) as Python writes it:
Final value: VALUE
"""
_FINAL = re.compile(r"^\W*final value\W*:\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE)
_MOST = 60_000


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What a model made of a trace."""

    text: str
    refused: str = ""
    """Why it is dropped: ``length`` (of the trace), ``no-value``, ``wrong-value``; empty where it is kept."""


def rewrite(trace: Trace, model: Endpoint) -> Rewritten:
    """Have a trace told in plain words.

    Raises:
        PolicyError: the endpoint failed.
    """
    shown = show(trace)
    if len(shown) > _MOST or trace.value is None:
        return Rewritten("", "length")
    messages = [{"role": "system", "content": _TASK}, {"role": "user", "content": shown}]
    text = model.chat(messages).strip()
    found = _FINAL.findall(text)
    if not found:
        return Rewritten(text, "no-value")
    return Rewritten(text, "" if same_value(found[-1].strip(" `*"), trace.value) else "wrong-value")


def show(trace: Trace) -> str:
    """A trace for a reader: the program, then one line for each frame, with what changed."""
    lines = [trace.context.replace(MARKER, "").rstrip(), "", "Execution:"]
    depth = 0
    for frame in trace.frames:
        if frame.kind == "call":
            depth += 1
        what = ", ".join(f"{name} = {text}" for name, text in (frame.locals or {}).items() if text != "..")
        value = "" if frame.value is None else f" -> {frame.value}"
        lines.append(f"{'  ' * (depth - 1)}{frame.kind}: {frame.source.strip()}{value}{f'   [{what}]' if what else ''}")
        if frame.kind == "return":
            depth -= 1
    return "\n".join(lines)


def same_value(found: str | None, truth: str | None) -> bool:
    """Equal as text, or as literals: how CRUXEval compares."""
    if found is None or truth is None:
        return False
    if found == truth:
        return True
    try:
        ours, theirs = ast.literal_eval(found), ast.literal_eval(truth)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return type(ours) is type(theirs) and bool(ours == theirs)
