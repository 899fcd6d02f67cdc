"""What a sandbox has used, and which of its limits were hit."""

from __future__ import annotations

from dataclasses import dataclass

_FULL = 4096


@dataclass(frozen=True, slots=True)
class Usage:
    """What a sandbox has used since it was made. None where this machine does not count it."""

    cpu_seconds: float | None
    cpu_throttled: float | None
    """Seconds that its processes had to wait because of their CPU quota."""
    memory_peak: int | None
    """Bytes, with what it has written to memory."""
    memory_kills: int | None
    """Processes that the kernel killed because the memory limit was reached."""
    processes_refused: int | None
    """Processes that were not started because the process limit was reached."""
    disk_used: int
    """Bytes that it has written and not removed."""
    disk_free: int
    """Bytes that it may still write."""
    inodes_free: int
    """Files that it may still make."""
    files_full: int | None
    """Processes that now hold all the descriptors that they may."""

    def hit_since(self, earlier: Usage | None) -> tuple[str, ...]:
        """The limits that were hit after ``earlier`` was taken: of ``memory processes cpus disk inodes files``.

        A full disk is told as long as it is full, and descriptors as long as a process holds all that it may: nothing
        counts how often they were refused. None stands for the sandbox's beginning.
        """
        found = [
            name
            for name, now, before in (
                ("memory", self.memory_kills, earlier and earlier.memory_kills),
                ("processes", self.processes_refused, earlier and earlier.processes_refused),
                ("cpus", self.cpu_throttled, earlier and earlier.cpu_throttled),
            )
            if (now or 0) > (before or 0)
        ]
        if self.disk_free < _FULL:
            found.append("disk")
        if self.inodes_free == 0:
            found.append("inodes")
        if self.files_full:
            found.append("files")
        return tuple(found)
