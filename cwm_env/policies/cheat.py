"""A hostile policy: plays every known exploit, one an episode. None may be rewarded."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from cwm_env.grading.exploits import exploits
from cwm_env.policies.scripted import ScriptPolicy
from cwm_env.types import Task

NAME = "cheat"
"""What a user calls it; an episode's policy is called ``cheat:EXPLOIT``."""


class CheatPolicy(ScriptPolicy):
    """Runs one exploit, then submits; each further episode of a task, of all policies of one maker, has the next."""

    def __init__(self, played: Counter[str], lock: threading.Lock) -> None:
        super().__init__(NAME, ())
        self._played, self._lock = played, lock

    def begin(self, task: Task) -> None:
        """Take up the next exploit; after the last comes the first again."""
        every = list(exploits().values())
        with self._lock:
            exploit = every[self._played[task.id] % len(every)]
            self._played[task.id] += 1
        self.name, self._actions = f"{NAME}:{exploit.name}", (exploit.commands,)
        super().begin(task)


def cheats() -> Callable[[], CheatPolicy]:
    """A maker of policies that together play every exploit."""
    played, lock = Counter[str](), threading.Lock()
    return lambda: CheatPolicy(played, lock)
