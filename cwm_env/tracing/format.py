"""The Code World Model's trace format: frames to text and back, without loss, as a stream.

    <|begin_of_text|><|trace_context_start|>CONTEXT<|frame_sep|>
    <|call_sep|>LOCALS<|action_sep|>SOURCE<|frame_sep|>                  and so with <|line_sep|>
    <|return_sep|><|action_sep|>SOURCE<|arg_sep|>VALUE<|frame_sep|>      and so with <|exception_sep|>
    <|end_of_text|>

No newlines stand between the parts; they are here for reading. ``LOCALS`` is a JSON object whose every value is a
string, a variable's ``repr``, or ``".."`` where that is what it was in the previous frame of the same call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from cwm_env.tracing import tokens
from cwm_env.tracing.errors import FormatError

Kind = Literal["call", "line", "return", "exception"]
SAME = ".."
"""Stands for the value that the variable had in the previous frame of the same call."""
_SEPARATORS = {kind: f"<|{kind}_sep|>" for kind in get_args(Kind)}
_KINDS: dict[str, Kind] = {_SEPARATORS[kind]: kind for kind in get_args(Kind)}
_TOKEN = re.compile("|".join(map(re.escape, tokens.TOKENS)))
_LONGEST_TOKEN = max(map(len, tokens.TOKENS))


@dataclass(frozen=True, slots=True)
class Frame:
    """One event of a trace. The last three fields are not part of the text."""

    kind: Kind
    source: str
    """The source line, with its indentation and its own newline."""
    locals: Mapping[str, str] | None = None
    """Of a call or a line: each variable's ``repr``, or ``".."``."""
    value: str | None = None
    """Of a return or an exception: its ``repr``. None is what a call "returns" that an exception leaves."""
    line: int = field(default=0, compare=False)
    """Line in its file, from 1; 0 where unknown."""
    file: str = field(default="", compare=False)
    function: str = field(default="", compare=False)
    """The function's qualified name."""


def write_frame(frame: Frame) -> str:
    """The text of one frame, its ``<|frame_sep|>`` included."""
    source = tokens.escape(frame.source)
    if frame.kind in ("call", "line"):
        state = tokens.escape_json(json.dumps(frame.locals))
        return f"{_SEPARATORS[frame.kind]}{state}{tokens.ACTION}{source}{tokens.FRAME}"
    value = tokens.escape_json(json.dumps(frame.value))
    return f"{_SEPARATORS[frame.kind]}{tokens.ACTION}{source}{tokens.ARG}{value}{tokens.FRAME}"


def write_context(context: str) -> str:
    """The text that comes before the first frame: what a model is prompted with."""
    return f"{tokens.BEGIN}{tokens.CONTEXT}{tokens.escape(context)}{tokens.FRAME}"


def write(context: str, frames: Iterable[Frame], complete: bool = True) -> Iterator[str]:
    """The text of a trace in pieces: a trace larger than memory can be written as it comes."""
    yield write_context(context)
    for frame in frames:
        yield write_frame(frame)
    if complete:
        yield tokens.END


class Reader:
    """Reads a trace from pieces of text, as they come; holds no more than one frame.

    >>> reader = Reader(["<|begin_of_text|><|trace_context_start|>x<|frame_sep|>", "<|end_of_text|>"])
    >>> reader.context, list(reader), reader.complete
    ('x', [], True)
    """

    def __init__(self, pieces: Iterable[str]) -> None:
        """Begin to read.

        Raises:
            FormatError: the text does not begin as a trace does.
        """
        self._pieces = iter(pieces)
        self._text, self._at, self._before = "", 0, 0
        self.complete = False
        """Whether ``<|end_of_text|>`` was seen; known at the end."""
        self._take(tokens.BEGIN)
        self._take(tokens.CONTEXT)
        self.context = tokens.unescape(self._until(tokens.FRAME))
        """The source code that the trace is about."""

    @property
    def position(self) -> int:
        """Characters read so far."""
        return self._before + self._at

    def __iter__(self) -> Iterator[Frame]:
        """The frames, once.

        Raises:
            FormatError: says what was expected, at which character, and what stands there.
        """
        while self._more():
            if self._text.startswith(tokens.END, self._at):
                self._take(tokens.END)
                self.complete = True
                if self._more():
                    raise FormatError("nothing was expected after the end", self.position, self._rest())
                return
            yield self._frame()

    def _frame(self) -> Frame:
        separator = next((s for s in _KINDS if self._text.startswith(s, self._at)), None)
        if separator is None:
            raise FormatError("a frame or the end of the trace was expected", self.position, self._rest())
        kind = _KINDS[separator]
        self._take(separator)
        if kind in ("call", "line"):
            at = self.position
            state = read_locals(self._until(tokens.ACTION), at)
            return Frame(kind, tokens.unescape(self._until(tokens.FRAME)), locals=state)
        self._take(tokens.ACTION)
        source = tokens.unescape(self._until(tokens.ARG))
        at = self.position
        return Frame(kind, source, value=read_value(self._until(tokens.FRAME), at))

    def _more(self) -> bool:
        """Have the next token at hand; False where nothing is left."""
        while len(self._text) - self._at < _LONGEST_TOKEN and self._fetch():
            pass
        return self._at < len(self._text)

    def _fetch(self) -> bool:
        """Take one more piece, and forget what was read."""
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._before += self._at
        self._text, self._at = self._text[self._at :] + piece, 0
        return True

    def _rest(self) -> str:
        return self._text[self._at : self._at + 40] or "the end"

    def _take(self, token: str) -> None:
        self._more()
        if not self._text.startswith(token, self._at):
            raise FormatError(f"{token} was expected", self.position, self._rest())
        self._at += len(token)

    def _until(self, token: str) -> str:
        """The text before the next special token, which must be ``token``; both are taken."""
        scan = self._at
        while (match := _TOKEN.search(self._text, scan)) is None:
            scanned = max(len(self._text) - _LONGEST_TOKEN, self._at) - self._at
            if not self._fetch():
                raise FormatError(f"{token} was expected", self._before + len(self._text), "the end")
            scan = self._at + scanned
        if match.group() != token:
            raise FormatError(f"{token} was expected", self._before + match.start(), match.group())
        found = self._text[self._at : match.start()]
        self._at = match.end()
        return found


def read_locals(text: str, at: int) -> dict[str, str]:
    """``LOCALS``, which begins at character ``at``."""
    found = _json(text, at)
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise FormatError("a JSON object of strings was expected", at, text)
    return found


def read_value(text: str, at: int) -> str:
    """``VALUE``, which begins at character ``at``."""
    found = _json(text, at)
    if not isinstance(found, str):
        raise FormatError("a JSON string was expected", at, text)
    return found


def _json(text: str, at: int) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise FormatError(f"JSON was expected ({error.msg})", at + error.pos, text[error.pos :] or "nothing") from None
    except RecursionError:
        raise FormatError("JSON of fewer levels was expected", at, text) from None


class Resolver:
    """Follows a trace frame by frame and knows every variable of every open call: ``..`` resolved.

    A generator that goes on has a new call frame, which shows everything: nothing is looked up across it.
    """

    def __init__(self) -> None:
        """At the beginning of a trace, no call is open."""
        self.stack: list[dict[str, str]] = []
        """Variables of the open calls, the outermost first."""
        self._count = 0

    def feed(self, frame: Frame) -> dict[str, str]:
        """Take the next frame, and return all variables of its call at that point (a copy).

        Raises:
            FormatError: the frame stands outside of any call, or ``..`` stands for what no frame of its call shows.
        """
        self._count += 1
        if frame.kind == "call":
            self.stack.append({})
        elif not self.stack:
            raise FormatError(f"a {frame.kind} stands outside of any call", self._count, frame.source, unit="frame")
        known = self.stack[-1]
        if frame.locals is not None:
            new = {}
            for name, text in frame.locals.items():
                if text == SAME and name not in known:
                    raise FormatError(
                        f"{name} is {SAME!r} but no frame of its call shows it", self._count, unit="frame"
                    )
                new[name] = known[name] if text == SAME else text
            self.stack[-1] = known = new
        if frame.kind == "return":
            self.stack.pop()
        return dict(known)
