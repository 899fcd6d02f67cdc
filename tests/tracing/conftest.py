"""A place to trace in: a throwaway image of the machine's own Python."""

from __future__ import annotations

import pytest

from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.tracing import Place
from cwm_env.types import Image


@pytest.fixture(scope="session")
def place(backend: NamespacesBackend, image: Image) -> Place:
    """The embedded backend over the machine's own programs."""
    return Place(backend, image)
