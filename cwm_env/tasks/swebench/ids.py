"""Test ids as our runners report them, in the words of SWE-bench's records."""

from __future__ import annotations

from collections.abc import Iterable

from cwm_env.tasks.swebench.records import Record


def as_record(record: Record, reported: Iterable[str]) -> dict[str, str]:
    """For each reported id that the record names: the record's name of it. Several may have one name where it was cut.

    Pytest's ids are reported from the root (``testbed/tests/test_a.py::test_b``), unittest's dotted. A Django test that
    the record names by the first line of its docstring cannot be told from its id, and is left out.
    """
    names = frozenset((*record.fail_to_pass, *record.pass_to_pass))
    return {each: name for each in reported if (name := next((n for n in _spoken(each) if n in names), None))}


def from_root(name: str, workdir: str) -> str:
    """A record's pytest id as our runner reports it."""
    return f"{workdir.strip('/')}/{name}"


def dotted(name: str) -> str:
    """A record's unittest id, ``test_x (m.C)`` or ``test_x (m.C.test_x)``, as our runner reports it: ``m.C.test_x``."""
    method, bracket, rest = name.partition(" (")
    if not bracket or not rest.endswith(")"):
        return name
    place = rest[:-1]
    return place if place.endswith(f".{method}") else f"{place}.{method}"


def _spoken(reported: str) -> Iterable[str]:
    """What records may call a test, the exact names first."""
    if "::" not in reported:
        place, _, method = reported.rpartition(".")
        return (f"{method} ({place})", f"{method} ({reported})", method)
    inside = reported.partition("/")[2]
    cut = (inside.split() or [""])[0]
    return (inside, cut, inside.rpartition("::")[2])
