"""The system calls that Python's ``os`` module does not offer, through ctypes; each raises ``OSError``."""

from __future__ import annotations

import ctypes
import os
import platform

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

MACHINE = platform.machine()
_NUMBERS = {
    "x86_64": {"clone": 56, "pivot_root": 155, "capset": 126, "seccomp": 317},
    "aarch64": {"clone": 220, "pivot_root": 41, "capset": 91, "seccomp": 277},
}.get(MACHINE, {})
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442  # the same on every architecture

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_SLAVE = 4096, 16384, 1 << 19
MNT_DETACH = 2

MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8
MOUNT_ATTR_IDMAP = 0x00100000

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38

_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def _checked(value: int, what: str) -> int:
    if value < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return value


def _syscall(name: str, number: int, *arguments: object) -> int:
    return _checked(_libc.syscall(ctypes.c_long(number), *arguments), name)


def clone(flags: int) -> int:
    """Fork into new namespaces. Returns 0 in the child. The calling process must have one thread."""
    pid = _syscall("clone", _NUMBERS["clone"], *(ctypes.c_ulong(a) for a in (flags, 0, 0, 0, 0)))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    return pid


def unshare(flags: int) -> None:
    """Leave the namespaces that ``flags`` name for new ones."""
    _checked(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int = 0, options: str | None = None) -> None:
    """``mount(2)``."""
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    _checked(_libc.mount(*encoded[:3], ctypes.c_ulong(flags), encoded[3]), f"mount {kind or source} on {target}")


def umount(target: str, flags: int = 0) -> None:
    """``umount2(2)``."""
    _checked(_libc.umount2(os.fsencode(target), flags), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """``pivot_root(2)``."""
    _syscall("pivot_root", _NUMBERS["pivot_root"], os.fsencode(new), os.fsencode(old))


def open_tree(path: str, *, recursive: bool = False) -> int:
    """A detached copy of the mount at ``path``, as a descriptor."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    return _syscall(f"open_tree {path}", _OPEN_TREE, _AT_FDCWD, os.fsencode(path), ctypes.c_uint(flags))


def move_mount(descriptor: int, target: str) -> None:
    """Attach the detached mount ``descriptor`` at ``target``."""
    _syscall(
        f"move_mount to {target}",
        _MOVE_MOUNT,
        descriptor,
        b"",
        _AT_FDCWD,
        os.fsencode(target),
        ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH),
    )


def mount_setattr(where: int | str, attributes: int, *, userns: int = 0, recursive: bool = False) -> None:
    """Set attributes of a mount, given as a descriptor or a path; with ``userns`` also its id mapping."""
    directory, path = (where, b"") if isinstance(where, int) else (_AT_FDCWD, os.fsencode(where))
    flags = (_AT_EMPTY_PATH if isinstance(where, int) else 0) | (_AT_RECURSIVE if recursive else 0)
    attr = _MountAttr(attributes, 0, 0, userns)
    _syscall(
        f"mount_setattr {where}",
        _MOUNT_SETATTR,
        directory,
        path,
        ctypes.c_uint(flags),
        ctypes.byref(attr),
        ctypes.c_size_t(ctypes.sizeof(attr)),
    )


def prctl(option: int, value: int) -> None:
    """``prctl(2)`` with one argument."""
    _checked(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl {option}")


def sethostname(name: str) -> None:
    """``sethostname(2)``."""
    encoded = name.encode()
    _checked(_libc.sethostname(encoded, ctypes.c_size_t(len(encoded))), "sethostname")


def capset(mask: int) -> None:
    """Make ``mask`` the effective and permitted capabilities of this process, and none inheritable."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    _syscall("capset", _NUMBERS["capset"], header, data)


def seccomp(program: bytes) -> None:
    """Install a BPF filter, an array of ``struct sock_filter``, for this process and its children."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    prog = Program(len(program) // 8, program)
    _syscall("seccomp", _NUMBERS["seccomp"], ctypes.c_uint(1), ctypes.c_uint(0), ctypes.byref(prog))


def forget_command_line() -> None:
    """Blank this process's ``/proc/PID/cmdline``: it names paths of the host."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end, proc_pid_stat(5) fields 48 and 49
    name = b"cwm-env"[: end - start - 1]
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, name, len(name))
