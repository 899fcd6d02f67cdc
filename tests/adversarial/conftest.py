"""Every attack gets a sandbox of its own, with limits that an attack can reach, and a neighbour."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.sandbox.namespaces.sandbox import NamespaceSandbox
from cwm_env.types import Image, Limits
from tests.adversarial.attacks import Neighbour, watched

TIGHT = Limits(cpus=1.0, memory=128 << 20, processes=64, disk=16 << 20)


@pytest.fixture
def cell(backend: NamespacesBackend, image: Image) -> Iterator[NamespaceSandbox]:
    """The attacker's sandbox."""
    made = backend.create(image, TIGHT)
    yield made
    made.close()


@pytest.fixture
def neighbour(backend: NamespacesBackend, image: Image) -> Iterator[Neighbour]:
    """A session beside it, which must not notice."""
    made = backend.create(image, Limits())
    with watched(made) as watcher:
        yield watcher
    made.close()
