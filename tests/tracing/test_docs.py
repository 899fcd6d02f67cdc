"""The worked example of docs/tracing.md is what the code really gives."""

from __future__ import annotations

import re
from pathlib import Path

from cwm_env.tracing import tokens, trace

PAGE = (Path(__file__).parents[2] / "docs" / "tracing.md").read_text()


def test_the_worked_example_is_true() -> None:
    found = re.search(r'SOURCE = """\\\n(.*?)"""', PAGE, re.DOTALL)
    text = re.search(r"```text\n(.*?)```", PAGE, re.DOTALL)
    assert found and text
    made = trace(found[1], entry="halve", args=(5,), in_process=True)
    assert made.to_cwm().replace("<|frame_sep|>", "<|frame_sep|>\n") == text[1].removesuffix("\n")


def test_the_table_of_tokens_is_true() -> None:
    rows = re.findall(r"`<\\\|(\w+)\\\|>` \| (\d+)", PAGE)
    assert {f"<|{name}|>": int(number) for name, number in rows} == tokens.TOKENS
