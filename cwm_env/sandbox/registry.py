"""Backends by name; each is imported when it is first used."""

from __future__ import annotations

import atexit
import importlib
import threading
from typing import TYPE_CHECKING

from cwm_env.errors import InputError

if TYPE_CHECKING:
    from cwm_env.sandbox.base import Backend

BACKENDS = {"namespaces": "cwm_env.sandbox.namespaces.backend:NamespacesBackend"}
"""Name to ``module:class``."""

_lock = threading.Lock()
_made: dict[str, Backend] = {}


def backend(name: str = "namespaces") -> Backend:
    """The backend of that name, the same object each time.

    Raises:
        InputError: there is none.
    """
    with _lock:
        if name not in _made:
            if name not in BACKENDS:
                raise InputError(f"there is no backend {name!r}: choose one of {', '.join(sorted(BACKENDS))}")
            module, _, attribute = BACKENDS[name].partition(":")
            made: Backend = getattr(importlib.import_module(module), attribute)()
            atexit.register(made.close)
            _made[name] = made
        return _made[name]


def register(name: str, made: Backend) -> None:
    """Make ``backend(name)`` return ``made`` from now on: a backend of your own, or a faulty one (``faults``)."""
    with _lock:
        _made[name] = made
