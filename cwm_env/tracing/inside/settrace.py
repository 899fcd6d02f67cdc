"""Recording with ``sys.settrace``: every CPython."""

import sys
import threading
from _thread import get_ident
from typing import Any, Callable, Optional

from cwm_env.tracing.inside.activation import Activation
from cwm_env.tracing.inside.recorder import FLUSH, Recorder, Thread

_settrace = sys.settrace
_SNAPSHOTS = sys.version_info < (3, 13)
_Trace = Callable[[Any, str, Any], Any]


class SetTrace:
    """Feeds a recorder with the events of all threads that start from now on, and of this one."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._codes = recorder._codes
        recorder.forget = _fade

    def start(self) -> None:
        """Begin. The program must not call ``sys.settrace`` itself; where it does, the trace ends there as lost."""
        self._recorder.calm.look()
        threading.settrace(self._call)
        _settrace(self._call)

    def stop(self) -> None:
        """End, in this thread and for new ones; other threads notice at their next event."""
        _settrace(None)
        threading.settrace(None)

    def _call(self, frame: Any, event: str, arg: Any) -> Optional[_Trace]:
        """The global trace function: a frame begins, or a generator goes on."""
        known = self._codes.get(id(frame.f_code))
        recorder = self._recorder
        if known is not None and known.code is frame.f_code:
            if not known.number or (known.spent and not recorder.open):
                return None  # most calls of a large run, by far
            if recorder.skipping and get_ident() in recorder.skipping:
                return None  # and most of the rest
        if not recorder.on:
            found = recorder.threads.get(get_ident())
            if found is None or not found.fading:
                _settrace(None)
            return None
        try:
            code = recorder.code(frame.f_code)
            if code is None:
                return None
            thread = recorder.thread()
            before = thread.skipped
            activation = thread.admit(frame, code)
            if activation is not None:
                return _local(recorder, thread, activation) if thread.open else None
            if before is None and thread.skipped is frame:
                frame.f_trace_lines = False  # Python 3.6 has no such thing, and goes on calling us
                return _skip(thread)
        except Exception:
            recorder.fail()
        return None


def _fade(thread: Thread, frame: Any) -> None:
    """Stop recording a frame that goes on running.

    Up to Python 3.12 its ``f_locals`` is a dict that holds every variable as of the last event. It is brought up to
    date at each event until the frame is left, or an object that the program lets go of would live on in it.
    """
    if not _SNAPSHOTS:
        frame.f_trace = None
        return

    def trace(frame: Any, event: str, arg: Any) -> _Trace:
        if event == "return":
            thread.fading.discard(id(frame))
            if not thread.fading and not thread.recorder.on:
                _settrace(None)
        else:
            frame.f_locals  # noqa: B018 - reading it is what brings it up to date
        return trace

    thread.fading.add(id(frame))
    frame.f_trace = trace


def _skip(thread: Thread) -> _Trace:
    """Waits for the end of a call that is stepped over."""

    def trace(frame: Any, event: str, arg: Any) -> _Trace:
        if event == "return" and thread.skipped is frame:
            thread.skip(None)
        return trace

    return trace


def _local(recorder: Recorder, thread: Thread, activation: Activation) -> _Trace:
    """The trace function of one activation, with all that it needs at hand: it runs for every line."""
    show, buffer, append, limit = activation.line, thread.buffer, thread.buffer.append, FLUSH

    def trace(frame: Any, event: str, arg: Any) -> Optional[_Trace]:
        try:
            if event == "line":
                number = frame.f_lineno
                append(f"l{number}\t{show(frame, number)}\n")
                if len(buffer) >= limit:
                    thread.flush()
                    if not thread.open:
                        return None  # the frame keeps the function that ``_fade`` gave it
            elif event == "return":
                thread.returned(activation, frame, arg)
            elif event == "exception":
                thread.raised(activation, frame, arg[1])
        except Exception:
            recorder.fail()
            return None
        return trace

    return trace
