"""Puts this package's environments into Gymnasium's registry, without importing Gymnasium for who does not use it.

``gymnasium.make("cwm_env:Bash-v0")`` imports ``cwm_env`` and then expects the id to be there. If Gymnasium is loaded
by then it is told at once; if ``cwm_env`` came first, Gymnasium is told as soon as somebody imports it.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_ENTRY_POINTS = {
    "Bash-v0": "cwm_env.envs.bash:BashEnv",
    "Remote-v0": "cwm_env.client.remote:RemoteEnv",
    "Debugger-v0": "cwm_env.envs.debugger:DebuggerEnv",
}
_DETERMINISTIC = ("Debugger-v0",)


def register_when_imported() -> None:
    """Register now if Gymnasium is loaded, else when it is."""
    if "gymnasium" in sys.modules:
        _register()
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _register() -> None:
    from gymnasium.envs.registration import register, registry

    for name, entry_point in _ENTRY_POINTS.items():
        if name not in registry:
            register(id=name, entry_point=entry_point, nondeterministic=name not in _DETERMINISTIC)


class _Finder:
    """Steps aside for good once it has seen the import of Gymnasium."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "gymnasium":
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]  # a loader by its shape
        return spec


class _Loader:
    """Loads as the loader that it wraps does, then registers."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        assert spec is not None
        spec.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _register()
