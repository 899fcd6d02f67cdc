"""Frames that a model predicts: the next one, a whole trace, or the arguments behind a value."""

from __future__ import annotations

from dataclasses import dataclass

from cwm_env.tracing import tokens
from cwm_env.tracing.errors import FormatError
from cwm_env.tracing.format import Frame, Reader, Resolver, read_locals, write_context, write_frame
from cwm_env.tracing.judging.endpoint import Model
from cwm_env.tracing.traces import Trace

_FRAME_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class PredictedFrame:
    """What a model says comes next."""

    text: str
    frame: Frame | None
    """None where the text is no frame; also where it is the end."""
    end: bool = False
    """Whether the model says that the trace is over."""

    @property
    def well_formed(self) -> bool:
        """Whether the text is a frame, or the end."""
        return self.end or self.frame is not None


@dataclass(frozen=True, slots=True)
class PredictedTrace:
    """A trace that a model wrote by itself."""

    trace: Trace
    """The frames that can be read."""
    error: str = ""
    """Why the rest cannot, or where its tokens ran out."""


def predict_frame(model: Model, prompt: str) -> PredictedFrame:
    """The frame that a model puts after ``prompt``, a trace up to some ``<|frame_sep|>``."""
    answer = model.complete(prompt, [tokens.FRAME, tokens.END], _FRAME_TOKENS)
    text = answer.text
    if answer.stopped and (not text or text == tokens.END):
        return PredictedFrame(tokens.END, None, end=True)
    try:
        found = list(Reader([write_context(""), text, "" if text.endswith(tokens.FRAME) else tokens.FRAME]))
    except FormatError:
        found = []
    return PredictedFrame(text, found[0] if len(found) == 1 else None)


def predict_trace(model: Model, context: str, max_tokens: int = 32768) -> PredictedTrace:
    """The whole trace that a model sees in a source with a marked entry."""
    prompt = write_context(context)
    answer = model.complete(prompt, [tokens.END], max_tokens)
    text = answer.text + (tokens.END if answer.stopped and not answer.text.endswith(tokens.END) else "")
    reader = Reader([prompt, text])
    frames: list[Frame] = []
    resolver = Resolver()
    error = "" if answer.stopped else "its tokens ran out"
    try:
        for frame in reader:
            resolver.feed(frame)
            frames.append(frame)
    except FormatError as problem:
        error = str(problem)
    return PredictedTrace(Trace(context, tuple(frames), reader.complete and not error), error)


def predict_output(model: Model, trace: Trace) -> str | None:
    """The entry's value, asked for at once, without the frames between (CRUXEval's output direction)."""
    start = next((i for i, frame in enumerate(trace.frames) if frame.kind == "line"), None)
    if start is None:
        return None
    last = trace.frames[-1]
    prompt = write_context(trace.context) + "".join(map(write_frame, trace.frames[: start + 1]))
    prompt += f"{tokens.RETURN}{tokens.ACTION}{tokens.escape(last.source)}{tokens.ARG}"
    text = model.complete(prompt, [tokens.FRAME, tokens.END], _FRAME_TOKENS).text
    piece = f"{tokens.RETURN}{tokens.ACTION}{tokens.ARG}{text}{tokens.FRAME}"
    try:
        return next(iter(Reader([write_context(""), piece]))).value
    except (FormatError, StopIteration):
        return None


def input_prompt(source: str, last: Frame) -> str:
    """The neural debugger's question for what a function was called with: back from its return to its call."""
    state = f"<|return_sep|><|src_sep|>{tokens.escape(last.source)}{tokens.ARG}"
    value = write_frame(last).partition(tokens.ARG)[2]
    return f"{write_context(source)}{state}{value}{tokens.ACTION}<|inv_step_call|>"


def predict_input(model: Model, source: str, last: Frame) -> dict[str, str] | None:
    """The arguments with which a function comes to its last frame (CRUXEval's input direction), by the model's word.

    Args:
        source: without the call.
        last: the function's return.
    """
    text = model.complete(input_prompt(source, last), ["<|src_sep|>", tokens.FRAME, tokens.END], _FRAME_TOKENS).text
    try:
        return read_locals(text.removeprefix("<|inv_call_sep|>"), 0)
    except FormatError:
        return None


def predict_halting(model: Model, source: str) -> bool | None:
    """Whether a program halts, by the model's word; None where it says neither yes nor no."""
    prompt = f"{source.rstrip()}\n\n# Does this program halt? (yes or no)\n# Answer:"
    word = model.complete(prompt, ["\n"], 16).text.strip().lower().rstrip(".")
    return {"yes": True, "no": False}.get(word)
