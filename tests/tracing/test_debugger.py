"""Stepping through a trace, in both directions; its environment; its dialect as text."""

from __future__ import annotations

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from cwm_env.envs.debugger import STEPS, DebuggerEnv
from cwm_env.errors import InputError
from cwm_env.tracing import FormatError, Trace, trace
from cwm_env.tracing.stepping.debugger import ACTIONS, Debugger, first_divergence
from cwm_env.tracing.stepping.dialect import POLICIES, Action, Session, random_walk, walk
from tests.tracing.programs import program

SOURCE = """
def g(x):
    y = x + 1
    return y
def f(a):
    b = g(a) + g(a + 1)
    c = b * 2
    return c
"""


@pytest.fixture(scope="module")
def made() -> Trace:
    return trace(SOURCE, args=(1,), in_process=True)


def sources(debugger: Debugger, actions: str) -> list[str]:
    return [debugger.do(action).source.strip() for action in actions.split()]


def test_into_over_and_out(made: Trace) -> None:
    debugger = Debugger(made)
    assert sources(debugger, "into into into into") == ["return f(1)", "def f(a):", "b = g(a) + g(a + 1)", "def g(x):"]
    assert [frame.source.strip() for frame in debugger.where()] == ["return f(1)", "b = g(a) + g(a + 1)", "def g(x):"]
    assert sources(debugger, "out") == ["return y"]
    assert debugger.frame.value == "2"
    assert sources(debugger, "over over") == ["c = b * 2", "return c"]
    assert debugger.variables == {"a": "1", "b": "5", "c": "10"}
    assert sources(debugger, "out out out") == ["return c", "return f(1)", "return f(1)"]
    assert debugger.at_end


def test_back_is_the_way_that_was_come(made: Trace) -> None:
    debugger = Debugger(made)
    while not debugger.at_end:
        debugger.do("into")
    assert sources(debugger, "back_over") == ["return f(1)"]
    assert debugger.frame.kind == "line"
    debugger.do("into")
    debugger.do("out")
    assert sources(debugger, "back_over back_over back_over") == ["return c", "c = b * 2", "b = g(a) + g(a + 1)"]
    assert sources(debugger, "back_out back_out back_out back") == [
        "def f(a):",
        "return f(1)",
        "def main():",
        "def main():",
    ]


def test_breakpoints_stop_in_both_directions(made: Trace) -> None:
    debugger = Debugger(made)
    assert debugger.toggle("    y = x + 1\n")
    assert sources(debugger, "continue continue") == ["y = x + 1", "y = x + 1"]
    assert debugger.variables == {"x": "2"}
    assert sources(debugger, "back_continue continue continue") == ["y = x + 1", "y = x + 1", "return f(1)"]
    assert debugger.at_end and not debugger.toggle("y = x + 1")
    with pytest.raises(InputError, match="never comes"):
        debugger.toggle("nothing")
    with pytest.raises(InputError, match="no step"):
        debugger.do("jump")


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.lists(st.sampled_from(ACTIONS), max_size=40))
def test_every_step_keeps_its_promise_on_any_trace(seed: int, actions: list[str]) -> None:
    debugger = Debugger(trace(program(seed), in_process=True))
    tree = debugger.tree
    for action in actions:
        before = debugger.position
        debugger.do(action)
        after, moved = debugger.position, debugger.position - before
        assert moved >= 0 if not action.startswith("back") else moved <= 0
        if action == "over" and tree.beside(before, 1) is not None:
            assert tree.call_of[after] == tree.call_of[before]
        if action == "out" and tree.members[tree.call_of[before]][-1] != before:
            assert debugger.frame.kind == "return" and tree.call_of[after] == tree.call_of[before]
        if action in ("into", "back"):
            assert abs(moved) <= 1


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from(sorted(POLICIES)), st.integers(0, 99))
def test_a_session_comes_back_from_its_text(seed: int, policy: str, draw: int) -> None:
    made = trace(program(seed), in_process=True)
    session = random_walk(made, policy, draw)
    again = Session.from_text(session.to_text())
    assert again == session and again.to_text() == session.to_text()


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.lists(st.sampled_from(ACTIONS), max_size=40))
def test_a_sessions_variables_are_the_traces(seed: int, actions: list[str]) -> None:
    made = trace(program(seed), in_process=True)
    session = walk(made, [Action(name) for name in actions])
    debugger = Debugger(made)
    for i, found in enumerate(session.resolved):
        if i:
            debugger.do(session.actions[i - 1].name)
        assert found == (debugger.variables if debugger.frame.locals is not None else None)


def test_the_letter_of_the_debuggers_dialect(made: Trace) -> None:
    actions = [Action("breakpoint", "    c = b * 2\n"), Action("over"), Action("over"), Action("back_out")]
    text = walk(made, actions).to_text()
    assert text.partition("<|frame_sep|>")[2] == (
        "<|call_sep|>{}<|src_sep|>def main():\n<|frame_sep|>"
        "<|action_sep|><|breakpoint|>    c = b * 2\n"
        '<|line_sep|>{"a": "1", "b": "5"}<|src_sep|>    c = b * 2\n<|frame_sep|>'
        "<|action_sep|><|step_over|>"
        '<|line_sep|>{"..": "..", "c": "10"}<|src_sep|>    return c\n<|frame_sep|>'
        "<|action_sep|><|step_over|>"
        '<|return_sep|><|src_sep|>    return c\n<|arg_sep|>"10"<|frame_sep|>'
        "<|action_sep|><|inv_step_call|>"
        '<|inv_call_sep|>{"a": "1"}<|src_sep|>def f(a):\n<|frame_sep|>'
        "<|end_of_text|>"
    )
    with pytest.raises(FormatError, match="an action was expected: at character"):
        Session.from_text(text.replace("<|step_over|>", "<|frame_sep|>"))


def test_the_first_divergence_is_found(made: Trace) -> None:
    assert first_divergence(made, made) is None
    other = trace(SOURCE.replace("b * 2", "b * 2  "), args=(1,), in_process=True)
    assert first_divergence(made, other) == next(i for i, f in enumerate(made.frames) if "c = b" in f.source)
    shorter = Trace(made.context, made.frames[:5])
    assert first_divergence(made, shorter) == 5


def test_the_environment_keeps_gymnasiums_contract(made: Trace) -> None:
    env = DebuggerEnv(made, render_mode="ansi")
    check_env(env, skip_render_check=True)
    _, info = env.reset()
    assert info["context"] == made.context
    steps = [STEPS.index(name) for name in ("into", "breakpoint", "out")]
    text, reward, terminated, truncated, info = env.step(steps[0])
    assert text == "<|line_sep|>{}<|action_sep|>    return f(1)\n<|frame_sep|>" and not terminated
    *_, info = env.step(steps[1])
    assert info["breakpoints"] == ["return f(1)"]
    text, reward, terminated, truncated, info = env.step(steps[2])
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["position"] == info["frames"] - 1
    with pytest.raises(InputError, match="reset"):
        env.step(0)


def test_gymnasium_makes_it_by_its_id(made: Trace) -> None:
    env = gymnasium.make("cwm_env:Debugger-v0", trace=made, turns=20, render_mode="ansi", disable_env_checker=True)
    assert isinstance(env.unwrapped, DebuggerEnv)
    check_env(env.unwrapped, skip_render_check=True)
    env.reset(seed=1)
    assert env.step(STEPS.index("into"))[0].startswith("<|line_sep|>")
    env.close()


def test_an_episode_out_of_turns_is_truncated(made: Trace) -> None:
    env = DebuggerEnv(made, turns=2)
    env.reset()
    env.step(STEPS.index("back"))
    assert env.step(STEPS.index("back"))[1:4] == (0.0, False, True)
