"""Scores of a model that predicts executions, beside an oracle and a constant baseline."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cwm_env.errors import InputError
from cwm_env.tracing import tokens
from cwm_env.tracing.context import MARKER
from cwm_env.tracing.format import Frame, Resolver, write_context, write_frame
from cwm_env.tracing.halting import Labelled
from cwm_env.tracing.judging.endpoint import Model
from cwm_env.tracing.judging.prediction import (
    PredictedFrame,
    predict_frame,
    predict_halting,
    predict_input,
    predict_output,
    predict_trace,
)
from cwm_env.tracing.traces import Trace

Run = Callable[[str, str], Trace]
"""Traces a call in a source: how predicted arguments are checked."""


@dataclass
class Rate:
    """So many of so many."""

    right: int = 0
    of: int = 0

    def add(self, right: bool) -> None:
        """Count one more."""
        self.right += right
        self.of += 1

    def __str__(self) -> str:
        return f"{self.right / self.of:.3f}" if self.of else "-"


MEASURES = ("format", "action", "state", "exact", "trace", "output", "input", "halting")


@dataclass
class Scores:
    """How well a model does.

    Frame by frame, after the true frames before it: ``format`` (it is a frame), ``action`` (kind and source line),
    ``state`` (variables, or value), ``exact`` (the same text). By itself: ``trace`` (the final value after a trace of
    its own), ``output`` (the final value at once), ``input`` (arguments that give the value), ``halting``.
    """

    model: str
    rates: dict[str, Rate]

    @classmethod
    def none(cls, model: str) -> Scores:
        """Before anything was counted."""
        return cls(model, {name: Rate() for name in MEASURES})


def evaluate(
    model: Model,
    traces: Sequence[Trace],
    *,
    programs: Sequence[Labelled] = (),
    run: Run | None = None,
    frames: int = 20,
    seed: int = 0,
) -> Scores:
    """Score a model.

    Args:
        programs: with known termination.
        run: what checks predicted arguments; None leaves ``input`` out.
        frames: of each trace, how many are asked for one by one, drawn by ``seed``.

    Raises:
        PolicyError: the model's endpoint failed.
    """
    scores = Scores.none(model.name)
    chance = random.Random(seed)  # noqa: S311 - nothing secret
    for trace in traces:
        _score_frames(scores, model, trace, frames, chance)
        scores.rates["trace"].add(same_value(predict_trace(model, trace.context).trace.value, trace.value))
        if trace.outcome == "returned":
            scores.rates["output"].add(same_value(predict_output(model, trace), trace.value))
            if run is not None:
                _score_input(scores, model, trace, run)
    for program in programs:
        if program.label != "unknown":
            scores.rates["halting"].add(predict_halting(model, program.source) == (program.label == "halts"))
    return scores


def _score_frames(scores: Scores, model: Model, trace: Trace, count: int, chance: random.Random) -> None:
    places = sorted(chance.sample(range(len(trace.frames) + 1), min(count, len(trace.frames) + 1)))
    prompt, resolver, done = write_context(trace.context), Resolver(), 0
    for place in places:
        for frame in trace.frames[done:place]:
            prompt += write_frame(frame)
            resolver.feed(frame)
        done = place
        truth = trace.frames[place] if place < len(trace.frames) else None
        before = resolver.stack[-1] if resolver.stack else {}
        _score_frame(scores, predict_frame(model, prompt), truth, before)


def _score_frame(scores: Scores, found: PredictedFrame, truth: Frame | None, before: dict[str, str]) -> None:
    frame = found.frame
    action = (
        found.end if truth is None else (frame is not None and (frame.kind, frame.source) == (truth.kind, truth.source))
    )
    if truth is None or frame is None:
        state = exact = action
    else:
        state = frame.kind == truth.kind and frame.value == truth.value and _full(frame, before) == _full(truth, before)
        exact = found.text.removesuffix(tokens.FRAME) == write_frame(truth).removesuffix(tokens.FRAME)
    for name, right in {"format": found.well_formed, "action": action, "state": state, "exact": exact}.items():
        scores.rates[name].add(right)


def _full(frame: Frame, before: dict[str, str]) -> dict[str, str | None] | None:
    if frame.locals is None:
        return None
    known = before if frame.kind == "line" else {}
    return {name: known.get(name) if text == ".." else text for name, text in frame.locals.items()}


def _score_input(scores: Scores, model: Model, trace: Trace, run: Run) -> None:
    """Ask what the entry's function was called with, and call it with that."""
    split = split_call(trace)
    if split is None:
        return
    source, name, last = split
    arguments = predict_input(model, source, last)
    right = False
    if arguments is not None:
        call = f"{name}({', '.join(f'{key}={value}' for key, value in arguments.items())})"
        try:
            right = same_value(run(source, call).value, trace.value)
        except InputError:  # it does not run
            right = False
    scores.rates["input"].add(right)


def split_call(trace: Trace) -> tuple[str, str, Frame] | None:
    """Of a trace by CRUXEval's convention: the source without the call, the function, and its return; else None."""
    source, marker, call = trace.context.rpartition(MARKER)
    head = source.rpartition("\n")
    tree = call.strip().removeprefix("return ")
    try:
        node = ast.parse(tree, mode="eval").body
    except SyntaxError:
        return None
    if not marker or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or len(trace.frames) < 4:
        return None
    return head[0] + "\n", node.func.id, trace.frames[-2]


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
