"""The sandbox's file system: an overlay of the image's layers, and the kernel's own file systems on top.

Everything is put together on a tmpfs that covers ``/tmp`` of a private mount namespace (the stage), and
then made the root. Layers arrive as descriptors of detached mounts, so no path on the host is looked up
with the sandbox's rights, and none may hold a character that overlayfs would read as syntax.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from cwm_env.sandbox.namespaces import libc

_STAGE = "/tmp"  # noqa: S108 - a mount point in a private mount namespace, not a file
_QUIET = libc.MS_NOSUID | libc.MS_NODEV
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
# What of /proc tells about the machine, and (for the day that a mapping is wrong) what would let root change it.
_PROC_HIDDEN = ("kcore", "keys", "key-users", "kallsyms", "cmdline", "modules", "partitions", "diskstats", "mtrr",
                "sysrq-trigger", "timer_list")  # fmt: skip
_PROC_EMPTY = ("acpi", "asound", "bus", "fs", "irq", "scsi")
_PROC_READ_ONLY = ("sys",)
_HOST_NETWORK_FILES = ("/etc/resolv.conf", "/etc/hosts")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to mount."""

    layers: Sequence[int]
    """Detached mounts of the image's layers, the lowest first."""
    upper: int | None
    """Detached mount of a directory that holds ``upper`` and ``work``; None for memory."""
    host_mounts: Sequence[tuple[str, int]]
    """Paths, and detached mounts of what lies there on the host."""
    hidden: Sequence[str]
    """Directories of the host mounts that appear empty."""
    disk: int
    """Bytes for everything that is written in memory."""
    share_network: bool


def build(plan: Plan) -> int:
    """Make the plan this process's root. Returns a descriptor of the directory that holds what is written.

    Raises:
        OSError: a step failed; its text names the step.
        ValueError: the image is not one that can be mounted safely.
    """
    sources = list(plan.host_mounts)
    if plan.share_network:
        sources += [(path, libc.open_tree(path)) for path in _HOST_NETWORK_FILES if os.path.exists(path)]
    devices = [(name, libc.open_tree(f"/dev/{name}")) for name in _DEVICES]
    libc.mount("none", "/", None, libc.MS_SLAVE | libc.MS_REC)
    libc.mount("tmpfs", _STAGE, "tmpfs", _QUIET, f"mode=755,size={plan.disk},nr_inodes={max(plan.disk >> 12, 1024)}")
    os.chdir(_STAGE)
    changes = _mount_overlay(plan)
    for path, tree in sources:
        _attach_host(path, tree)
    os.mkdir("empty", 0o555)
    for path in plan.hidden:
        if os.path.isdir(f"root{path}"):
            _bind_read_only("empty", f"root{path}")
    _mount_proc()
    _mount_devices(devices)
    for name, mode in (("tmp", 0o1777), ("run", 0o1777), ("dev/shm", 0o1777)):
        _bind_from_stage(name, mode)
    os.chdir("root")
    libc.pivot_root(".", ".")
    libc.umount(".", libc.MNT_DETACH)
    os.chdir("/")
    return changes


def _mount_overlay(plan: Plan) -> int:
    """Mount the overlay on ``root`` of the stage; returns a descriptor of its upper directory."""
    for index, layer in enumerate(plan.layers):
        os.mkdir(f"l{index}")
        libc.move_mount(layer, f"l{index}")
        os.close(layer)
    writable = "writable"
    os.mkdir(writable)
    if plan.upper is not None:
        libc.move_mount(plan.upper, writable)
        os.close(plan.upper)
    else:
        os.mkdir(f"{writable}/upper", 0o755)
        os.mkdir(f"{writable}/work", 0o755)
    os.mkdir("root")
    lower = ":".join(f"l{index}" for index in reversed(range(len(plan.layers))))
    options = f"lowerdir={lower},upperdir={writable}/upper,workdir={writable}/work,userxattr"
    libc.mount("overlay", "root", "overlay", _QUIET, options)
    return os.open(f"{writable}/upper", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _mount_point(path: str, *, directory: bool = True) -> str:
    """``root/path``, made if it is missing. An image that has a link on the way there is refused."""
    here = "root"
    parts = path.strip("/").split("/")
    for index, part in enumerate(parts):
        here = f"{here}/{part}"
        is_directory = directory or index < len(parts) - 1
        try:
            mode = os.lstat(here).st_mode
        except FileNotFoundError:
            if is_directory:
                os.mkdir(here, 0o755)
            else:
                os.close(os.open(here, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
            continue
        if not (stat.S_ISDIR(mode) if is_directory else stat.S_ISREG(mode)):
            kind = "directory" if is_directory else "regular file"
            raise ValueError(f"the image cannot be used: {here[4:]} is not a {kind}")
    return here


def _attach_host(path: str, tree: int) -> None:
    target = _mount_point(path, directory=stat.S_ISDIR(os.fstat(tree).st_mode))
    libc.mount_setattr(tree, libc.MOUNT_ATTR_RDONLY | libc.MOUNT_ATTR_NOSUID | libc.MOUNT_ATTR_NODEV, recursive=True)
    libc.move_mount(tree, target)
    os.close(tree)


def _mount_proc() -> None:
    proc = _mount_point("proc")
    libc.mount("proc", proc, "proc", _QUIET | libc.MS_NOEXEC)
    for name in _PROC_HIDDEN:
        if os.path.lexists(f"{proc}/{name}"):
            libc.mount("/dev/null", f"{proc}/{name}", None, libc.MS_BIND)
    for name in _PROC_EMPTY:
        if os.path.isdir(f"{proc}/{name}"):
            _bind_read_only("empty", f"{proc}/{name}")
    for name in _PROC_READ_ONLY:
        _bind_read_only(f"{proc}/{name}", f"{proc}/{name}")


def _bind_read_only(source: str, target: str) -> None:
    libc.mount(source, target, None, libc.MS_BIND | libc.MS_REC)
    libc.mount_setattr(target, libc.MOUNT_ATTR_RDONLY, recursive=True)


def _mount_devices(devices: Sequence[tuple[str, int]]) -> None:
    dev = _mount_point("dev")
    libc.mount("tmpfs", dev, "tmpfs", libc.MS_NOSUID | libc.MS_NOEXEC, "mode=755,size=64k,nr_inodes=64")
    for name, tree in devices:
        os.close(os.open(f"{dev}/{name}", os.O_CREAT | os.O_CLOEXEC, 0o666))
        libc.move_mount(tree, f"{dev}/{name}")
        os.close(tree)
    for name, target in _DEVICE_LINKS.items():
        os.symlink(target, f"{dev}/{name}")
    os.mkdir(f"{dev}/pts")
    libc.mount("devpts", f"{dev}/pts", "devpts", libc.MS_NOSUID | libc.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    os.mkdir(f"{dev}/shm")


def _bind_from_stage(name: str, mode: int) -> None:
    """Mount a directory of the stage at ``/name``, so that all that is written counts against one size."""
    source = f"scratch-{name.replace('/', '-')}"
    os.mkdir(source)
    os.chmod(source, mode)
    libc.mount(source, _mount_point(name), None, libc.MS_BIND)
