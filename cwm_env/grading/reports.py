"""What a test run said, to one status per test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast, get_args

from cwm_env.types import TestStatus

# A test reports once per phase. What is further right wins, so a failing teardown is not hidden by a passing call.
_RANK: tuple[TestStatus, ...] = ("MISSING", "PASSED", "XPASS", "XFAIL", "SKIPPED", "FAILED", "ERROR")


@dataclass(frozen=True, slots=True)
class Report:
    """One run of a runner, as seen from outside."""

    tests: Mapping[str, TestStatus]
    ended: int | None
    """The exit code that the end record announced; None without an end record."""
    forged: str = ""
    """What in the channel cannot have come from our reporter; empty where nothing did."""


def read(channel: bytes, nonce: str) -> Report:
    """Read the records that the launcher wrote (see ``pytest_launcher``)."""
    tests: dict[str, TestStatus] = {}
    ended: int | None = None
    forged = ""
    for line in channel.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            forged = forged or "the result channel holds a line that is not a record"
            continue
        if not isinstance(record, dict) or record.get("nonce") != nonce:
            forged = forged or "the result channel holds a record without the nonce of this run"
        elif ended is not None:
            forged = forged or "the result channel goes on after the end record"
        elif "end" in record:
            ended = int(record["end"])
        elif isinstance(record.get("id"), str) and record.get("status") in get_args(TestStatus):
            status = cast(TestStatus, record["status"])
            tests[record["id"]] = max(tests.get(record["id"], "MISSING"), status, key=_RANK.index)
        else:
            forged = forged or "the result channel holds a record of an unknown shape"
    return Report(tests, ended, forged)
