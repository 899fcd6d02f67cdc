"""What every backend owes, as named checks: each makes what it needs, and fails by an ``AssertionError``.

Their names say what holds. They use a shell and coreutils of the image and nothing else, so that they run on any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType

from cwm_env.sandbox.checks import control, files, limits, processes
from cwm_env.sandbox.checks.bench import Bench

Check = Callable[[Bench], None]


def _checks(module: ModuleType) -> Iterator[Check]:
    for name, value in vars(module).items():
        if not name.startswith("_") and callable(value) and value.__module__ == module.__name__:
            yield value


CHECKS: tuple[Check, ...] = tuple(check for module in (processes, control, files, limits) for check in _checks(module))
"""All of them, in the order of these files."""

__all__ = ["CHECKS", "Bench", "Check"]
