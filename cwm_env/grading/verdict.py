"""From a run of the hidden tests to an outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cwm_env.grading import canaries, names
from cwm_env.grading.runner import Ran
from cwm_env.types import OUT_OF_BAND, Grade, HiddenTests, TestStatus

_FAILED_AS_MEANT = ("FAILED", "ERROR")
_TESTS_RAN = (0, 1)
"""Exit codes of a runner that was neither interrupted nor told something that it does not know."""


def verdict(tests: HiddenTests, ran: Ran) -> Grade:
    """The grade, with ``reward`` 1.0 or 0.0 (a Harbor script says it itself), before any suspicion about the patch."""
    if tests.runner == "script":
        return _of_script(tests, ran)
    expected = (*tests.fail_to_pass, *tests.pass_to_pass)
    statuses = expected_statuses(ran.report.tests, expected)
    if tests.loose_names:
        statuses = names.statuses(ran.report, expected, ran.canaries)
    failing = [each[0] for each in statuses.items() if each[1] != "PASSED" and each not in tests.excused]
    grade = Grade("unresolved", 0.0, statuses, output=ran.output, trusted=True)
    nothing = replace(grade, tests=dict.fromkeys(statuses, "MISSING"))
    if ran.timed_out:
        return replace(nothing, reason=f"the hidden tests did not finish within {tests.timeout:g} seconds")
    if ran.overflowed:
        return replace(nothing, reason="the results of the test run are too long to be read")
    if tests.runner in OUT_OF_BAND:
        if forged := _forged(ran):
            return replace(grade, outcome="tampered", reason=forged)
        if ran.report.ended is None:
            return replace(nothing, reason=f"the test run ended early, with exit code {ran.exit_code}")
        if not failing and (missing := _missing(ran)):
            return replace(grade, outcome="tampered", reason=missing)
    if failing:
        first = f"first {failing[0]} ({statuses[failing[0]]})"
        return replace(grade, reason=f"{len(failing)} of {len(statuses)} tests did not pass, {first}")
    return Grade(
        "resolved", 1.0, statuses, f"all {len(statuses)} tests passed", output=ran.output, trusted=bool(ran.canaries)
    )


def expected_statuses(seen: Mapping[str, TestStatus], expected: tuple[str, ...]) -> dict[str, TestStatus]:
    """The status of each expected test; ``MISSING`` where it left no result."""
    return {name: seen.get(name, "MISSING") for name in expected}


def _of_script(tests: HiddenTests, ran: Ran) -> Grade:
    if ran.timed_out:
        reason = f"the hidden tests did not finish within {tests.timeout:g} seconds"
    elif ran.reward is None:
        reason = f"tests/test.sh exited with {ran.exit_code} and left no number from 0 to 1 in /logs/verifier"
    else:
        done = ran.reward >= 1.0
        reason = f"tests/test.sh gave {ran.reward:g}"
        return Grade(
            "resolved" if done else "unresolved",
            ran.reward,
            reason=reason,
            output=ran.output,
            trusted=ran.reward == 0.0,
        )
    return Grade("unresolved", 0.0, reason=reason, output=ran.output, trusted=True)


def _forged(ran: Ran) -> str:
    """Why the results cannot be true; empty where they can."""
    report = ran.report
    if report.forged:
        return report.forged
    if report.ended is not None and report.ended != ran.exit_code:
        return f"the test run announced exit code {report.ended} and ended with {ran.exit_code}"
    seen = canaries.seen(report.tests, ran.canaries)
    passed = [name for name, status in seen.items() if status in ("PASSED", "XPASS")]
    if passed:
        return f"{len(passed)} of {len(seen)} canaries passed, tests that cannot pass: first {passed[0]}"
    if report.ended == 0 and any(status in _FAILED_AS_MEANT for status in seen.values()):
        return "tests failed, and the test run announced that all had passed"
    return ""


def _missing(ran: Ran) -> str:
    """What is wrong about canaries where everything else has passed."""
    seen = canaries.seen(ran.report.tests, ran.canaries)
    missing = [f"{name} ({status})" for name, status in seen.items() if status not in _FAILED_AS_MEANT]
    if missing:
        return f"{len(missing)} of {len(seen)} canaries did not fail, though all other tests passed: first {missing[0]}"
    if ran.report.ended not in _TESTS_RAN:
        return f"every test passed, and yet the test run ended with {ran.report.ended}"
    return ""
