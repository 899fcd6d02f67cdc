"""The tracer's log, read as it comes, into frames."""

from __future__ import annotations

import ast
import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from cwm_env.tracing.format import Frame, Kind

_KINDS: dict[str, Kind] = {"c": "call", "l": "line", "r": "return", "x": "exception"}


@dataclass(slots=True)
class SourceFile:
    """A file that traced code comes from."""

    path: str
    text: str
    lines: list[str] = field(init=False)
    """With their newlines."""
    definitions: dict[int, int] = field(init=False)
    """Line where a code object begins (its first decorator) to the line of its ``def`` or ``class``."""

    def __post_init__(self) -> None:
        self.text = self.text.replace("\r\n", "\n").replace("\r", "\n")
        self.lines = self.text.split("\n")
        self.lines = [line + "\n" for line in self.lines[:-1]] + ([self.lines[-1]] if self.lines[-1] else [])
        self.definitions = _definitions(self.text)

    def line(self, number: int) -> str:
        """A line by its number, from 1; empty beyond the end."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""


@dataclass(frozen=True, slots=True)
class CodeObject:
    """A function, class body or module."""

    file: SourceFile
    name: str
    """Qualified, on Python 3.11 and later."""
    line: int
    """Where its ``def`` or ``class`` stands; 1 of a module."""


@dataclass(slots=True)
class RawTrace:
    """One trace as it comes from the log."""

    number: int
    thread: int
    test: str = ""
    frames: list[Frame] = field(default_factory=list)
    codes: dict[int, CodeObject] = field(default_factory=dict)
    """The code objects that its calls are of."""
    status: str | None = None
    """None while it goes on; empty at its end; else why it was cut: events, bytes, lost, time, killed, exit."""
    stack: list[CodeObject] = field(default_factory=list)


@dataclass(slots=True)
class Ending:
    """What a traced process left behind."""

    exit_code: int | None = None
    """None where it never ended: time ran out."""
    stdout: bytes = b""
    stderr: bytes = b""
    cut: bool = False
    refusal: tuple[str, str] | None = None
    """Reason and detail, where it could not even begin."""
    found: dict[str, Any] = field(default_factory=dict)
    """Of a program whose loops were watched: its label and evidence."""
    verdicts: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of a test run: test to phase (``setup``, ``call``, ``teardown``, ``collect``) to outcome."""


class LogReader:
    """Takes the log in pieces; calls back with each trace when it ends, and each frame when it comes."""

    def __init__(
        self, on_trace: Callable[[RawTrace], None], on_frame: Callable[[RawTrace, Frame], None] | None = None
    ) -> None:
        """With ``on_frame``, frames are handed over and not kept: memory stays flat."""
        self._on_trace, self._on_frame = on_trace, on_frame
        self.ending = Ending()
        self._rest = b""
        self._files: dict[int, SourceFile] = {}
        self._codes: dict[int, CodeObject] = {}
        self._open: dict[int, RawTrace] = {}
        self._thread = 0
        self._test = ""

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if line:
                self._line(line.decode("ascii", "replace"))

    def finish(self) -> Ending:
        """After the last piece: traces that are still open are cut. Returns what the process left."""
        for trace in list(self._open.values()):
            code = self.ending.exit_code
            self._close(trace, "time" if code is None else "killed" if code > 128 else "exit")
        return self.ending

    def _line(self, text: str) -> None:
        kind, _, rest = text.partition("\t")
        event = _KINDS.get(kind[0])
        if event is not None:
            trace = self._open.get(self._thread)
            if trace is not None:
                self._event(trace, event, kind[1:], rest)
        elif kind == "@":
            self._thread = int(rest)
        elif kind == "B":
            self._open[self._thread] = RawTrace(int(rest), self._thread, self._test)
        elif kind == "E":
            trace = self._open.get(self._thread)
            if trace is not None:
                self._close(trace, rest)
        else:
            self._record(kind, json.loads(rest))

    def _record(self, kind: str, content: dict[str, Any]) -> None:
        if kind == "F":
            self._files[content["id"]] = SourceFile(content["file"], content["source"])
        elif kind == "K":
            file = self._files[content["file"]]
            line = file.definitions.get(content["line"], content["line"])
            self._codes[content["id"]] = CodeObject(file, content["name"], line)
        elif kind == "T":
            self._test = content["test"]
        elif kind == "V":
            self.ending.verdicts.setdefault(content["test"], {})[content["when"]] = content["outcome"]
        elif kind == "H":
            self.ending.found = content
        elif kind == "R":
            self.ending.refusal = (content["reason"], content["detail"])
        elif kind == "O":
            self.ending.stdout = base64.b64decode(content["stdout"])
            self.ending.stderr = base64.b64decode(content["stderr"])
            self.ending.cut = content["cut"]
        elif kind == "X":
            self.ending.exit_code = content["exit_code"]

    def _event(self, trace: RawTrace, kind: Kind, number: str, rest: str) -> None:
        if kind == "call":
            code = self._codes[int(number)]
            trace.codes[int(number)] = code
            trace.stack.append(code)
            _, _, payload = rest.partition("\t")
            line = code.line
        else:
            code, payload, line = trace.stack[-1], rest, int(number)
        source = "\n" if kind == "call" and code.name == "<module>" else code.file.line(line)
        found = json.loads(payload)
        state, value = (found, None) if kind in ("call", "line") else (None, found)
        frame = Frame(kind, source, state, value, line, code.file.path, code.name)
        if kind == "return":
            trace.stack.pop()
        if self._on_frame is None:
            trace.frames.append(frame)
        else:
            self._on_frame(trace, frame)

    def _close(self, trace: RawTrace, status: str) -> None:
        self._open.pop(trace.thread, None)
        trace.status = status
        self._on_trace(trace)


def _definitions(text: str) -> dict[int, int]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return {}
    return {
        min(node.lineno, *(d.lineno for d in node.decorator_list)): node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.decorator_list
    }


def read_log(pieces: Iterable[bytes]) -> tuple[list[RawTrace], Ending]:
    """The whole log at once."""
    traces: list[RawTrace] = []
    reader = LogReader(traces.append)
    for piece in pieces:
        reader.feed(piece)
    return traces, reader.finish()
