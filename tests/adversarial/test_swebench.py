"""Whatever the official verdict says of an exploit, the hardened one is never resolved."""

from __future__ import annotations

from pathlib import Path

import pytest

from cwm_env.images import ImageStore
from cwm_env.sandbox.base import Backend
from cwm_env.swebench import Evaluator, Official
from cwm_env.tasks.swebench import parse
from tests.adversarial.swebench import cheated
from tests.swebench.small import small_record, write_recipe

TRIED = ("conftest-new", "report-hook", "prints-passed-and-exits", "exits-at-import", "skips-the-module")
"""Of each kind one: all of them, on a real instance, are tried before a release (docs/swebench.md)."""


@pytest.fixture(scope="module")
def official() -> Official:
    return Official()


def test_no_exploit_is_resolved_by_the_hardened_verdict(tmp_path: Path, backend: Backend, official: Official) -> None:
    row = small_record(tmp_path / "record").raw
    record = parse({**row, "PASS_TO_PASS": row["PASS_TO_PASS"][:1]})  # without what fails as expected: it would pass
    image = ImageStore().get(str(write_recipe(tmp_path / "small")))
    with official:
        evaluator = Evaluator(
            tmp_path / "out", "cheat", backend=backend, images=lambda _: image, official=official, timeout=60
        )
        found = dict(cheated(evaluator, backend, image, record, TRIED))
    assert set(found) == set(TRIED)
    assert {name for name, each in found.items() if each.hardened.outcome == "resolved"} == set()
    assert {name for name, each in found.items() if each.official.outcome == "resolved"}, "the official one is cheated"
