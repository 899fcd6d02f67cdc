"""Environments in which agents that speak only bash work on real repositories.

>>> import cwm_env
>>> env = cwm_env.BashEnv(task="…")         # or gymnasium.make("cwm_env:Bash-v0", task="…")
"""

from __future__ import annotations

from cwm_env import _gymnasium

TYPE_CHECKING = False  # as type checkers read it; importing typing would cost more than all the rest here
if TYPE_CHECKING:
    from typing import Any

    from cwm_env.client import RemoteEnv
    from cwm_env.envs import BashEnv
    from cwm_env.errors import CwmEnvError
    from cwm_env.types import CommandResult, Grade, Limits, Task, Trajectory

__version__ = "0.1.0"
__all__ = [
    "BashEnv",
    "CommandResult",
    "CwmEnvError",
    "Grade",
    "Limits",
    "RemoteEnv",
    "Task",
    "Trajectory",
    "__version__",
]

_HOMES = {
    "BashEnv": "cwm_env.envs",
    "RemoteEnv": "cwm_env.client",
    "CwmEnvError": "cwm_env.errors",
    **dict.fromkeys(("CommandResult", "Grade", "Limits", "Task", "Trajectory"), "cwm_env.types"),
}

_gymnasium.register_when_imported()


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used: Gymnasium alone costs several times what `import cwm_env` may."""
    if name not in _HOMES:
        raise AttributeError(f"module 'cwm_env' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
