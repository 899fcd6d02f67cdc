"""An independent recorder that runs beside the tracer, on the same events, and keeps everything in full.

It becomes a part of the tracer's one file (``one_file(more)``) and writes a line ``s<tab>JSON`` before each event that
shows variables: all of them, made anew by ``repr`` where the value is built in, without any memory of the last event.
"""

import json
from typing import Any

from cwm_env.tracing.inside import modes
from cwm_env.tracing.inside.settrace import SetTrace
from cwm_env.tracing.inside.values import Renderer

PLAIN = (int, float, bool, str, bytes, type(None), list, tuple, dict)


def is_plain(value: Any, depth: int = 6) -> bool:
    """Whether a value is built in through and through, and small, so that ``repr`` alone says what it is."""
    kind = type(value)
    if kind not in PLAIN or depth < 0:
        return False
    if kind is int:
        return bool(-(10**50) < value < 10**50)
    if kind in (str, bytes):
        return len(value) < 300
    if kind in (list, tuple):
        return len(value) < 100 and all(is_plain(part, depth - 1) for part in value)
    if kind is dict:
        pairs = list(value.items())
        return len(pairs) < 100 and all(is_plain(k, depth - 1) and is_plain(v, depth - 1) for k, v in pairs)
    return True


def text_of(value: Any) -> str:
    """A value as text, from nothing."""
    if is_plain(value):
        text = repr(value)
        if len(text) <= 2000:
            return text
    return Renderer().text(value)


class Shadowed(SetTrace):
    """The tracer's own trace functions, each with the shadow before it."""

    def _call(self, frame: Any, event: str, arg: Any) -> Any:
        recorder = self._recorder
        if not recorder.on or recorder.code(frame.f_code) is None:
            return super()._call(frame, event, arg)
        thread = recorder.thread()
        note(thread.buffer, frame)
        mine = thread.buffer[-1]
        inner = super()._call(frame, event, arg)
        if thread.stack and thread.stack[-1].frame is frame:
            return beside(inner, thread.buffer)
        if thread.buffer and thread.buffer[-1] is mine:
            del thread.buffer[-1]
        return inner


def beside(inner: Any, buffer: Any) -> Any:
    """A local trace function that notes everything, then hands over."""

    def trace(frame: Any, event: str, arg: Any) -> Any:
        nonlocal inner
        if event == "line":
            note(buffer, frame)
        inner = inner(frame, event, arg) or inner
        return trace

    return trace


def note(buffer: Any, frame: Any) -> None:
    """Put all variables of a frame into the log."""
    shown: dict[str, Any] = dict(frame.f_locals)
    if not frame.f_code.co_flags & 2:
        shown = {k: v for k, v in shown.items() if not (k.startswith("__") and k.endswith("__")) and k != ".."}
    buffer.append(f"s\t{json.dumps({name: text_of(value) for name, value in shown.items()})}\n")


modes.engine = lambda recorder, kind="": Shadowed(recorder)
