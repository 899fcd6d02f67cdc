"""The neural debugger's dialect: a debugger's session as text, states and actions in turn.

    <|begin_of_text|><|trace_context_start|>CONTEXT<|frame_sep|>
    STATE<|action_sep|>ACTION STATE<|action_sep|>ACTION STATE … <|exit_normal|><|trace_end|><|end_of_text|>

    STATE   <|call_sep|>LOCALS<|src_sep|>SOURCE<|frame_sep|>                and so with <|line_sep|>
            <|return_sep|><|src_sep|>SOURCE<|arg_sep|>VALUE<|frame_sep|>    and so with <|exception_sep|>
            <|inv_call_sep|> … where an inverse action led there
    ACTION  <|step_into|> <|step_over|> <|step_return|> <|continue|> <|breakpoint|>SOURCE, and their inverses
            <|inv_step_into|> <|inv_step_over|> <|inv_step_call|> <|inv_continue|> <|inv_breakpoint|>SOURCE

``LOCALS`` is full in a call, after a call, a return or an exception, after a breakpoint, and where a variable went
away. Else only what changed stands there, and one ``"..": ".."`` for all the rest. The paper names the tokens and the
rules; where it leaves the order of the parts open, this is ours.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cwm_env.tracing import tokens
from cwm_env.tracing.errors import FormatError
from cwm_env.tracing.format import SAME, Kind, read_locals, read_value
from cwm_env.tracing.stepping.debugger import Debugger
from cwm_env.tracing.traces import Trace

_TOKEN_OF = {
    "into": "step_into",
    "over": "step_over",
    "out": "step_return",
    "continue": "continue",
    "breakpoint": "breakpoint",
    "back": "inv_step_into",
    "back_over": "inv_step_over",
    "back_out": "inv_step_call",
    "back_continue": "inv_continue",
    "back_breakpoint": "inv_breakpoint",
}
_ACTION_OF = {f"<|{token}|>": action for action, token in _TOKEN_OF.items()}
_STATE = re.compile(r"<\|(inv_)?(call|line|return|exception)_sep\|>")
_JUMPS = ("continue", "breakpoint", "back_continue", "back_breakpoint")
_EXITS = ("<|exit_normal|>", "<|exit_exception|>")

POLICIES: Mapping[str, Mapping[str, float]] = {
    "mixed": {"into": 0.35, "over": 0.1, "out": 0.2, "breakpoint": 0.1, "continue": 0.05},
    "steps": {"into": 0.5, "over": 0.5},
}
"""The paper's mixtures of actions for training, weights as printed."""


@dataclass(frozen=True, slots=True)
class Action:
    """A step of the debugger, or running to a line."""

    name: str
    """One of ``debugger.ACTIONS``, ``breakpoint`` or ``back_breakpoint``."""
    source: str = ""
    """Of a breakpoint: the line."""


@dataclass(frozen=True, slots=True)
class State:
    """Where an action led."""

    kind: Kind
    source: str
    locals: Mapping[str, str] | None = None
    """As written: ``"..": ".."`` stands for all that did not change."""
    value: str | None = None
    inverse: bool = False


@dataclass(frozen=True)
class Session:
    """A walk over a trace."""

    context: str
    states: tuple[State, ...]
    actions: tuple[Action, ...]
    """One less than the states."""
    ended: str = ""
    """``exit_normal`` or ``exit_exception`` where the walk came to the trace's end."""

    def to_text(self) -> str:
        """The session as text."""
        parts = [f"{tokens.BEGIN}{tokens.CONTEXT}{tokens.escape(self.context)}{tokens.FRAME}"]
        for i, state in enumerate(self.states):
            if i:
                action = self.actions[i - 1]
                parts.append(f"{tokens.ACTION}<|{_TOKEN_OF[action.name]}|>{tokens.escape(action.source)}")
            parts.append(_write(state))
        if self.ended:
            parts.append(f"<|{self.ended}|><|trace_end|>")
        return "".join((*parts, tokens.END))

    @classmethod
    def from_text(cls, text: str) -> Session:
        """Read a session.

        Raises:
            FormatError: the text is not one; says where.
        """
        return _Parser(text).session()

    @property
    def resolved(self) -> tuple[dict[str, str] | None, ...]:
        """All variables of each state; None of a return and an exception."""
        found: list[dict[str, str] | None] = []
        for state in self.states:
            now = None if state.locals is None else dict(state.locals)
            if now is not None and now.pop(SAME, None) == SAME:
                now = {**(found[-1] or {}), **now}
            found.append(now)
        return tuple(found)


def walk(trace: Trace, actions: Sequence[Action]) -> Session:
    """The session in which a debugger makes these steps from the trace's first frame; it stops at the last frame."""
    debugger = Debugger(trace)
    states, done = [_state(debugger, None, None, "")], []
    for action in actions:
        if debugger.at_end and not action.name.startswith("back"):
            break
        before = debugger.position
        if action.name.endswith("breakpoint"):
            debugger.run_to(action.source, action.name.startswith("back"))
        else:
            debugger.do(action.name)
        done.append(action)
        states.append(_state(debugger, before, states[-1], action.name))
    ended = f"exit_{'exception' if trace.outcome == 'raised' else 'normal'}" if debugger.at_end else ""
    return Session(trace.context, tuple(states), tuple(done), ended)


def random_walk(trace: Trace, policy: str = "mixed", seed: int = 0, steps: int = 200) -> Session:
    """A session whose actions are drawn from one of ``POLICIES``; breakpoints are lines that the trace comes to."""
    chance = random.Random(seed)  # noqa: S311 - nothing secret
    weights = POLICIES[policy]
    sources = sorted({frame.source for frame in trace.frames if frame.kind == "line"}) or ["\n"]
    names = chance.choices(list(weights), list(weights.values()), k=steps)
    return walk(trace, [Action(name, chance.choice(sources) if name == "breakpoint" else "") for name in names])


def _state(debugger: Debugger, before: int | None, last: State | None, action: str) -> State:
    frame, inverse = debugger.frame, action.startswith("back")
    if frame.locals is None:
        return State(frame.kind, frame.source, None, frame.value, inverse)
    now = debugger.variables
    calls = debugger.tree.call_of
    if (
        before is not None
        and last is not None
        and last.kind == "line" == frame.kind
        and action not in _JUMPS
        and calls[before] == calls[debugger.position]
    ):
        was = debugger.trace.resolved[before]
        changed = {name: value for name, value in now.items() if was.get(name) != value}
        if was.keys() <= now.keys() and len(changed) < len(now):
            # The rest comes first: where it is resolved, it gives the order.
            return State(frame.kind, frame.source, {SAME: SAME, **changed}, None, inverse)
    return State(frame.kind, frame.source, now, None, inverse)


def _write(state: State) -> str:
    separator = f"<|{'inv_' if state.inverse else ''}{state.kind}_sep|>"
    source = tokens.escape(state.source)
    if state.locals is not None:
        return f"{separator}{tokens.escape_json(json.dumps(dict(state.locals)))}<|src_sep|>{source}{tokens.FRAME}"
    value = tokens.escape_json(json.dumps(state.value))
    return f"{separator}<|src_sep|>{source}{tokens.ARG}{value}{tokens.FRAME}"


class _Parser:
    def __init__(self, text: str) -> None:
        self._parts = [*tokens.split(text), ("", len(text))]
        self._at = 0

    def session(self) -> Session:
        self._take(tokens.BEGIN)
        self._take(tokens.CONTEXT)
        context = tokens.unescape(self._text())
        self._take(tokens.FRAME)
        states, actions, ended = [self._state()], [], ""
        while self._now in (tokens.ACTION, *_EXITS):
            if self._now in _EXITS:
                ended = self._now[2:-2]
                self._at += 1
                self._take("<|trace_end|>")
                break
            self._at += 1
            actions.append(self._action())
            states.append(self._state())
        self._take(tokens.END)
        self._take("")
        return Session(context, tuple(states), tuple(actions), ended)

    @property
    def _now(self) -> str:
        return self._parts[min(self._at, len(self._parts) - 1)][0]

    def _fail(self, what: str) -> FormatError:
        part, position = self._parts[min(self._at, len(self._parts) - 1)]
        return FormatError(f"{what} was expected", position, part or "the end")

    def _take(self, token: str) -> None:
        if self._now != token:
            raise self._fail(token or "nothing more")
        self._at += 1

    def _text(self) -> str:
        """A run of text; empty where the next special token follows at once."""
        if self._now.startswith("<|") and self._now.endswith("|>"):
            return ""
        self._at += 1
        return self._parts[self._at - 1][0]

    def _action(self) -> Action:
        name = _ACTION_OF.get(self._now)
        if name is None:
            raise self._fail("an action")
        self._at += 1
        return Action(name, tokens.unescape(self._text()) if name.endswith("breakpoint") else "")

    def _state(self) -> State:
        match = _STATE.fullmatch(self._now)
        if match is None:
            raise self._fail("a state")
        self._at += 1
        kind: Kind = match[2]  # type: ignore[assignment]
        found = None
        if kind in ("call", "line"):
            position = self._parts[self._at][1]
            found = read_locals(self._text(), position)
        self._take("<|src_sep|>")
        source = tokens.unescape(self._text())
        value = None
        if kind in ("return", "exception"):
            self._take(tokens.ARG)
            position = self._parts[self._at][1]
            value = read_value(self._text(), position)
        self._take(tokens.FRAME)
        return State(kind, source, found, value, bool(match[1]))
