"""The debugger's two faces: lines for pipes, a screen for people; with a predicted trace beside the recorded one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from textual.widgets import DataTable, Static

from cwm_env.cli.debug import debug
from cwm_env.tracing import Place, Trace, trace
from cwm_env.tracing.stepping.plain import HELP, Session
from cwm_env.tracing.stepping.screen import DebuggerApp
from tests.tracing.serving import serving

SOURCE = "def f(a, b):\n    c = a + b\n    d = c * 2\n    return d\n"


@pytest.fixture(scope="module")
def made() -> Trace:
    return trace(SOURCE, args=(1, 2), in_process=True)


@pytest.fixture(scope="module")
def wrong(made: Trace) -> Trace:
    return Trace.from_cwm(made.to_cwm().replace('"d": "6"', '"d": "7"').replace('<|arg_sep|>"6"', '<|arg_sep|>"7"'))


def test_a_conversation_in_lines(made: Trace) -> None:
    said = list(
        Session(made).run(["s", "s", "n", "n", "p", "p c", "p z", "S", "b 3", "b", "w", "O", "c", "?", "q", "s"])
    )
    assert said == [
        "[1/8] call      def main():",
        "[2/8] line      return f(1, 2)",
        "[3/8] call      def f(a, b):   a=1, b=2",
        "[4/8] line      c = a + b",
        "[5/8] line      d = c * 2   c=3",
        "a = 1\nb = 2\nc = 3",
        "c = 3",
        "no variable 'z' here: there are a, b, c",
        "[4/8] line      c = a + b",
        "breakpoint set: d = c * 2",
        "d = c * 2",
        "return f(1, 2)\n  c = a + b",
        "[3/8] call      def f(a, b):   a=1, b=2",
        "[5/8] line      d = c * 2   c=3",
        HELP,
    ]


def test_commands_may_be_words(made: Trace) -> None:
    words = ["step", "into", "next", "print c", "back", "where", "list", "break 3", "continue", "out", "quit"]
    letters = ["s", "s", "n", "p c", "S", "w", "l", "b 3", "c", "o", "q"]
    assert list(Session(made).run(words)) == list(Session(made).run(letters))


def test_two_traces_side_by_side_and_where_they_part(made: Trace, wrong: Trace) -> None:
    said = list(Session(made, wrong).run(["d"]))
    assert said[0] == "recorded   [1/8] call      def main():\npredicted  [1/8] call      def main():"
    assert said[1] == (
        "recorded   [6/8] line      return d   d=6\npredicted  [6/8] line      return d   d=7  <- first divergence"
    )


def test_the_screen_follows_the_keys(made: Trace, wrong: Trace) -> None:
    async def use() -> None:
        app = DebuggerApp(made, wrong)
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.press("s", "s", "n", "n")
            table = app.query_one("#variables", DataTable)
            assert [str(table.get_row_at(i)[1]) for i in range(table.row_count)] == ["1", "2", "3"]
            await pilot.press("b", "S")
            assert app.session.debugger.frame.source == "    c = a + b\n"
            source = str(app.query_one("#source", Static).render())
            assert "▶     c = a + b" in source and "●   3       d = c * 2" in source
            await pilot.press("c", "d")
            assert "first divergence" in str(app.query_one("#frame", Static).render())
            await pilot.press("q")

    asyncio.run(use())


def test_the_command_debugs_a_source_a_program_and_a_recorded_trace(
    tmp_path: Path, made: Trace, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Place, "default", lambda image="python": place)
    source, program, recorded = tmp_path / "f.py", tmp_path / "p.py", tmp_path / "t.cwm"
    source.write_text(SOURCE)
    program.write_text("n = int(input())\nprint(n)\n")
    recorded.write_text(made.to_cwm())
    (tmp_path / "in").write_text("5\n")
    run = CliRunner().invoke
    shown = run(debug, [str(source), "--call", "f(1, 2)"], input="c\n")
    assert shown.output == run(debug, [str(recorded)], input="c\n").output
    assert shown.output.endswith("[8/8] return    return f(1, 2)   -> 6\n")
    shown = run(debug, [str(program), "--stdin", str(tmp_path / "in")], input="s\ns\np n\n")
    assert shown.output.endswith("n = 5\n")


def test_the_command_compares_with_a_model(
    tmp_path: Path, wrong: Trace, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Place, "default", lambda image="python": place)
    (tmp_path / "f.py").write_text(SOURCE)

    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        text = wrong.to_cwm()
        assert text.startswith(body["prompt"])
        return 200, {"choices": [{"text": text[len(body["prompt"]) :], "finish_reason": "stop"}]}

    with serving(answer) as url:
        arguments = [str(tmp_path / "f.py"), "--call", "f(1, 2)", "--model", "m", "--url", url]
        both = CliRunner().invoke(debug, [*arguments, "--both"], input="d\n").output
        alone = CliRunner().invoke(debug, arguments, input="c\n").output
    assert "d=7  <- first divergence" in both
    assert alone.endswith("-> 7\n")
