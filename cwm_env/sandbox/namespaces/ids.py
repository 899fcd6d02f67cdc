"""Which users exist in a sandbox.

As root, each sandbox gets a range of ids of its own that nobody on the machine has, and the image's layers
are mounted with the same mapping, so that root in the sandbox owns what root owns in the image. As an
ordinary user, root in the sandbox is that user and there is nobody else; a process that is to run as somebody
else does so in one more user namespace, where the same single id has the other's number.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import count

from cwm_env.sandbox.namespaces import libc

RANGE = 1 << 16
# Above what systemd gives to containers (up to 0x6fffffff) and what subuid(5) gives by default; below 2^31,
# which some programs read as a sign.
_FIRST, _RANGES = 0x70000000, (1 << 12) - 1


def privileged() -> bool:
    """Whether this process may give sandboxes ranges of ids; root of a container that lacks those ids may not."""
    return os.geteuid() == 0 and any(
        start <= _FIRST and _FIRST + _RANGES * RANGE <= start + length
        for start, _, length in (map(int, line.split()) for line in _read("/proc/self/uid_map").splitlines())
    )


_start = os.getpid() * 131
_counter = count(_start)


def next_base() -> int:
    """The first id of a range for a new sandbox. Ranges repeat after 4,095 sandboxes."""
    return _FIRST + next(_counter) % _RANGES * RANGE


def write_maps(pid: int, base: int) -> None:
    """Give the new user namespace of process ``pid`` its ids."""
    uid_line, gid_line = f"0 {base} {RANGE}", f"0 {base} {RANGE}"
    if not privileged():
        _write(f"/proc/{pid}/setgroups", "deny")
        uid_line, gid_line = f"0 {os.geteuid()} 1", f"0 {os.getegid()} 1"
    _write(f"/proc/{pid}/uid_map", uid_line)
    _write(f"/proc/{pid}/gid_map", gid_line)


def become_root() -> None:
    """Take the sandbox's root user, right after the maps were written."""
    if _read("/proc/self/setgroups") == "allow":
        os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def become(user: User) -> None:
    """Take ``user``, in a child of the sandbox's pid 1 that is about to execute a program."""
    if _read("/proc/self/setgroups") == "allow":
        os.setgroups(user.groups)
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    elif user.uid:
        libc.prctl(libc.PR_SET_DUMPABLE, 1)  # else /proc/self belongs to nobody that exists here
        libc.unshare(libc.CLONE_NEWUSER)
        _write("/proc/self/uid_map", f"{user.uid} 0 1")
        _write("/proc/self/gid_map", f"{user.gid} 0 1")


@dataclass(frozen=True, slots=True)
class User:
    """Ids inside the sandbox."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


def look_up(name: str) -> User:
    """Find a user in ``/etc/passwd`` of the root that this process sees; ``UID[:GID]`` needs no entry.

    Raises:
        ValueError: there is no such user.
    """
    rows = [line.split(":") for line in _read("/etc/passwd").splitlines()] if _readable("/etc/passwd") else []
    entries = [row for row in rows if len(row) >= 7 and row[2].isdigit() and row[3].isdigit()]
    uid, _, gid = name.partition(":")
    if uid.isdigit() and (not gid or gid.isdigit()):
        for row in entries:
            if row[2] == uid and not gid:
                return User(int(uid), int(row[3]), (), row[5])
        return User(int(uid), int(gid or uid), (), "/")
    for row in entries:
        if row[0] == name:
            return User(int(row[2]), int(row[3]), _groups_of(name), row[5])
    raise ValueError(f"the image has no user {name!r}")


def _groups_of(name: str) -> tuple[int, ...]:
    if not _readable("/etc/group"):
        return ()
    rows = [line.split(":") for line in _read("/etc/group").splitlines()]
    return tuple(int(row[2]) for row in rows if len(row) >= 4 and row[2].isdigit() and name in row[3].split(","))


def _readable(path: str) -> bool:
    return os.path.isfile(path)


def _read(path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.read(descriptor, 1 << 20).decode(errors="replace").strip()
    finally:
        os.close(descriptor)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
