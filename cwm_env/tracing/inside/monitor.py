"""Recording with ``sys.monitoring``: CPython 3.12 and later.

The events are those of ``sys.settrace`` on the same interpreter, one for one. Code that is not recorded costs nothing
after its first call: its events are switched off.
"""

import sys
from typing import Any, Dict

from cwm_env.tracing.inside.recorder import FLUSH, Recorder

_getframe = sys._getframe
_ONLY_OURS = 3  # references to a frame's dict of variables: the frame's, a variable's here, and an argument's


class Monitor:
    """Feeds a recorder with the events of all threads."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._monitoring = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
        self._tool = -1
        self._lines: Dict[int, Any] = {}
        if sys.version_info < (3, 13):
            recorder.forget = _empty

    def start(self) -> None:
        """Begin, in every thread. Idempotent.

        Raises:
            RuntimeError: other tools hold all of the interpreter's places.
        """
        monitoring, events = self._monitoring, self._monitoring.events
        if self._tool >= 0:
            return
        for tool in (4, 3, 5, 1, 2, 0):
            if monitoring.get_tool(tool) is None:
                monitoring.use_tool_id(tool, "cwm_env")
                self._tool = tool
                break
        else:
            raise RuntimeError("every tool id of sys.monitoring is taken")
        self._local = events.LINE | events.PY_RETURN | events.PY_YIELD | events.JUMP
        callbacks = [
            (events.PY_START, self._start),
            (events.PY_RESUME, self._start),
            (events.PY_THROW, self._throw),
            (events.PY_RETURN, self._return),
            (events.PY_YIELD, self._return),
            (events.PY_UNWIND, self._unwind),
            (events.RAISE, self._raise),
            (events.STOP_ITERATION, self._raise),
            (events.LINE, self._make_line()),
            (events.JUMP, self._jump),
        ]
        everywhere = 0
        calm = self._recorder.calm
        calm.disturbing |= {"sys.settrace"}
        calm.look()
        calm.ours = True
        for event, callback in callbacks:
            monitoring.register_callback(self._tool, event, callback)
            everywhere |= 0 if event & self._local else event
        calm.ours = False
        monitoring.set_events(self._tool, everywhere)

    def stop(self) -> None:
        """End, in every thread. Idempotent."""
        if self._tool >= 0:
            self._monitoring.set_events(self._tool, 0)
            for known in self._recorder._codes.values():
                if known.number:
                    self._monitoring.set_local_events(self._tool, known.code, 0)
            self._recorder.calm.ours = True
            for number in range(17):
                self._monitoring.register_callback(self._tool, 1 << number, None)
            self._recorder.calm.ours = False
            self._monitoring.free_tool_id(self._tool)
            self._tool = -1

    def _start(self, code: Any, offset: int) -> Any:
        """A frame begins, or goes on after a yield."""
        recorder = self._recorder
        try:
            known = recorder.code(code) if recorder.on else None
            if known is None:
                return self._monitoring.DISABLE
            if known.spent and not recorder.open:
                return None
            if id(code) not in self._lines:
                self._lines[id(code)] = None
                self._monitoring.set_local_events(self._tool, code, self._local)
            recorder.thread().admit(_getframe(1), known)
        except Exception:
            recorder.fail()
        return None

    def _throw(self, code: Any, offset: int, error: BaseException) -> None:
        """A frame goes on with an exception: ``throw`` or ``close`` of a generator."""
        recorder = self._recorder
        try:
            known = recorder.code(code) if recorder.on else None
            if known is not None:
                recorder.thread().admit(_getframe(1), known)
        except Exception:
            recorder.fail()

    def _return(self, code: Any, offset: int, value: Any) -> None:
        """A frame returns or yields."""
        self._leave(_getframe(1), value)

    def _unwind(self, code: Any, offset: int, error: BaseException) -> None:
        """An exception leaves a frame."""
        known = self._recorder._codes.get(id(code))
        if known is not None and known.number:
            self._leave(_getframe(1), None)

    def _leave(self, frame: Any, value: Any) -> None:
        recorder = self._recorder
        if not recorder.on:
            return
        try:
            thread = recorder.thread()
            if thread.skipped is frame:
                thread.skip(None)
            elif thread.stack and thread.stack[-1].frame is frame:
                thread.returned(thread.stack[-1], frame, value)
        except Exception:
            recorder.fail()

    def _raise(self, code: Any, offset: int, error: BaseException) -> None:
        """An exception came up in a frame, or passes through it."""
        recorder = self._recorder
        known = recorder._codes.get(id(code))
        if known is None or not known.number or not recorder.on:
            return
        try:
            frame, thread = _getframe(1), recorder.thread()
            if thread.stack and thread.stack[-1].frame is frame:
                thread.raised(thread.stack[-1], frame, error)
        except Exception:
            recorder.fail()

    def _make_line(self) -> Any:
        recorder = self._recorder
        threads, find, forget = recorder.threads, recorder.thread, self._monitoring.DISABLE

        from _thread import get_ident

        def line(what: Any, number: int) -> Any:
            """A line is about to run."""
            if not recorder.on:
                return forget
            try:
                thread = threads.get(get_ident()) or find()
                frame, stack = _getframe(1), thread.stack
                if not stack or stack[-1].frame is not frame:
                    return None
                buffer = thread.buffer
                buffer.append(f"l{number}\t{stack[-1].line(frame, number)}\n")
                if len(buffer) >= FLUSH:
                    thread.flush()
            except Exception:
                recorder.fail()
            return None

        return line

    def _jump(self, code: Any, offset: int, target: int) -> Any:
        """A loop within one line comes round: a line event of its own, as ``sys.settrace`` has it."""
        if target > offset:
            return self._monitoring.DISABLE
        lines = self._lines.get(id(code))
        if lines is None:
            lines = self._lines[id(code)] = [(start, stop, line) for start, stop, line in code.co_lines()]
        here, there = _line_at(lines, offset), _line_at(lines, target)
        if here != there or here is None:
            return self._monitoring.DISABLE
        frame = _getframe(1)
        try:
            thread = self._recorder.thread()
            if self._recorder.on and thread.stack and thread.stack[-1].frame is frame:
                activation = thread.stack[-1]
                thread.buffer.append("l%d\t%s\n" % (here, activation.line(frame, here)))
        except Exception:
            self._recorder.fail()
        return None


def _empty(thread: Any, frame: Any) -> None:
    """Let go of the variables that a frame's ``f_locals`` holds, unless the program keeps that dict itself."""
    held = frame.f_locals
    if sys.getrefcount(held) <= _ONLY_OURS:
        held.clear()


def _line_at(lines: Any, offset: int) -> Any:
    for start, stop, line in lines:
        if start <= offset < stop:
            return line
    return None
