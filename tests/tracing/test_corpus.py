"""The tracer on a real package's test suite; ``benchmarks/tracing_corpus.py`` does the same for many."""

from __future__ import annotations

from benchmarks.tracing_corpus import check, images


def test_a_real_suite_runs_as_untraced_and_every_variable_is_right() -> None:
    ((name, place),) = images(["inflection"])
    found = check(place, events=12_000, timeout=120.0)
    assert name == "inflection" and found.tests > 400 and found.traces > 80
    assert (found.broken, found.wrong, found.differing, found.outputs) == (0, 0, [], [])
    assert found.compared > 1000
