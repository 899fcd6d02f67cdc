"""Frames to text and back, without loss; and what is wrong with a text that is not a trace."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cwm_env.tracing import FormatError, Frame, Trace, tokens, trace
from cwm_env.tracing.format import Reader, write
from cwm_env.tracing.inside import sources
from tests.tracing.programs import program

texts = st.text(alphabet=st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
    ["..", "<|frame_sep|>", r"<\|frame_sep|>", r"<\\|end_of_text|>", "<|", "|>", "<|arg_sep|", "\x00\t\r\n", "\u2028"]
)
states = st.dictionaries(texts, texts, max_size=4)
frames = st.one_of(
    st.builds(Frame, st.sampled_from(["call", "line"]), texts, locals=states),
    st.builds(Frame, st.sampled_from(["return", "exception"]), texts, value=texts),
)


@given(texts, st.lists(frames, max_size=6), st.booleans())
def test_any_frames_come_back_from_their_text(context: str, made: list[Frame], complete: bool) -> None:
    before = Trace(context, tuple(made), complete)
    after = Trace.from_cwm(before.to_cwm())
    assert after == before
    assert after.to_cwm() == before.to_cwm()


@given(texts, st.lists(frames, max_size=4), st.data())
def test_text_may_come_in_any_pieces(context: str, made: list[Frame], data: st.DataObject) -> None:
    text = "".join(write(context, made))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    reader = Reader(pieces)
    assert (reader.context, list(reader), reader.complete) == (context, made, True)


@given(texts, st.lists(frames, max_size=4))
def test_token_ids_carry_a_trace_without_loss(context: str, made: list[Frame]) -> None:
    text = "".join(write(context, made))
    ids = tokens.encode(text, lambda part: [ord(c) for c in part])
    assert tokens.decode(ids, lambda run: "".join(map(chr, run))) == text
    assert ids[0] == 128000 and ids[1] == 128107 and ids[-1] == 128001


@settings(max_examples=60)
@given(st.integers(0, 10**6))
def test_traces_of_generated_programs_come_back_from_their_text(seed: int) -> None:
    made = trace(program(seed), in_process=True)
    text = made.to_cwm()
    again = Trace.from_cwm(text)
    assert again == made and again.to_cwm() == text and again.resolved == made.resolved


def test_the_letter_of_the_format() -> None:
    made = trace("def f(x):\n    y = [x]\n    del x\n    y.append(2)\n    return y\n", args=(1,), in_process=True)
    assert made.to_cwm() == (
        "<|begin_of_text|><|trace_context_start|>def f(x):\n    y = [x]\n    del x\n    y.append(2)\n    return y\n"
        "def main():  # << START_OF_TRACE\n    return f(1)\n<|frame_sep|>"
        "<|call_sep|>{}<|action_sep|>def main():\n<|frame_sep|>"
        "<|line_sep|>{}<|action_sep|>    return f(1)\n<|frame_sep|>"
        '<|call_sep|>{"x": "1"}<|action_sep|>def f(x):\n<|frame_sep|>'
        '<|line_sep|>{"x": ".."}<|action_sep|>    y = [x]\n<|frame_sep|>'
        '<|line_sep|>{"x": "..", "y": "[1]"}<|action_sep|>    del x\n<|frame_sep|>'
        '<|line_sep|>{"y": ".."}<|action_sep|>    y.append(2)\n<|frame_sep|>'
        '<|line_sep|>{"y": "[1, 2]"}<|action_sep|>    return y\n<|frame_sep|>'
        '<|return_sep|><|action_sep|>    return y\n<|arg_sep|>"[1, 2]"<|frame_sep|>'
        '<|return_sep|><|action_sep|>    return f(1)\n<|arg_sep|>"[1, 2]"<|frame_sep|>'
        "<|end_of_text|>"
    )


HEAD = "<|begin_of_text|><|trace_context_start|>x<|frame_sep|>"


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("", 0, "begin_of_text"),
        ("<|begin_of_text|>x", 17, "trace_context_start"),
        (HEAD + "x", len(HEAD), "a frame or the end"),
        (HEAD + "<|line_sep|>{<|action_sep|>x<|frame_sep|>", len(HEAD) + 13, "JSON"),
        (HEAD + "<|line_sep|>[]<|action_sep|>x<|frame_sep|>", len(HEAD) + 12, "object of strings"),
        (HEAD + '<|line_sep|>{"a": 1}<|action_sep|>x<|frame_sep|>', len(HEAD) + 12, "object of strings"),
        (HEAD + "<|line_sep|>{}<|frame_sep|>", len(HEAD) + 14, "action_sep"),
        (HEAD + "<|return_sep|><|action_sep|>x<|frame_sep|>", len(HEAD) + 29, "arg_sep"),
        (HEAD + "<|return_sep|>{}<|action_sep|>x<|arg_sep|>", len(HEAD) + 14, "action_sep"),
        (HEAD + "<|line_sep|>{}<|action_sep|>x", len(HEAD) + 29, "frame_sep"),
        (HEAD + "<|end_of_text|>x", len(HEAD) + 15, "after the end"),
    ],
)
def test_an_error_names_the_position(text: str, position: int, words: str) -> None:
    with pytest.raises(FormatError, match=words) as caught:
        Trace.from_cwm(text)
    assert caught.value.position == position
    assert str(position) in str(caught.value)


@pytest.mark.parametrize(
    "made",
    [
        [Frame("line", "x", {"a": "1"})],
        [Frame("call", "x", {"a": ".."})],
        [Frame("call", "x", {"a": "1"}), Frame("call", "y", {"a": ".."})],
        [Frame("call", "x", {}), Frame("return", "x", value="None"), Frame("line", "x", {})],
    ],
)
def test_what_cannot_be_resolved_is_refused_with_its_frame(made: list[Frame]) -> None:
    with pytest.raises(FormatError, match=f"at frame {len(made)}"):
        _ = Trace("", tuple(made)).resolved


def test_a_trace_larger_than_a_piece_is_read_frame_by_frame() -> None:
    size = 50_000
    taken = 0

    def pieces() -> object:
        nonlocal taken
        yield HEAD
        for i in range(size):
            taken += 1
            yield f"<|line_sep|>{json.dumps({'i': str(i)})}<|action_sep|>x\n<|frame_sep|>"
        yield "<|end_of_text|>"

    reader = Reader(pieces())  # type: ignore[arg-type]
    for i, frame in enumerate(reader):
        assert frame.locals == {"i": str(i)}
        assert taken <= i + 4
    assert reader.complete


@pytest.mark.parametrize("source", ["def f(): return eval('1 + 1')", "def f(): raise SystemExit(3)", "def f(): 1 / 0"])
def test_nothing_of_this_process_is_listened_to_once_a_recording_is_over(source: str) -> None:
    for _ in range(3):
        trace(source, in_process=True)
    assert sources._listeners == []
