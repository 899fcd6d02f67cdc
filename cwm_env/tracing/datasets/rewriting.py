"""Traces told in plain words by a model; a telling that comes to another value than the trace is dropped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cwm_env.tracing.context import MARKER
from cwm_env.tracing.datasets.dataset import Record
from cwm_env.tracing.datasets.journal import Journal
from cwm_env.tracing.datasets.parallel import in_order
from cwm_env.tracing.judging.endpoint import Endpoint
from cwm_env.tracing.judging.evaluation import same_value
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


def rewrite_all(
    records: Iterable[Record],
    model: Endpoint,
    path: Path,
    *,
    parallel: int = 8,
    progress: Callable[[dict[str, int]], None] | None = None,
) -> dict[str, int]:
    """Have traces told in plain words, and write each telling that is kept as a line ``{"id", "text"}``.

    Args:
        path: where to; taken up where an earlier run was stopped, so that no trace is told twice.
        parallel: requests to the model at once.
        progress: called with the counts after each trace.

    Returns:
        How many were ``kept``, and how many were refused for which reason.

    Raises:
        TraceError: ``path`` is finished already.
        PolicyError: the endpoint failed; what was told so far is kept.
    """
    journal = Journal(path, path.with_name(path.name + ".state"))
    told = {entry["id"] for entry in journal.entries}
    counts = {"kept": 0}
    for entry in journal.entries:
        counts[entry["what"]] = counts.get(entry["what"], 0) + 1
    left = (record for record in records if record.id not in told)
    for record, found in in_order(lambda record: rewrite(Trace.from_cwm(record.text), model), left, parallel):
        what = found.refused or "kept"
        line = "" if found.refused else json.dumps({"id": record.id, "text": found.text}) + "\n"
        journal.add(line.encode(), {"id": record.id, "what": what})
        counts[what] = counts.get(what, 0) + 1
        if progress is not None:
            progress(counts)
    journal.finish()
    return counts
