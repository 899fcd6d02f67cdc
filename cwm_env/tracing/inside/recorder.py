"""Which activations are recorded, and the log that comes of it.

The log is lines of ASCII. Definitions come before their first use:

    F<tab>{"id", "file", "source"}              a source file
    K<tab>{"id", "file", "name", "line"}        a code object of that file; ``line`` is where it begins
    @<tab>THREAD                                what follows is of that thread
    B<tab>TRACE<tab>DEPTH                       a trace begins; E<tab>STATUS ends it
    c CODE<tab>LINE<tab>LOCALS                  call, in the format's own JSON
    l LINE<tab>LOCALS      r LINE<tab>VALUE      x LINE<tab>VALUE

A trace is what one thread does in an entry's scope. Threads are numbered as they appear.
"""

import os
import zlib
from _thread import allocate_lock, get_ident
from json import dumps
from typing import Any, Callable, Dict, List, Optional, Set

from cwm_env.tracing.inside.activation import Activation
from cwm_env.tracing.inside.codes import Code
from cwm_env.tracing.inside.comparing import quote, variables_of
from cwm_env.tracing.inside.sources import Sources
from cwm_env.tracing.inside.values import Renderer

FLUSH = 1 << 10
_write, _getpid = os.write, os.getpid


class Policy:
    """What is recorded. Plain data, made from the request."""

    def __init__(self, request: Dict[str, Any]) -> None:
        self.roots = tuple(request.get("roots", ()))
        self.exclude = tuple(request.get("exclude", ()))
        self.max_events = int(request.get("max_events", 10**9))
        self.max_bytes = int(request.get("max_bytes", 10**12))
        self.max_frames = int(request.get("max_frames", 10**9))
        self.max_depth = int(request.get("max_depth", 10**9))
        self.step_in = float(request.get("step_in", 1.0))
        self.seed = int(request.get("seed", 0))
        self.per_function = int(request.get("per_function", 10**9))
        self.entries = request.get("entries", "any")
        """``any`` function may begin a trace, or [file, name, line] of the only one that does."""
        self.not_entries = tuple(request.get("not_entries", ()))
        self.values = {k: int(request[k]) for k in ("chars", "items", "depth") if k in request}

    def covers(self, filename: str) -> bool:
        """Whether code of that file is recorded."""
        return filename.startswith(self.roots) and not any(part in filename for part in self.exclude)


class Recorder:
    """Shared by all threads of one traced process."""

    def __init__(self, policy: Policy, descriptor: int, sources: Optional[Sources] = None) -> None:
        """Record into ``descriptor``, which the recorder owns from now on."""
        self.policy, self.sources = policy, sources or Sources()
        self._descriptor, self._lock, self._pid = descriptor, allocate_lock(), _getpid()
        self._codes: Dict[int, Any] = {}
        self._files: Dict[Any, int] = {}
        self._traces = self._numbers = 0
        self._limited = self._closed = self.entered = False
        self.threads: Dict[int, Thread] = {}
        self.calm = self.sources.calm
        self.on = True
        self.forget: Callable[[Thread, Any], None] = lambda thread, frame: None  # of a frame that outlives its trace
        self.skipping: Set[int] = set()  # threads that are stepping over a call
        self.open = 0  # traces that go on now, of all threads
        self.events = self.bytes = 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def thread(self) -> "Thread":
        """The state of the calling thread."""
        found = self.threads.get(get_ident())
        if found is None:
            with self._lock:
                found = self.threads[get_ident()] = Thread(self, len(self.threads))
        return found

    def code(self, code: Any) -> Optional[Code]:
        """The registered code object, None where it is not recorded."""
        found = self._codes.get(id(code))
        if found is None:
            found = self._codes[id(code)] = self._register(code)
        return found if found.code is code and found.number else None

    def _register(self, code: Any) -> Code:
        self.calm.begins(code)
        source = None
        if self.policy.covers(code.co_filename) or code.co_filename.startswith("<"):
            source = self.sources.of(code)
        if source is None:
            return Code(0, code, self.calm)
        key = code.co_filename if not code.co_filename.startswith("<") else (code.co_filename, source)
        if key not in self._files:
            self._files[key] = len(self._files) + 1
            self._define("F", {"id": self._files[key], "file": code.co_filename, "source": source})
        self._numbers += 1
        name = getattr(code, "co_qualname", code.co_name)
        line = max(code.co_firstlineno, 1)
        self._define("K", {"id": self._numbers, "file": self._files[key], "name": name, "line": line})
        return Code(self._numbers, code, self.calm)

    def _define(self, kind: str, content: Dict[str, Any]) -> None:
        self.put("{}\t{}\n".format(kind, dumps(content)).encode())

    def next_trace(self) -> int:
        """The number of a trace that begins."""
        self._traces += 1
        return self._traces

    def put(self, data: bytes) -> None:
        """Write whole lines; the reader's end being gone ends the recording, not the program."""
        with self._lock:
            if self._closed or self._pid != _getpid():
                return
            self.bytes += len(data)
            try:
                while data:
                    data = data[_write(self._descriptor, data) :]
            except OSError:
                self.on, self._closed = False, True

    def count(self, events: int) -> None:
        """Add to what was recorded; beyond the limits, nothing more is."""
        self.events += events
        full = self.events >= self.policy.max_events
        if self._limited or not (full or self.bytes >= self.policy.max_bytes):
            return
        self._limited = True
        for thread in list(self.threads.values()):
            if thread.open:
                thread.end("events" if full else "bytes")
        self.on = False

    def fail(self) -> None:
        """Give up on this thread's trace: recording it failed, as it does at the end of the program's own stack."""
        try:
            self.thread().lose()
        except Exception:
            self.on = False

    def close(self) -> None:
        """End every trace and write what is left. Idempotent."""
        for thread in list(self.threads.values()):
            thread.lose()
            thread.flush()
        self.on = False

    def _forked(self) -> None:
        self.on, self._closed = False, True
        self._lock = allocate_lock()


class Thread:
    """What one thread of the program is in the middle of."""

    def __init__(self, recorder: Recorder, number: int) -> None:
        self.recorder, self.number, self._ident = recorder, number, get_ident()
        self.policy = recorder.policy
        self.renderer = Renderer(**recorder.policy.values)
        self.stack: List[Activation] = []
        self.skipped: Any = None
        self.buffer: List[str] = []
        self._calls = self._trace = self._frames = 0
        self.open = False
        """Whether a trace goes on."""
        self.fading: Set[int] = set()  # frames no longer recorded, whose ``f_locals`` still hold variables

    def admit(self, frame: Any, code: Code) -> Optional[Activation]:
        """Decide on a call of recorded code: its activation, or None where it is stepped over."""
        if self.skipped is not None or not self.recorder.on:
            return None
        if not self.stack:
            if not self._begins(code):
                code.spent = self.policy.entries == "any"
                return None
            self._begin(code)
            if not self.recorder.on:  # that was the last event that may be
                return None
        elif len(self.stack) >= self.policy.max_depth or not self._steps_in():
            self.skip(frame)
            return None
        activation = Activation(code, self.renderer, frame)
        self.stack.append(activation)
        line = frame.f_lineno or 1
        text = activation.call(variables_of(frame, code), line)
        self.buffer.append("c{}\t{}\t{}\n".format(code.number, line, text))
        if len(self.buffer) >= FLUSH:
            self.flush()
        return activation

    def _begins(self, code: Code) -> bool:
        entries = self.policy.entries
        if entries == "any":
            if code.plain or code.name.startswith("<") or code.begun >= self.policy.per_function:
                return False
            return not any(part in code.code.co_filename for part in self.policy.not_entries)
        if self.number:  # a thread that the traced call started
            return self.recorder.entered and not code.name.startswith("<")
        entry = code.code.co_filename == entries[0] and code.name == entries[1] and not self._trace
        self.recorder.entered = self.recorder.entered or entry
        return bool(entry)

    def _begin(self, code: Code) -> None:
        code.begun += 1
        self.recorder.open += 1
        self.open = True
        self._trace, self._calls, self._frames = self.recorder.next_trace(), 0, 0
        self.buffer.append("B\t{}\n".format(self._trace))
        self.flush()  # so that the reader hears of a trace whose process is killed

    def _steps_in(self) -> bool:
        """A coin that falls the same way for the same seed, trace and call."""
        if self.policy.step_in >= 1.0:
            return True
        self._calls += 1
        toss = "{} {} {}".format(self.policy.seed, self._trace, self._calls).encode()
        mixed = zlib.crc32(toss) * 0x9E3779B1 & 0xFFFFFFFF  # neighbours differ in few bits of their checksum
        return mixed ^ mixed >> 15 < self.policy.step_in * 2.0**32

    def raised(self, activation: Activation, frame: Any, error: Any) -> None:
        """An exception came up in an activation: what runs next is not told by the line."""
        activation.number = 0
        self.buffer.append("x{}\t{}\n".format(frame.f_lineno or 0, quote(self.renderer.text(error))))

    def returned(self, activation: Activation, frame: Any, value: Any) -> None:
        """An activation is left: it returned, yielded, or an exception left it (the value is None then)."""
        self.buffer.append("r{}\t{}\n".format(frame.f_lineno or 0, quote(self.renderer.text(value))))
        while self.stack and self.stack.pop() is not activation:
            pass  # an activation whose end nobody told us of
        activation.frame = None
        if not self.stack:
            self.end("")

    def skip(self, frame: Any) -> None:
        """Step over a call until its frame is left; None: go on recording."""
        self.skipped = frame
        (self.recorder.skipping.discard if frame is None else self.recorder.skipping.add)(self._ident)

    def end(self, status: str) -> None:
        """End the trace that goes on. An empty status is a trace that came to its end."""
        for activation in self.stack:
            if activation.frame is not None:
                self.recorder.forget(self, activation.frame)
                activation.frame = None  # the trace function, which refers to itself, would keep it
        del self.stack[:]
        self.skip(None)
        self.recorder.open -= 1
        self.open = False
        self.buffer.append("E\t{}\n".format(status))
        self.flush()

    def lose(self) -> None:
        """End the trace that goes on, if one does, as lost."""
        if self.open:
            self.end("lost")

    def flush(self) -> None:
        """Hand what was recorded over."""
        lines = self.buffer  # always this list: the trace functions hold it
        if lines:
            data = "@\t{}\n{}".format(self.number, "".join(lines)).encode()
            size = len(lines)
            del lines[:]
            if self.recorder.on:
                self.recorder.put(data)
                self.recorder.count(size)
            self._frames += size
            if self._frames > self.policy.max_frames and self.open:
                self.end("length")
