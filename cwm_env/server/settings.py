"""What an operator decides about a server."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from cwm_env.paths import cache_dir


def _cores() -> int:
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Settings:
    """Of one server. What counts episodes is in all, or for each token where it says so."""

    state: Path = field(default_factory=lambda: cache_dir() / "server")
    """Where tokens, journals and ``trajectories.jsonl`` are kept. One server at a time uses it."""
    open: bool = False
    """No tokens: whoever reaches the server may use it, and may name tasks by their path. For loopback only."""
    tasks: tuple[Path, ...] = ()
    """Directories of tasks, beside the shipped ones."""
    lease: float = 300.0
    """Seconds that an episode lives without a request for it."""
    episodes: int = 2500
    """Alive at once."""
    episodes_per_token: int = 2500
    waiting: int = 4096
    """Requests for an episode that may wait for room."""
    waiting_per_token: int = 4096
    patience: float = 60.0
    """Seconds that such a request waits at most."""
    resets: int = field(default_factory=lambda: 2 * _cores())
    """Sandboxes made at once."""
    resets_per_token: int | None = None
    """None for as many as in all: the tokens take turns."""
    cpu_limits: bool = True
    """Whether each sandbox has a share of the processors of its own, and its limit ``cpus`` holds."""
    gradings: int = field(default_factory=lambda: max(1, _cores()))
    """Hidden tests run at once."""
    memory_floor: int = 512 << 20
    """Bytes of the machine's memory that must be free for a new episode to be admitted."""
    memory: int | None = None
    """Bytes, added up over the memory limits of all episodes; None for no limit but the floor."""
    memory_per_token: int | None = None
    """Bytes, added up over the memory limits of a token's episodes; None for no limit."""
    warm: int = 2
    """Ready sandboxes kept for each image in use."""
    warm_seconds: float = 120.0
    """How long a ready sandbox waits for its episode."""
    grace: float = 30.0
    """Seconds that running steps get to finish when the server is told to stop."""
    keep: float = 60.0
    """Seconds that live episodes wait for the next server after this one was killed; 0 for not at all."""
    largest_body: int = 16 << 20
    """Bytes of a request with JSON in it."""
    largest_file: int = 1 << 30
    """Bytes of a file on its way up."""
