"""The two verdicts on one prediction, and where they differ, why."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from cwm_env.tasks.swebench import Record
from cwm_env.types import Grade

Outcome = Literal["resolved", "unresolved", "tampered", "error", "empty"]
"""``error`` and ``empty`` are the official harness's: it gives no report on a patch that does not apply or runs out of
time, and does not run an empty one."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One of the two."""

    outcome: Outcome
    reason: str
    fail_to_pass: tuple[int, int]
    """How many of the record's tests passed, and how many there are."""
    pass_to_pass: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One prediction, evaluated."""

    instance_id: str
    model: str
    official: Verdict
    hardened: Verdict
    trusted: bool
    """Whether the hardened verdict can be relied upon unseen (``Grade.trusted``)."""
    suspicions: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    """Changed paths that did not count in the hardened verdict."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """``official`` and ``hardened``, the whole of each; ``official_tests`` and ``hardened_tests``, what ran in them."""

    @property
    def difference(self) -> str:
        """Why the two verdicts differ; empty where both say resolved, or neither does."""
        official, hardened = self.official, self.hardened
        if (official.outcome == "resolved") == (hardened.outcome == "resolved"):
            return ""
        if official.outcome == "resolved":
            lost = f"; {len(self.dropped)} changed paths do not count, first {self.dropped[0]}" if self.dropped else ""
            return f"official resolved, hardened {hardened.outcome}: {hardened.reason}{lost}"
        return f"official {official.outcome}, hardened resolved: {official.reason}"

    def as_json(self) -> dict[str, Any]:
        """For files and programs."""
        return {**asdict(self), "difference": self.difference}


def from_json(data: Mapping[str, Any]) -> Evaluation:
    """What ``as_json`` made.

    Raises:
        ValueError, KeyError, TypeError: it was something else.
    """
    given = {key: value for key, value in data.items() if key != "difference"}
    official, hardened = (_verdict(given.pop(key)) for key in ("official", "hardened"))
    given["suspicions"], given["dropped"] = tuple(given["suspicions"]), tuple(given["dropped"])
    return Evaluation(official=official, hardened=hardened, **given)


def of_report(record: Record, report: Mapping[str, Any]) -> Verdict:
    """The official verdict that a report holds."""
    mine = report[record.instance_id]
    tests = mine.get("tests_status")
    if tests is None:
        said = mine.get("infra_failure_reason")
        why = "no results can be read from the log" + (f" ({said})" if said else "")
        return without_tests(record, "unresolved", why)
    counts = [_count(tests[key]) for key in ("FAIL_TO_PASS", "PASS_TO_PASS")]
    failed = [name for key in ("FAIL_TO_PASS", "PASS_TO_PASS") for name in tests[key]["failure"]]
    total = sum(each[1] for each in counts)
    reason = f"all {total} tests passed"
    if failed:
        reason = f"{len(failed)} of {total} tests did not pass, first {failed[0]}"
    return Verdict("resolved" if mine["resolved"] else "unresolved", reason, counts[0], counts[1])


def of_grade(record: Record, grade: Grade, passed: Collection[str]) -> Verdict:
    """The hardened verdict that a grade holds; ``passed`` are the tests that did, by the record's names."""
    lists = (record.fail_to_pass, record.pass_to_pass)
    counts = [(sum(name in passed for name in names), len(names)) for names in lists]
    return Verdict(grade.outcome, grade.reason, counts[0], counts[1])


def without_tests(record: Record, outcome: Outcome, reason: str) -> Verdict:
    """A verdict for which nothing ran."""
    return Verdict(outcome, reason, (0, len(record.fail_to_pass)), (0, len(record.pass_to_pass)))


def _count(tests: Mapping[str, list[str]]) -> tuple[int, int]:
    return len(tests["success"]), len(tests["success"]) + len(tests["failure"])


def _verdict(data: Mapping[str, Any]) -> Verdict:
    return Verdict(data["outcome"], data["reason"], _pair(data["fail_to_pass"]), _pair(data["pass_to_pass"]))


def _pair(value: Any) -> tuple[int, int]:
    first, second = value
    return int(first), int(second)
