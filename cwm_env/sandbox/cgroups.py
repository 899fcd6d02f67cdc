"""Where this process may make control groups, and what their limits are called there.

Two kernels' interfaces, cgroup v1 (one tree a controller) and v2 (one tree for all), and machines that offer
neither. ``find`` looks once; ``Cgroups.settings`` says which values make the limits of one sandbox, and
``Cgroups.read`` what was counted.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from cwm_env.types import Limits

CONTROLLERS = ("memory", "cpu", "pids")
"""What is used. Each tree of v1 costs a sandbox a seventh of a millisecond, so ``cpuacct`` is left out."""

_PERIOD = 100_000  # microseconds; the kernel's default, and in v1 not set: each setting walks over all groups
_OVERHEAD = 16 << 20  # bytes that the kernel itself uses for a sandbox's processes and files


@dataclass(frozen=True, slots=True)
class Cgroups:
    """The control groups that this process may use."""

    version: Literal["v1", "v2", "none"]
    homes: Mapping[str, Path] = field(default_factory=dict)
    """Controller to the directory below which groups are made; in v2 it is the same for all."""
    why_not: str = ""
    """What stands in the way of the controllers that are missing."""
    crowds: Path | None = None
    """Where each spawner makes a group for all its sandboxes, which share the processors in it as processes do."""

    def crowded(self) -> Cgroups:
        """The same, but for the processors one group of all the sandboxes of a spawner instead of one of each."""
        rest = {controller: home for controller, home in self.homes.items() if controller != "cpu"}
        return replace(self, homes=rest, crowds=self.homes.get("cpu"))

    @property
    def directories(self) -> list[Path]:
        """The homes, each once, in the order in which ``settings`` counts them."""
        return list(dict.fromkeys(self.homes.values()))

    def places(self, crowd: str) -> list[Path]:
        """For each of ``directories``, where groups are made by the spawner whose crowd has that name."""
        return [self._place(home, crowd) for home in self.directories]

    def gather(self, crowd: str, spawner: int) -> None:
        """Make the group of a spawner's crowd, if there are crowds; before its first sandbox.

        Raises:
            OSError: it cannot be made.
        """
        if self.crowds is None:
            return
        group = self.crowds / crowd
        group.mkdir()
        if self.version == "v1":  # what it starts is born where it is
            (group / "cgroup.procs").write_text(str(spawner))
        elif self.homes:
            (group / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in self.homes))

    def settings(self, limits: Limits, in_memory: bool) -> list[tuple[str, str]]:
        """What makes the limits of one sandbox: ``("set", "HOME/FILE=VALUE")`` pairs, ``try`` where it may fail.

        Args:
            in_memory: whether what the sandbox writes lies in memory. It then counts as memory, and gets its own
                share, so that a full disk is noticed as such.
        """
        memory = limits.memory + _OVERHEAD + (limits.disk if in_memory else 0)
        processes = limits.processes + 1  # pid 1
        # A quota of all the machine limits nothing, and each costs a timer of the kernel's whenever its sandbox wakes.
        whole = limits.cpus >= (os.cpu_count() or 1)
        quota = -1 if whole else max(int(limits.cpus * _PERIOD), 1000)
        files: dict[str, list[tuple[str, str, str, int | str]]] = {
            "v1": [
                ("memory", "set", "memory.limit_in_bytes", memory),
                ("memory", "try", "memory.memsw.limit_in_bytes", memory),
                ("cpu", "set", "cpu.cfs_quota_us", quota),
                ("pids", "set", "pids.max", processes),
            ],
            "v2": [
                ("memory", "set", "memory.max", memory),
                ("memory", "try", "memory.swap.max", 0),
                ("cpu", "set", "cpu.max", f"{'max' if whole else quota} {_PERIOD}"),
                ("pids", "set", "pids.max", processes),
            ],
            "none": [],
        }
        index = {home: number for number, home in enumerate(self.directories)}
        return [
            (verb, f"{index[self.homes[controller]]}/{file}={value}")
            for controller, verb, file, value in files[self.version]
            if controller in self.homes
        ]

    def read(self, name: str) -> Counters:
        """What the groups of the sandbox ``name`` have counted; nothing once they are removed."""
        if self.version == "v1":
            return self._read_v1(name)
        return self._read_v2(name) if self.version == "v2" else Counters()

    def _read_v1(self, name: str) -> Counters:
        peak = self._text("memory", name, "memory.max_usage_in_bytes")
        return Counters(
            throttled_seconds=_scaled(_row(self._text("cpu", name, "cpu.stat"), "throttled_time"), 1e9),
            memory_peak=int(peak) if peak else None,
            memory_kills=_row(self._text("memory", name, "memory.oom_control"), "oom_kill"),
            processes_refused=_row(self._text("pids", name, "pids.events"), "max"),
        )

    def _read_v2(self, name: str) -> Counters:
        cpu = self._text("cpu", name, "cpu.stat")
        peak = self._text("memory", name, "memory.peak")
        return Counters(
            cpu_seconds=_scaled(_row(cpu, "usage_usec"), 1e6),
            throttled_seconds=_scaled(_row(cpu, "throttled_usec"), 1e6),
            memory_peak=int(peak) if peak else None,
            memory_kills=_row(self._text("memory", name, "memory.events"), "oom_kill"),
            processes_refused=_row(self._text("pids", name, "pids.events"), "max"),
        )

    def _text(self, controller: str, name: str, file: str) -> str:
        home = self.homes.get(controller)
        if home is None:
            return ""
        try:
            path = self._place(home, crowd_of(name)) / name / file
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return ""
        try:
            return os.read(descriptor, 4096).decode()
        finally:
            os.close(descriptor)

    def _place(self, home: Path, crowd: str) -> Path:
        """In v2 a group has all controllers that its parent hands on, so a crowd is the parent of its members."""
        return home / crowd if self.crowds is not None and self.version == "v2" else home


@dataclass(frozen=True, slots=True)
class Counters:
    """What control groups counted for one sandbox; None where nothing counts it."""

    cpu_seconds: float | None = None
    throttled_seconds: float | None = None
    memory_peak: int | None = None
    memory_kills: int | None = None
    processes_refused: int | None = None


def _row(text: str, name: str) -> int | None:
    for row in text.splitlines():
        key, _, value = row.partition(" ")
        if key == name:
            return int(value)
    return None


def _scaled(value: int | None, unit: float) -> float | None:
    return None if value is None else value / unit


def crowd_of(name: str) -> str:
    """The crowd that the sandbox of that name is in: number 0 of the same lease, where sandboxes begin with 1."""
    return f"{name.rpartition('-')[0]}-0"


def find(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> Cgroups:
    """Look for control groups in which this process may make new ones."""
    try:
        rows = [line.split(":", 2) for line in membership.read_text().splitlines()]
    except OSError as error:
        return Cgroups("none", why_not=str(error))
    v1 = _find_v1(root, rows)
    if v1.homes:
        return v1
    v2 = _find_v2(root, rows)
    return v2 if v2.homes or not v1.why_not else v1


def _find_v1(root: Path, rows: list[list[str]]) -> Cgroups:
    homes: dict[str, Path] = {}
    refused = []
    for _, names, path in rows:
        for name in set(names.split(",")) & set(CONTROLLERS):
            home = root / names / path.strip("/")
            if not home.is_dir():  # a container that sees its own group as the root
                home = root / names
            if os.access(home, os.W_OK):
                homes[name] = home
            else:
                refused.append(name)
    why = f"may not make groups for {', '.join(sorted(refused))} below {root}" if refused else ""
    return Cgroups("v1" if homes else "none", homes, why)


def _find_v2(root: Path, rows: list[list[str]]) -> Cgroups:
    path = next((row[2] for row in rows if row[:2] == ["0", ""]), None)
    if path is None or not (root / "cgroup.controllers").is_file():
        return Cgroups("none", why_not="no cgroup file system is mounted at /sys/fs/cgroup")
    own = root / path.strip("/")
    # The parent is what systemd delegates to a user's manager; it is taken where the group itself is not ours alone.
    for home in (own, own.parent) if own != root else (own,):
        if not (os.access(home, os.W_OK) and os.access(home / "cgroup.procs", os.W_OK)):
            continue
        usable = _hand_on(home)
        if "memory" not in usable and home == own and (own == root or _is_delegated(own)):
            _step_down(own)
            usable = _hand_on(home)
        if usable:
            missing = sorted({"memory", "cpu", "pids"} - usable)
            why = f"{home} does not hand on {', '.join(missing)}" if missing else ""
            return Cgroups("v2", dict.fromkeys(sorted(usable), home), why)
    return Cgroups("none", why_not=f"no controller is delegated to {own}")


def _hand_on(home: Path) -> set[str]:
    """Let the groups below ``home`` have what is used of its controllers; those that they have then."""
    handed = set((home / "cgroup.subtree_control").read_text().split())
    wanted = set((home / "cgroup.controllers").read_text().split()) & set(CONTROLLERS) - handed
    # All at once: where processes are in the way of the memory controller, the others would bind the group to threads.
    for names in ([wanted] if wanted else []) + [{name} for name in wanted]:
        try:
            (home / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in names))
            handed |= names
        except OSError as error:
            if error.errno == errno.EBUSY:
                break
        if wanted <= handed:
            break
    return handed & set(CONTROLLERS)


def _is_delegated(group: Path) -> bool:
    """Whether systemd has marked it as its user's own, with all that is below."""
    for mark in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(group, mark) == b"1":
                return True
    return False


def _step_down(group: Path) -> None:
    """Move the processes of ``group`` into one below it: a group with processes may not hand controllers on."""
    below = group / "cwm-env-clients"
    with contextlib.suppress(OSError):
        below.mkdir(exist_ok=True)
        for pid in (group / "cgroup.procs").read_text().split():
            (below / "cgroup.procs").write_text(pid)
