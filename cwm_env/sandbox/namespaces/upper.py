"""What an episode changed, read from the upper directory of its overlay after everything in it is dead.

The tree is hostile data: every step goes down by descriptor, no link is followed, nothing is opened but
directories and regular files. Deletions are overlayfs's own marks: a character device 0/0 in place of the
name, and the attribute ``user.overlay.opaque`` on a directory that hides all that was below it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator

from cwm_env.sandbox.base import Change

_OPAQUE = "user.overlay.opaque"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEEPEST = 256


def changes(upper: int, path: str, skip: Collection[bytes], limit: int) -> Iterator[Change]:
    """The changes below ``path``, parents before children, sorted.

    Args:
        upper: descriptor of the overlay's upper directory.
        path: absolute path in the sandbox.
        skip: names that are left out wherever they stand, with all below them.
        limit: bytes of content in all.

    Raises:
        ValueError: more than ``limit`` bytes changed, or directories are nested too deep.
        OSError: the tree cannot be read.
    """
    here = os.dup(upper)
    try:
        for part in (part for part in os.fsencode(path).split(b"/") if part):
            try:
                status = os.stat(part, dir_fd=here, follow_symlinks=False)
            except FileNotFoundError:
                return
            if not stat.S_ISDIR(status.st_mode):
                yield Change(b"", "deleted")
                return
            below = _open(part, _DIRECTORY, here)
            os.close(here)
            here = below
            if _is_opaque(here):
                yield Change(b"", "deleted")
        yield from _walk(here, b"", skip, [limit])
    finally:
        os.close(here)


def _walk(directory: int, prefix: bytes, skip: Collection[bytes], budget: list[int]) -> Iterator[Change]:
    if prefix.count(b"/") > _DEEPEST:
        raise ValueError(f"directories are nested more than {_DEEPEST} deep")
    for name in sorted(map(os.fsencode, os.listdir(directory))):
        if name in skip:
            continue
        path = prefix + name
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISREG(status.st_mode):
            yield Change(path, "file", mode, _content(directory, name, status.st_size, budget))
        elif stat.S_ISLNK(status.st_mode):
            yield Change(path, "link", 0o777, os.fsencode(os.readlink(name, dir_fd=directory)))
        elif stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            yield Change(path, "deleted")
        elif stat.S_ISDIR(status.st_mode):
            below = _open(name, _DIRECTORY, directory)
            try:
                if _is_opaque(below):
                    yield Change(path, "deleted")
                yield Change(path, "directory", mode)
                yield from _walk(below, path + b"/", skip, budget)
            finally:
                os.close(below)
        else:
            yield Change(path, "other", mode)


def _content(directory: int, name: bytes, size: int, budget: list[int]) -> bytes:
    budget[0] -= size
    if budget[0] < 0:
        raise ValueError("too many bytes were changed")
    descriptor = _open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, directory)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(size)


def _open(name: bytes, flags: int, directory: int) -> int:
    """Open what ``os.stat`` said is a directory or a regular file, whatever its own mode forbids its owner, us."""
    try:
        return os.open(name, flags, dir_fd=directory)
    except PermissionError:
        mode = stat.S_IMODE(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
        os.chmod(name, mode | 0o700, dir_fd=directory)
        return os.open(name, flags, dir_fd=directory)


def _is_opaque(directory: int) -> bool:
    try:
        return os.getxattr(directory, _OPAQUE) == b"y"
    except OSError:
        return False
