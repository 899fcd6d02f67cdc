"""What a test run said, as one status per test: the launcher's channel, JUnit's XML, and TAP."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast, get_args
from xml.etree import ElementTree

from cwm_env.types import TestStatus

# A test reports once per phase. What is further right wins, so a failing teardown is not hidden by a passing call.
_RANK: tuple[TestStatus, ...] = ("MISSING", "PASSED", "XPASS", "XFAIL", "SKIPPED", "FAILED", "ERROR")
_TAP = re.compile(r"^(not )?ok\b\s*(\d*)\s*(?:- )?(.*?)\s*(?:(?<!\\)#\s*(skip|todo)\b.*)?$", re.IGNORECASE)
_PLAN = re.compile(r"^1\.\.(\d+)")


@dataclass(frozen=True, slots=True)
class Report:
    """One run of a runner, as seen from outside."""

    tests: Mapping[str, TestStatus]
    ended: int | None = None
    """The exit code that the end record announced; None without an end record."""
    forged: str = ""
    """What in the channel cannot have come from our reporter; empty where nothing did."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """First lines of docstrings, where unittest prints them in the place of a test's name."""


def read_channel(channel: bytes, nonce: str) -> Report:
    """Read the records that ``launcher`` wrote."""
    tests: dict[str, TestStatus] = {}
    titles: dict[str, str] = {}
    ended: int | None = None
    forged = ""
    for line in channel.splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            forged = forged or "the result channel holds a line that is not a record"
            continue
        if not isinstance(record, dict) or record.get("nonce") != nonce:
            forged = forged or "the result channel holds a record without the nonce of this run"
        elif ended is not None:
            forged = forged or "the result channel goes on after the end record"
        elif isinstance(record.get("end"), int):
            ended = record["end"]
        elif isinstance(record.get("id"), str) and record.get("status") in get_args(TestStatus):
            _add(tests, record["id"], cast(TestStatus, record["status"]))
            if isinstance(record.get("title"), str):
                titles[record["id"]] = record["title"]
        else:
            forged = forged or "the result channel holds a record of an unknown shape"
    return Report(tests, ended, forged, titles)


def read_junit(documents: Iterable[bytes]) -> Report:
    """Read JUnit's XML: ``CLASSNAME::NAME`` per test case. What is not XML, or defines entities, is left out."""
    tests: dict[str, TestStatus] = {}
    for document in documents:
        if b"<!DOCTYPE" in document or b"<!ENTITY" in document:
            continue
        try:
            root = ElementTree.fromstring(document)  # noqa: S314 - entities are refused above
        except (ElementTree.ParseError, ValueError, LookupError):
            continue
        for case in root.iter("testcase"):
            name = "::".join(filter(None, (case.get("classname"), case.get("name"))))
            told = {child.tag for child in case}
            status: TestStatus = "PASSED"
            for tag, meaning in (("skipped", "SKIPPED"), ("failure", "FAILED"), ("error", "ERROR")):
                if tag in told:
                    status = cast(TestStatus, meaning)
            _add(tests, name, status)
    return Report(tests)


def read_tap(output: str) -> Report:
    """Read the Test Anything Protocol: a test's id is its description, or its number where it has none.

    Where the plan promises more tests than came, or ``Bail out!`` was said, nothing has passed.
    """
    tests: dict[str, TestStatus] = {}
    planned, count = None, 0
    for line in output.splitlines():
        if line.startswith("Bail out!"):
            return Report({})
        if plan := _PLAN.match(line):
            planned = int(plan[1][:9])
        elif test := _TAP.match(line):
            count += 1
            failed, number, name, directive = test.groups()
            status: TestStatus = "FAILED" if failed else "PASSED"
            if directive:
                status = "SKIPPED" if directive.lower() == "skip" else "XFAIL" if failed else "XPASS"
            _add(tests, name or number or str(count), status)
    return Report(tests if planned == count else {})


def _add(tests: dict[str, TestStatus], name: str, status: TestStatus) -> None:
    tests[name] = max(tests.get(name, "MISSING"), status, key=_RANK.index)
