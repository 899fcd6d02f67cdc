"""What a run said is read strictly: nothing is a pass that does not say so."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwm_env.grading.reports import read_channel, read_junit, read_tap
from cwm_env.grading.runner import Ran
from cwm_env.grading.verdict import verdict
from cwm_env.types import HiddenTests

NONCE = "n"


def lines(*records: object) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def test_the_worst_phase_of_a_test_counts() -> None:
    report = read_channel(
        lines(
            *({"nonce": NONCE, "id": "a", "status": s} for s in ("PASSED", "ERROR", "PASSED")),
            {"nonce": NONCE, "end": 1},
        ),
        NONCE,
    )
    assert report.tests == {"a": "ERROR"} and report.ended == 1 and report.forged == ""


@pytest.mark.parametrize(
    "channel",
    [
        b"nonsense\n",
        lines({"id": "a", "status": "PASSED"}),
        lines({"nonce": "other", "end": 0}),
        lines({"nonce": NONCE, "end": 0}, {"nonce": NONCE, "id": "a", "status": "PASSED"}),
        lines({"nonce": NONCE, "end": 0}, {"nonce": NONCE, "end": 0}),
        lines({"nonce": NONCE, "id": "a", "status": "FINE"}),
        lines({"nonce": NONCE, "end": "0"}),
        lines([1], 2, None),
        b"[" * 100000 + b"\n",
    ],
)
def test_what_our_reporter_cannot_have_written_is_forged(channel: bytes) -> None:
    assert read_channel(channel, NONCE).forged


@given(st.binary(max_size=200))
def test_no_bytes_make_a_pass_without_the_nonce(channel: bytes) -> None:
    report = read_channel(channel, "0123456789abcdef")
    assert not report.tests and report.ended is None


def test_junit_is_read_and_entities_are_not() -> None:
    good = (
        b"<testsuites><testsuite><testcase classname='a' name='p'/>"
        b"<testcase classname='a' name='f'><failure/></testcase>"
        b"<testcase name='e'><error/><failure/></testcase><testcase name='s'><skipped/></testcase>"
        b"<testcase name='twice'/><testcase name='twice'><failure/></testcase></testsuite></testsuites>"
    )
    assert read_junit([good]).tests == {
        "a::p": "PASSED",
        "a::f": "FAILED",
        "e": "ERROR",
        "s": "SKIPPED",
        "twice": "FAILED",
    }
    bomb = b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]><testsuite><testcase name='&a;'/></testsuite>"
    assert read_junit([b"", b"<", bomb, "<testcase name='x'/>".encode("utf-16")]).tests in ({}, {"x": "PASSED"})


@pytest.mark.parametrize(
    ("output", "tests"),
    [
        ("1..2\nok 1 - a\nnot ok 2 - b\n", {"a": "PASSED", "b": "FAILED"}),
        ("ok 1\nok 2 # skip why\n1..2\n", {"1": "PASSED", "2": "SKIPPED"}),
        ("1..2\nnot ok 1 a # TODO x\nok 2 b # todo\n", {"a": "XFAIL", "b": "XPASS"}),
        ("1..3\nok 1 a\n", {}),
        ("ok 1 a\n", {}),
        ("1..1\nok 1 a\nBail out! no\n", {}),
        ("1..1\n  ok 1 inner\nok 1 - with \\# hash\n", {"with \\# hash": "PASSED"}),
        ("okay\nnotok\n", {}),
    ],
)
def test_tap(output: str, tests: dict[str, str]) -> None:
    assert read_tap(output).tests == tests


def hidden(**changes: object) -> HiddenTests:
    from pathlib import Path

    given = {
        "directory": Path("/none"),
        "runner": "pytest",
        "fail_to_pass": ("m::a",),
        "pass_to_pass": ("m::b",),
        **changes,
    }
    return HiddenTests(**given)  # type: ignore[arg-type]


def ran(end: int | None = 1, code: int = 1, **tests: str) -> Ran:
    records = [{"nonce": NONCE, "id": f"m::{name}", "status": status} for name, status in tests.items()]
    ends = [] if end is None else [{"nonce": NONCE, "end": end}]
    return Ran(read_channel(lines(*records, *ends), NONCE), code, "", canaries=("c", "d"))


@pytest.mark.parametrize(
    ("run", "outcome"),
    [
        (ran(a="PASSED", b="PASSED", c="FAILED", d="ERROR"), "resolved"),
        (ran(a="PASSED", b="FAILED", c="FAILED", d="FAILED"), "unresolved"),
        (ran(a="PASSED", b="SKIPPED", c="FAILED", d="FAILED"), "unresolved"),
        (ran(a="PASSED", b="XFAIL", c="FAILED", d="FAILED"), "unresolved"),
        (ran(a="PASSED", b="XPASS", c="FAILED", d="FAILED"), "unresolved"),
        (ran(a="PASSED", c="FAILED", d="FAILED"), "unresolved"),
        (ran(end=2, code=2, a="PASSED"), "unresolved"),
        (ran(end=None, code=0, a="PASSED", b="PASSED", c="FAILED", d="FAILED"), "unresolved"),
        (ran(end=0, code=0, a="PASSED", b="PASSED", c="PASSED", d="FAILED"), "tampered"),
        (ran(a="FAILED", b="PASSED", c="PASSED", d="FAILED"), "tampered"),
        (ran(a="PASSED", b="PASSED", c="XPASS", d="FAILED"), "tampered"),
        (ran(a="PASSED", b="PASSED", c="FAILED"), "tampered"),
        (ran(a="PASSED", b="PASSED", c="SKIPPED", d="FAILED"), "tampered"),
        (ran(end=0, code=0, a="PASSED", b="PASSED", c="FAILED", d="FAILED"), "tampered"),
        (ran(end=1, code=0, a="PASSED", b="PASSED", c="FAILED", d="FAILED"), "tampered"),
        (ran(end=3, code=3, a="PASSED", b="PASSED", c="FAILED", d="FAILED"), "tampered"),
    ],
)
def test_only_a_whole_and_honest_run_resolves(run: Ran, outcome: str) -> None:
    grade = verdict(hidden(), run)
    assert grade.outcome == outcome, grade.reason
    assert grade.reward == (1.0 if outcome == "resolved" else 0.0) and grade.trusted


def test_a_run_without_canaries_is_not_trusted() -> None:
    run = Ran(read_tap("1..1\nok 1 - a"), 0, "")
    assert not verdict(hidden(runner="tap", fail_to_pass=("a",), pass_to_pass=()), run).trusted
