"""Tests that a record does not call by their whole ids are found all the same, and canaries are none of them."""

from __future__ import annotations

import pytest

from cwm_env.grading.names import statuses
from cwm_env.grading.reports import Report, read_channel
from cwm_env.types import TestStatus

TESTS: dict[str, TestStatus] = {
    "testbed/tests/test_a.py::test_b[not true]": "PASSED",
    "testbed/tests/test_a.py::test_b[not false]": "FAILED",
    "testbed/tests/test_a.py::test_c[one two]": "PASSED",
    "testbed/tests/test_a.py::test_p[/tmp/x/y.zip]": "PASSED",
    "testbed/sympy/tests/test_d.py::test_bare": "PASSED",
    "m.C.test_e": "PASSED",
    "m.C.test_planted_copy": "FAILED",
}
TITLES = {"m.C.test_e": "It does what it says.", "m.C.test_planted_copy": "It does what it says."}


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("testbed/tests/test_a.py::test_b[not true]", "PASSED"),
        ("testbed/tests/test_a.py::test_b[not", "FAILED"),
        ("testbed/tests/test_a.py::test_c[one", "PASSED"),
        ("testbed/tests/test_a.py::test_c[o", "PASSED"),
        ("testbed/tests/test_a.py::test_p[/y.zip]", "PASSED"),
        ("test_bare", "PASSED"),
        ("It does what it says.", "PASSED"),
        ("test_b", "MISSING"),
        ("It does nothing.", "MISSING"),
    ],
)
def test_a_test_is_found_under_the_records_name(name: str, status: str) -> None:
    report = Report(TESTS, titles=TITLES)
    assert statuses(report, [name], {"test_planted_copy"}) == {name: status}


def test_titles_come_through_the_channel() -> None:
    line = b'{"id": "m.C.t", "status": "PASSED", "title": "It works.", "nonce": "n"}\n'
    assert read_channel(line, "n").titles == {"m.C.t": "It works."}
