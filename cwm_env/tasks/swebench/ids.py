"""Test ids of SWE-bench's records, as our runners report them."""

from __future__ import annotations


def from_root(name: str, workdir: str) -> str:
    """A record's pytest id as our runner reports it."""
    return f"{workdir.strip('/')}/{name}"


def dotted(name: str) -> str:
    """A record's unittest id, ``test_x (m.C)`` or ``test_x (m.C.test_x)``, as our runner reports it: ``m.C.test_x``."""
    method, bracket, rest = name.partition(" (")
    if not bracket or not rest.endswith(")") or not method.isidentifier():
        return name
    place = rest[:-1]
    return place if place.endswith(f".{method}") else f"{place}.{method}"
