"""Every row of the table of inputs that broke other runtimes, by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.session.cases import CASES, Case
from tests.session.conftest import Driver


@pytest.mark.parametrize("case", CASES, ids=str)
def test_after(case: Case, open_session: Callable[..., Driver]) -> None:
    session = open_session()
    for command in case.before:
        assert not session.run(command).shell_restarted
    for index, (command, expect) in enumerate(case.turns):
        result = session.run(command, timeout=case.timeout if index == 0 else None)
        assert not (wrong := expect.wrong(result)), f"after {command[:200]!r}: {wrong}"
        if expect.timed_out:
            assert result.duration < case.timeout + 3.0  # the limit, a second, and what a busy machine takes
