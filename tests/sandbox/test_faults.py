"""Each fault ends in a typed error or a clean retry, and the next sandbox is whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import get_args

import pytest

from cwm_env.errors import InputError, SandboxError
from cwm_env.sandbox import registry
from cwm_env.sandbox.faults import Fault, FaultyBackend
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.types import Image, Limits
from tests.sandbox.tools import said, shell


@pytest.fixture
def inner() -> Iterator[NamespacesBackend]:
    made = NamespacesBackend()
    yield made
    made.close()


@pytest.mark.parametrize("fault", get_args(Fault))
def test_a_fault_is_an_error_with_a_name_or_is_mended(inner: NamespacesBackend, image: Image, fault: Fault) -> None:
    inner.create(image, Limits()).close()
    faulty = FaultyBackend(inner, seed=1, rates={fault: 1.0}, slow_seconds=0.01)
    outcomes = []
    for _ in range(3):
        try:
            sandbox = faulty.create(image, Limits())
            outcomes.append(said(shell(sandbox, "echo whole")))
            sandbox.close()
        except SandboxError as error:
            outcomes.append(type(error).__name__)
            assert str(error)
    mended = fault in ("slow", "spawner-killed")
    assert set(outcomes) == {"whole"} if mended else "whole" not in outcomes
    assert faulty.injected == [fault] * 3
    after = inner.create(image, Limits())
    assert said(shell(after, "echo whole")) == "whole"
    after.close()


def test_descriptors_run_out_for_a_process_that_has_closed_some_in_between(
    inner: NamespacesBackend, image: Image
) -> None:
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
    for descriptor in opened[:15]:
        os.close(descriptor)
    faulty = FaultyBackend(inner, seed=1, rates={"descriptors": 1.0})
    try:
        with pytest.raises(SandboxError):
            faulty.create(image, Limits())
    finally:
        for descriptor in opened[15:]:
            os.close(descriptor)


def test_the_same_seed_gives_the_same_faults(inner: NamespacesBackend, image: Image) -> None:
    def injected(seed: int) -> list[Fault]:
        faulty = FaultyBackend(inner, seed=seed, rates={"again": 0.5, "dies": 0.3})
        for _ in range(12):
            try:
                faulty.create(image, Limits()).close()
            except SandboxError:
                continue
        return faulty.injected

    assert injected(3) == injected(3) != injected(4)


def test_a_faulty_backend_is_chosen_by_name_like_any_other(inner: NamespacesBackend) -> None:
    faulty = FaultyBackend(inner, seed=1, rates={})
    registry.register("faulty", faulty)
    assert registry.backend("faulty") is faulty
    with pytest.raises(InputError):
        FaultyBackend(inner, seed=1, rates={"nonsense": 1.0})  # type: ignore[dict-item]
