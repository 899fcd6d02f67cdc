"""Who holds what, so that whatever a killed process left behind is found and removed.

A lease is a directory that names resources outside of any process (control groups, directories on disk). Its holder
keeps a lock on a file in it, and so do the holder's helpers, which inherit the descriptor: the kernel lets go of the
lock when the last of them is dead, and only then may anyone else clear up.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_LOCK, _RESOURCES, _UPPERS = "lock", "resources.json", "uppers"
_KILL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was cleared up."""

    leases: int = 0
    """Holders that had died without clearing up."""
    processes: int = 0
    cgroups: int = 0
    directories: int = 0

    def __add__(self, other: Pruned) -> Pruned:
        return Pruned(
            self.leases + other.leases,
            self.processes + other.processes,
            self.cgroups + other.cgroups,
            self.directories + other.directories,
        )


class Lease:
    """A lease that this process holds."""

    def __init__(self, cgroup_homes: Sequence[Path] = ()) -> None:
        """Take one out. ``cgroup_homes``: directories below which groups named ``cwm-ID-…`` will be made."""
        self.id = secrets.token_hex(5)
        self.directory = runtime_dir() / "leases" / self.id
        unlocked = self.directory.with_name(f".{self.id}")  # nobody may take it for one that was left behind
        self.lock = -1
        try:
            (unlocked / _UPPERS).mkdir(parents=True)
            (unlocked / _RESOURCES).write_text(json.dumps({"cgroups": [str(home) for home in cgroup_homes]}))
            self.lock = os.open(unlocked / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self.lock, fcntl.LOCK_EX)
            unlocked.rename(self.directory)
        except OSError:
            self._undo(unlocked)
            raise

    def _undo(self, unlocked: Path) -> None:
        """Remove what there is of it, without a descriptor: there may be none left."""
        if self.lock >= 0:
            os.close(self.lock)
        with contextlib.suppress(OSError):
            (unlocked / _UPPERS).rmdir()
            for file in (_RESOURCES, _LOCK):
                (unlocked / file).unlink(missing_ok=True)
            unlocked.rmdir()

    @classmethod
    def adopted(cls, lease: str) -> Lease:
        """The lease that another process took out, which a helper of it still holds."""
        adopted = cls.__new__(cls)
        adopted.id = lease
        adopted.directory = runtime_dir() / "leases" / lease
        adopted.lock = os.open(adopted.directory / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        return adopted

    def name(self, number: int) -> str:
        """A name for the lease's resource of that number, unique on this machine."""
        return f"cwm-{self.id}-{number}"

    def note_upper(self, name: str, upper: Path) -> None:
        """Remember that ``upper`` is staged for the sandbox ``name``."""
        (self.directory / _UPPERS / name).symlink_to(upper.absolute())

    def forget_upper(self, name: str) -> None:
        """The opposite of ``note_upper``; nothing if there was none."""
        (self.directory / _UPPERS / name).unlink(missing_ok=True)

    def end(self) -> Pruned:
        """Let go, and clear up what is left unless a helper still lives. Idempotent."""
        if self.lock < 0:
            return Pruned()
        os.close(self.lock)
        self.lock = -1
        try:
            return _clear(self.directory)
        except OSError:  # whoever starts next will do it
            return Pruned()


def runtime_dir() -> Path:
    """Where leases are kept: ``$XDG_RUNTIME_DIR/cwm-env``, else ``/tmp/cwm-env-UID``."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and os.access(base, os.W_OK):
        return Path(base) / "cwm-env"
    own = Path(tempfile.gettempdir()) / f"cwm-env-{os.geteuid()}"
    own.mkdir(mode=0o700, exist_ok=True)
    if own.lstat().st_uid != os.geteuid() or own.is_symlink():
        raise PermissionError(f"{own} belongs to somebody else: remove it, or set XDG_RUNTIME_DIR")
    return own


def prune() -> Pruned:
    """Clear up after every holder that has died: processes, control groups, directories. Safe at any time."""
    total = Pruned()
    leases = runtime_dir() / "leases"
    for directory in leases.glob("[!.]*"):
        total += _clear(directory)
    return total


def is_held(lease: str) -> bool:
    """Whether the holder of the lease with this id, or a helper of it, is alive."""
    try:
        lock = os.open(runtime_dir() / "leases" / lease / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _clear(directory: Path) -> Pruned:
    """Clear up one lease, unless its holder lives."""
    try:
        lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return Pruned()  # being made, or being removed
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        resources = json.loads((directory / _RESOURCES).read_text())
        processes, cgroups = _clear_cgroups([Path(home) for home in resources["cgroups"]], f"cwm-{directory.name}-")
        uppers = list((directory / _UPPERS).iterdir())
        for link in uppers:
            release_stage(link.readlink())
        shutil.rmtree(directory)
        return Pruned(1, processes, cgroups, len(uppers))
    except (BlockingIOError, FileNotFoundError):
        return Pruned()
    finally:
        os.close(lock)


def _clear_cgroups(homes: Sequence[Path], prefix: str) -> tuple[int, int]:
    """Kill what is in the groups, and remove them; how many processes and groups there were."""
    names = f"{prefix}*/{prefix}*", f"{prefix}*"  # in v2 a crowd has its sandboxes' groups in it
    found = [group for home in homes if home.is_dir() for name in names for group in home.glob(name)]
    groups = list(dict.fromkeys(found))
    killed: set[int] = set()
    removed = 0
    deadline = time.monotonic() + _KILL_SECONDS
    while groups and time.monotonic() < deadline:
        for group in list(groups):
            killed |= _kill_members(group)
            try:
                group.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                continue
            else:
                removed += 1
            groups.remove(group)
        if groups:
            time.sleep(0.005)
    return len(killed), removed


def _kill_members(group: Path) -> set[int]:
    try:
        members = {int(pid) for pid in (group / "cgroup.procs").read_text().split()} - {0}
    except OSError:
        return set()
    for pid in members:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return members


def make_stage(upper: Path) -> Path:
    """A directory that holds ``upper`` and an overlay's work directory, which must share one mount."""
    stage = upper.with_name(upper.name + ".work")
    stage.mkdir(mode=0o755)
    (stage / "work").mkdir()
    upper.rename(stage / "upper")
    return stage


def release_stage(upper: Path) -> None:
    """The opposite of ``make_stage``. Idempotent."""
    stage = upper.with_name(upper.name + ".work")
    if stage.is_dir():
        if (stage / "upper").is_dir():
            (stage / "upper").rename(upper)
        work = stage / "work"
        for own in work.iterdir() if work.is_dir() else ():
            own.chmod(0o700)  # overlayfs makes it with no rights at all, and keeps its whiteout in it
        shutil.rmtree(stage)
