"""A program that tries, one by one, what a sandbox needs of the kernel, and prints what came of each.

Run as ``python -I -S probe.py``, in a process of its own that is thrown away: it leaves its namespaces on the way.
Each line is ``name ok`` or ``name error text``; the first failure ends it.
"""

from __future__ import annotations

import ctypes
import os
import sys

_NEWNS, _NEWUSER = 0x00020000, 0x10000000
_OTHER_NAMESPACES = 0x02000000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000
_OPEN_TREE, _MOUNT_SETATTR = 428, 442
_AT_FDCWD, _AT_EMPTY_PATH, _CLONE_AND_CLOEXEC = -100, 0x1000, 1 | os.O_CLOEXEC
_MOUNT_ATTR_IDMAP = 0x00100000

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Try everything."""
    for name, attempt in (
        ("userns", _user_namespace),
        ("namespaces", _namespaces),
        ("overlay", _overlay),
        ("proc", _proc),
        ("opaque", _opaque),
    ):
        try:
            attempt()
        except OSError as error:
            print(name, "error", error, flush=True)
            return
        print(name, "ok", flush=True)


def idmap() -> None:
    """As root: mount a directory with another mapping of ids."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        _checked(_libc.unshare(_NEWUSER), "unshare")
        os.write(write, b"x")
        os.read(os.pipe()[0], 1)
    os.read(read, 1)
    try:
        for kind in ("uid", "gid"):
            _write(f"/proc/{child}/{kind}_map", "0 1879048192 65536")
        userns = os.open(f"/proc/{child}/ns/user", os.O_RDONLY)
        tree = _checked(_libc.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(sys.argv[2]), _CLONE_AND_CLOEXEC), "open_tree")
        attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_IDMAP, 0, 0, userns)
        size = ctypes.c_size_t(32)
        _checked(_libc.syscall(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, attributes, size), "mount_setattr")
        print("idmap ok")
    except OSError as error:
        print("idmap error", error)
    finally:
        os.kill(child, 9)


def _user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    _checked(_libc.unshare(_NEWUSER), "unshare")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"0 {uid} 1")
    _write("/proc/self/gid_map", f"0 {gid} 1")


def _namespaces() -> None:
    _checked(_libc.unshare(_NEWNS | _OTHER_NAMESPACES), "unshare")


def _overlay() -> None:
    _mount(b"tmpfs", b"/tmp", b"tmpfs", b"")  # a mount point in a namespace of its own
    os.chdir("/tmp")  # noqa: S108
    for name in ("lower", "upper", "work", "root", "proc", "lower/again"):
        os.mkdir(name)  # noqa: PTH102 - the less is imported, the less hides what is tried
    _mount(b"overlay", b"root", b"overlay", b"lowerdir=lower,upperdir=upper,workdir=work,userxattr")


def _opaque() -> None:
    """A directory of the image that was removed can be made anew: the file system in memory has to note it."""
    os.rmdir("root/again")  # noqa: PTH106
    os.mkdir("root/again")  # noqa: PTH102


def _proc() -> None:
    child = os.fork()
    if child == 0:  # the first in the new pid namespace
        number = 0
        try:
            _mount(b"proc", b"proc", b"proc", b"")
        except OSError as error:
            number = error.errno or 255
        os._exit(number)
    number = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if number:
        raise OSError(number, f"mount proc: {os.strerror(number)}")


def _mount(source: bytes, target: bytes, kind: bytes, options: bytes) -> None:
    _checked(_libc.mount(source, target, kind, ctypes.c_ulong(0), options), f"mount {kind.decode()}")


def _checked(value: int, what: str) -> int:
    if value < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return value


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    idmap() if sys.argv[1:2] == ["idmap"] else main()
