"""Tests under names that are not their whole ids, as SWE-bench's records hold them.

The official parsers cut a pytest id at its first blank and shorten a path in its brackets, take from sympy's runner
the bare name of a function, and from Django's the first line of a docstring.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

from cwm_env.grading import canaries
from cwm_env.grading.reports import Report
from cwm_env.types import TestStatus

_FIRST: tuple[TestStatus, ...] = ("ERROR", "FAILED", "PASSED")
_OPTION = re.compile(r"(.*?)\[(/[^/*][^*]*)\]")


def statuses(report: Report, expected: Iterable[str], planted: Collection[str]) -> dict[str, TestStatus]:
    """The status of each expected test; ``MISSING`` where nothing of that name left a result.

    Where several tests have one name, one that failed counts first, then one that passed.

    Args:
        planted: names of canaries, which may have a hidden test's docstring and are none of those that are meant.
    """
    under: defaultdict[str, list[TestStatus]] = defaultdict(list)
    for test_id, status in report.tests.items():
        if canaries.last_part(test_id) in planted:
            continue
        for name in set(_other_names(test_id, report.titles)):
            under[name].append(status)
    return {name: report.tests[name] if name in report.tests else _joint(name, under) for name in expected}


def _joint(name: str, under: Mapping[str, list[TestStatus]]) -> TestStatus:
    found = under.get(name, [])
    if not found and name.count("[") > name.count("]"):  # cut inside its brackets, in another way than the parsers'
        found = [status for other, each in under.items() if other.startswith(name) for status in each]
    for status in _FIRST:
        if status in found:
            return status
    return found[0] if found else "MISSING"


def _other_names(test_id: str, titles: Mapping[str, str]) -> Iterator[str]:
    """What a record may call a test."""
    yield test_id
    if title := titles.get(test_id):
        yield title.strip()
    if "::" not in test_id:
        return
    cut = (test_id.split() or [""])[0]
    yield cut
    yield test_id.rpartition("::")[2]
    if shortened := _OPTION.match(cut):
        yield f"{shortened[1]}[/{shortened[2].rpartition('/')[2]}]"
