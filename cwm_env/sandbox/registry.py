"""Backends by name; each is imported when it is first used."""

from __future__ import annotations

import atexit
import importlib
import threading
from typing import TYPE_CHECKING

from cwm_env.errors import InputError

if TYPE_CHECKING:
    from cwm_env.sandbox.base import Backend

BACKENDS = {
    "docker": "cwm_env.sandbox.docker.backend:DockerBackend",
    "namespaces": "cwm_env.sandbox.namespaces.backend:NamespacesBackend",
}
"""Name to ``module:class``."""

_WITH_SETTING = ("docker",)
_lock = threading.Lock()
_made: dict[str, Backend] = {}


def backend(name: str = "namespaces") -> Backend:
    """The backend of that name, the same object each time.

    Args:
        name: may have a setting behind a colon: ``docker:runsc`` is the Docker engine with the runtime ``runsc``.

    Raises:
        InputError: there is none.
    """
    with _lock:
        if name not in _made:
            kind, _, setting = name.partition(":")
            if kind not in BACKENDS or (setting and kind not in _WITH_SETTING):
                raise InputError(f"there is no backend {name!r}: choose one of {', '.join(sorted(BACKENDS))}")
            module, _, attribute = BACKENDS[kind].partition(":")
            made: Backend = getattr(importlib.import_module(module), attribute)(*([setting] if setting else []))
            atexit.register(made.close)
            _made[name] = made
        return _made[name]


def register(name: str, made: Backend) -> None:
    """Make ``backend(name)`` return ``made`` from now on: a backend of your own, or a faulty one (``faults``)."""
    with _lock:
        _made[name] = made
