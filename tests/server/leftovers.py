"""What a server has on this machine: its processes, and the leases that name its control groups."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from cwm_env.sandbox import cgroups


@dataclass(frozen=True)
class Traces:
    """Taken while the server lives, because its children belong to nobody afterwards."""

    processes: frozenset[tuple[int, str]]
    """Everything below the server: process id and start time."""
    leases: frozenset[str]
    runtime: Path

    @classmethod
    def of(cls, pid: int, runtime: Path) -> Traces:
        """The traces of the server ``pid``, whose leases lie below ``runtime``."""
        children = defaultdict(list)
        for stat in Path("/proc").glob("[0-9]*/stat"):
            if (found := _stat(stat)) is not None:
                children[found[1]].append((int(stat.parent.name), found[0]))
        below: list[tuple[int, str]] = []
        queue = list(children[pid])
        while queue:
            one = queue.pop()
            below.append(one)
            queue += children[one[0]]
        return cls(frozenset(below), _leases(runtime), runtime)

    def left(self, within: float = 10.0) -> list[str]:
        """What of them is still there; looked at again for ``within`` seconds while there is something."""
        deadline = time.monotonic() + within
        while (found := self._left()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def _left(self) -> list[str]:
        alive = [
            f"process {pid}" for pid, start in self.processes if (_stat(Path(f"/proc/{pid}/stat")) or [""])[0] == start
        ]
        groups = [
            str(group)
            for home in cgroups.find().directories
            for lease in self.leases
            for group in home.glob(f"cwm-{lease}-*")
        ]
        return alive + groups + [f"lease {name}" for name in self.leases & _leases(self.runtime)]


def _leases(runtime: Path) -> frozenset[str]:
    return frozenset(path.name for path in (runtime / "cwm-env" / "leases").glob("[!.]*"))


def _stat(path: Path) -> tuple[str, int] | None:
    """Start time and parent of a process; None if it is gone, or dead and not yet buried."""
    try:
        fields = path.read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else (fields[19], int(fields[1]))
