"""Locks between processes; files whose mode no umask changes; removal of trees that resist it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

_NO_SPACE = ("No space left on device", "Disk quota exceeded")


def says_full(text: str) -> bool:
    """Whether a program's own words tell that it found no space; programs have no exit code for that."""
    return any(words in text for words in _NO_SPACE)


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


def file_system(path: Path) -> str:
    """The kind of file system that an existing path lies on, such as ``ext4``."""
    device = path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[2] == number:
            return fields[fields.index("-") + 1]
    return ""  # btrfs gives each subvolume a number that no mount has


def make_directory(path: Path, mode: int = 0o755) -> None:
    """Make a directory and those above it, unless they are there; ``path`` gets exactly ``mode``, new parents 0755."""
    if not path.parent.is_dir():
        make_directory(path.parent)
    path.mkdir(exist_ok=True)
    path.chmod(mode)


def write_file(path: Path, data: bytes) -> None:
    """Write a file of mode 0644 in place of whatever was there; a link is replaced, not followed."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    path.chmod(0o644)


def tree_size(path: Path) -> int:
    """Bytes on disk of a tree; a file of several names counts once."""
    seen: set[int] = set()
    total = 0
    for entry in path.rglob("*"):
        status = entry.lstat()
        if status.st_ino not in seen:
            seen.add(status.st_ino)
            total += status.st_blocks * 512
    return total


def remove_tree(path: Path) -> int:
    """Remove a file or a tree, also one whose directories are not writable.

    Returns:
        The bytes freed; 0 if there was nothing.
    """
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


def usage_of(layers: Mapping[str, Sequence[Path]]) -> tuple[dict[str, tuple[int, int]], int]:
    """Bytes on disk of images by name: of each all its layers, and those that no other has; and of all together."""
    sizes: dict[Path, int] = {}
    users: dict[Path, int] = {}
    for own in layers.values():
        for layer in own:
            users[layer] = users.get(layer, 0) + 1
            if layer not in sizes:
                sizes[layer] = tree_size(layer)
    each = {
        name: (sum(sizes[layer] for layer in own), sum(sizes[layer] for layer in own if users[layer] == 1))
        for name, own in layers.items()
    }
    return each, sum(sizes.values())
