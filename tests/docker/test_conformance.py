"""Every backend passes the one suite, save for what is declared; what is declared is printed."""

from __future__ import annotations

import pytest

from cwm_env.sandbox.checks import CHECKS
from cwm_env.sandbox.conformance import KNOWN, conform
from cwm_env.sandbox.registry import backend as backend_named
from cwm_env.types import Image

pytestmark = pytest.mark.alone


@pytest.mark.parametrize("name", ["namespaces", "docker", "docker:runsc"])
def test_the_backend_conforms(name: str, small: Image) -> None:
    results = list(conform(backend_named(name), name, small))
    for result in results:
        if result.outcome != "passed":
            print(f"{name}: {result.name} {result.outcome}: {result.detail}")
    assert len(results) == len(CHECKS)
    assert not [result for result in results if result.outcome == "failed"]


def test_differences_are_declared_of_checks_that_exist() -> None:
    names = {check.__name__ for check in CHECKS}
    assert len(names) == len(CHECKS) >= 50
    assert {check for declared in KNOWN.values() for check in declared} <= names
