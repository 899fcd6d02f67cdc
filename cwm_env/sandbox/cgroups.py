"""Where this process may make control groups, and what their limits are called there.

Two kernels' interfaces, cgroup v1 (one tree a controller) and v2 (one tree for all), and machines that offer
neither. ``find`` looks once; ``Cgroups.plan`` says which directories and values make the limits of one sandbox.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

CONTROLLERS = ("memory", "cpu", "pids", "cpuacct")
"""What is used: ``cpuacct`` exists in v1 only and counts; in v2 ``cpu`` does both."""


@dataclass(frozen=True, slots=True)
class Cgroups:
    """The control groups that this process may use."""

    version: Literal["v1", "v2", "none"]
    homes: Mapping[str, Path] = field(default_factory=dict)
    """Controller to the directory below which groups are made; in v2 it is the same for all."""
    why_not: str = ""
    """What stands in the way of the controllers that are missing."""


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
    # A group with processes in it may not hand controllers to groups below it, the root excepted: use the parent,
    # which is what systemd delegates to a user's manager or a service with Delegate=yes.
    for home in (own, own.parent) if own != root else (own,):
        if not (os.access(home, os.W_OK) and os.access(home / "cgroup.procs", os.W_OK)):
            continue
        handed = set((home / "cgroup.subtree_control").read_text().split())
        wanted = set((home / "cgroup.controllers").read_text().split()) & set(CONTROLLERS) - handed
        for name in sorted(wanted):
            try:
                (home / "cgroup.subtree_control").write_text(f"+{name}")
                handed.add(name)
            except OSError:
                continue
        usable = handed & set(CONTROLLERS)
        if usable:
            missing = sorted({"memory", "cpu", "pids"} - usable)
            why = f"{home} does not hand on {', '.join(missing)}" if missing else ""
            return Cgroups("v2", dict.fromkeys(sorted(usable), home), why)
    return Cgroups("none", why_not=f"no controller is delegated to {own}")
