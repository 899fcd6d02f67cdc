"""The debugger in a terminal: source, variables, calls; every key goes forwards, with Shift backwards."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import DataTable, Footer, Header, Static

from cwm_env.tracing.stepping.plain import COMMANDS, Session, line_of
from cwm_env.tracing.traces import Trace

_LABELS = {"s": "into", "n": "over", "o": "out", "c": "continue"}


class DebuggerApp(App[None]):
    """Walks over a trace; with a second one, shows both and marks where they part."""

    TITLE = "cwm-env debug"
    CSS = """
    #source { width: 3fr; border: round $primary; overflow-y: auto; }
    #side { width: 2fr; }
    #variables { border: round $secondary; height: 2fr; }
    #calls { border: round $secondary; height: 1fr; }
    #frame { border: round $accent; height: auto; min-height: 3; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, f"step('{key}')", label) for key, label in _LABELS.items()),
        *(
            Binding(key.upper(), f"step('{key.upper()}')", f"back {label}", show=False)
            for key, label in _LABELS.items()
        ),
        Binding("b", "breakpoint", "breakpoint"),
        Binding("d", "divergence", "divergence"),
        Binding("q", "quit", "quit"),
    ]

    def __init__(self, trace: Trace, other: Trace | None = None) -> None:
        """Take one trace, or a recorded and a predicted one.

        Raises:
            InputError: the trace has no frames.
        """
        super().__init__()
        self.session = Session(trace, other)

    def compose(self) -> ComposeResult:
        """Lay the panes out."""
        yield Header()
        with Horizontal():
            yield Static(id="source")
            with Vertical(id="side"):
                yield DataTable(id="variables", cursor_type="none")
                yield Static(id="calls")
        yield Static(id="frame")
        yield Footer()

    def on_mount(self) -> None:
        """Show the first frame."""
        self.query_one("#variables", DataTable).add_columns("variable", "value")
        self._show()

    def action_step(self, key: str) -> None:
        """Make a step."""
        self.session.debugger.do(COMMANDS[key])
        self._show()

    def action_breakpoint(self) -> None:
        """Set a breakpoint at the current line, or remove it."""
        self.session.debugger.toggle(self.session.debugger.frame.source)
        self._show()

    def action_divergence(self) -> None:
        """Go to where the traces part."""
        if self.session.divergence is not None:
            self.session.answer("d")
        self._show()

    def _show(self) -> None:
        debugger = self.session.debugger
        self.query_one("#source", Static).update(self._source())
        table = self.query_one("#variables", DataTable)
        table.clear()
        shown = debugger.frame.locals or {}
        for name, text in debugger.variables.items():
            style = "bold" if shown.get(name, "..") != ".." else ""
            table.add_row(Text(name, style), Text(text, style))
        calls = [f"{'  ' * i}{frame.source.strip()}" for i, frame in enumerate(debugger.where())]
        self.query_one("#calls", Static).update(Text("\n".join(calls)))
        self.query_one("#frame", Static).update(self._frame())

    def _source(self) -> Text:
        """The context with the current line and the breakpoints marked."""
        debugger = self.session.debugger
        text, current = Text(), debugger.frame.source.rstrip("\n")
        for number, line in enumerate(debugger.trace.context.split("\n"), 1):
            plain = line.partition("  # << START_OF_TRACE")[0]
            here = plain == current and bool(plain)
            dot = "●" if plain.strip() and plain.strip() in debugger.breakpoints else " "
            text.append(f"{dot}{number:4} {'▶' if here else ' '} {line}\n", "reverse" if here else "")
        return text

    def _frame(self) -> Text:
        at, other = self.session.debugger.position, self.session.other
        text = Text(line_of(self.session.debugger.trace, at))
        if other is not None:
            parted = self.session.divergence is not None and at >= self.session.divergence
            text.append(f"\n{line_of(other, at)}", "red" if parted else "green")
            if at == self.session.divergence:
                text.append("   ◀ first divergence", "bold red")
        return text
