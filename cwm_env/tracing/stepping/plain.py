"""The debugger for pipes and plain terminals: commands in, lines out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cwm_env.errors import InputError
from cwm_env.tracing.stepping.debugger import Debugger, first_divergence
from cwm_env.tracing.traces import Trace

COMMANDS = {
    "s": "into",
    "n": "over",
    "o": "out",
    "c": "continue",
    "S": "back",
    "N": "back_over",
    "O": "back_out",
    "C": "back_continue",
}
"""Key to step: capital letters go back."""
_WORDS = {"step": "s", "next": "n", "break": "b", "print": "p", "where": "w", "list": "l", "divergence": "d"}
HELP = """\
s into    n over    o out    c continue         (capital letters S N O C: the same, backwards)
b LINE    set or remove a breakpoint at a line of the source; b alone lists them
p [NAME]  print a variable, or all     w where     l list the source     d first divergence     q quit
words do as well: step, next, out, continue, back, break, print, where, list, divergence, quit"""


class Session:
    """A debugger's conversation. With a second trace, both are shown side by side, frame by frame."""

    def __init__(self, trace: Trace, other: Trace | None = None) -> None:
        """Begin at the first frame.

        Raises:
            InputError: the trace has no frames.
        """
        self.debugger = Debugger(trace)
        self.other = other
        self.divergence = first_divergence(trace, other) if other is not None else None

    def run(self, commands: Iterable[str]) -> Iterator[str]:
        """What to print, first where it stands, then after each command, until ``q`` or the end of the commands."""
        yield self.here()
        for line in commands:
            command, _, argument = line.strip().partition(" ")
            if command in ("q", "quit"):
                return
            try:
                yield self.answer(command, argument.strip())
            except InputError as error:
                yield str(error)

    def answer(self, command: str, argument: str = "") -> str:
        """The answer to one command.

        Raises:
            InputError: its argument is wrong.
        """
        command = _WORDS.get(command, command)
        step = COMMANDS.get(command, command)
        if step in COMMANDS.values():
            self.debugger.do(step)
            return self.here()
        if command == "b":
            return self._breakpoint(argument)
        if command == "p":
            found = self.debugger.variables
            if argument and argument not in found:
                raise InputError(f"no variable {argument!r} here: there are {', '.join(found) or 'none'}")
            return "\n".join(f"{name} = {text}" for name, text in found.items() if argument in ("", name)) or "(none)"
        if command == "w":
            return "\n".join(f"{'  ' * i}{frame.source.strip()}" for i, frame in enumerate(self.debugger.where()))
        if command == "l":
            return self.debugger.trace.context.rstrip("\n")
        if command == "d":
            return self._go_to_divergence()
        return HELP

    def here(self) -> str:
        """The frame it stands at, in one line; two where there is another trace."""
        at = self.debugger.position
        ours = line_of(self.debugger.trace, at)
        if self.other is None:
            return ours
        mark = "  <- first divergence" if at == self.divergence else ""
        return f"recorded   {ours}\npredicted  {line_of(self.other, at)}{mark}"

    def _breakpoint(self, argument: str) -> str:
        if not argument:
            return "\n".join(sorted(self.debugger.breakpoints)) or "(no breakpoints)"
        source = self._source(argument)
        return f"breakpoint {'set' if self.debugger.toggle(source) else 'removed'}: {source.strip()}"

    def _source(self, argument: str) -> str:
        lines = self.debugger.trace.context.split("\n")
        if argument.isdecimal():
            if not 0 < int(argument) <= len(lines):
                raise InputError(f"the source has {len(lines)} lines")
            return lines[int(argument) - 1].partition("  # << START_OF_TRACE")[0]
        return argument

    def _go_to_divergence(self) -> str:
        if self.other is None:
            raise InputError("there is no second trace to compare with")
        if self.divergence is None:
            return "the traces do not differ"
        self.debugger.position = min(self.divergence, len(self.debugger.trace.frames) - 1)
        return self.here()


def line_of(trace: Trace, at: int) -> str:
    """A frame in one line: number, kind, source, and what it shows anew."""
    if at >= len(trace.frames):
        return f"[{at + 1}/{len(trace.frames)}] (nothing)"
    frame = trace.frames[at]
    shown = ", ".join(f"{name}={text}" for name, text in (frame.locals or {}).items() if text != "..")
    what = f"-> {frame.value}" if frame.value is not None else shown
    return f"[{at + 1}/{len(trace.frames)}] {frame.kind:9} {frame.source.strip()}{f'   {what}' if what else ''}"
