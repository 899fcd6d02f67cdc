"""Locks between processes, and removal of trees that were not written to be removed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock ``path``, among threads as among processes; the kernel drops it when its holder dies.

    Args:
        shared: any number may hold it so at once, but none while somebody holds it alone.
        waiting: called if somebody else has it.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    with path.open("ab") as file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                waiting()
            fcntl.flock(file, kind)
        yield


def remove_tree(path: Path) -> int:
    """Remove a file or a tree, also one whose directories are not writable. Returns the bytes freed; 0 if it is gone."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return 0
    if not stat.S_ISDIR(status.st_mode):
        path.unlink(missing_ok=True)
        # A file of several names goes with the last of them.
        return status.st_blocks * 512 if status.st_nlink == 1 else 0
    if status.st_mode & stat.S_IRWXU != stat.S_IRWXU:
        path.chmod(stat.S_IRWXU)
    freed = status.st_blocks * 512 + sum(remove_tree(Path(entry.path)) for entry in list(os.scandir(path)))
    path.rmdir()
    return freed
