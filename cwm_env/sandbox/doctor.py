"""What this machine can do: each thing that a sandbox or an image build needs, tried for real."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cwm_env.errors import SandboxError
from cwm_env.paths import cache_dir
from cwm_env.sandbox import cgroups
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.types import Image, Limits

_PROBE = Path(__file__).with_name("probe.py")
_SECONDS = 20.0
_WANTED_DISK = 5 << 30

_USERNS_REMEDY = (
    "let ordinary users make user namespaces: "
    "sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=65536"
)
_APPARMOR_REMEDY = (
    "AppArmor holds unprivileged user namespaces back: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, "
    "or load the spawner's profile (docs/sandbox.md has it)"
)
_PROC_REMEDY = "a container that hides parts of /proc forbids it: start it with --security-opt systempaths=unconfined"
_OPAQUE_REMEDY = (
    "a directory of the image that an episode removes cannot be made anew (EIO): use Linux 6.6 or later, or keep what "
    "is written on disk (create(…, upper=DIRECTORY))"
)
_CGROUP_REMEDY = (
    "start it where control groups are delegated: systemd-run --user --scope -p Delegate=yes COMMAND; "
    "in Docker, --cgroupns=private with a writable /sys/fs/cgroup"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str
    """What was found."""
    remedy: str = ""
    """What mends it, where it is not well."""
    required: bool = True
    """Whether sandboxes work at all without it."""


def examine() -> list[Finding]:
    """Look at everything; takes about a tenth of a second, and changes nothing."""
    return [*_platform(), *_kernel(), *_limits(), *_tools(), _disk()]


def _platform() -> Iterator[Finding]:
    release = os.uname()
    yield Finding(
        "linux",
        sys.platform == "linux" and release.machine in ("x86_64", "aarch64"),
        f"{release.sysname} {release.release} on {release.machine}",
        "use Linux on x86_64 or aarch64; elsewhere, a Linux virtual machine or the Docker backend",
    )
    yield Finding(
        "python",
        sys.version_info >= (3, 11),
        sys.version.split()[0],
        "use Python 3.11 or later",
    )


def _kernel() -> Iterator[Finding]:
    said = _probe()
    root = os.geteuid() == 0
    if said.get("userns") != "ok" and _is_restrained() and _makes_a_sandbox():
        yield Finding("user namespaces", True, "AppArmor lets the spawner make them, by its profile, and nothing else")
        return
    yield _finding("user namespaces", said.get("userns"), _userns_remedy())
    yield _finding("other namespaces", said.get("namespaces"), "use a kernel with mnt, pid, ipc, uts, net and cgroup")
    yield _finding("overlay in a user namespace", said.get("overlay"), "use Linux 5.11 or later with overlayfs")
    yield _finding("proc in a user namespace", said.get("proc"), _PROC_REMEDY)
    again = _finding("removed directories", said.get("opaque"), _OPAQUE_REMEDY)
    yield replace(again, required=False)
    if root:
        yield _finding(
            "idmapped mounts", _probe("idmap").get("idmap"), "use Linux 5.19 or later for images kept by root"
        )


def _probe(*arguments: str) -> dict[str, str]:
    """What the probe printed: name to ``ok`` or ``error …``."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-I", "-S", str(_PROBE), *arguments, *([directory] if arguments else [])]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return {"userns": f"error {error}"}
    rows = (line.partition(" ") for line in done.stdout.splitlines())
    return {name: rest for name, _, rest in rows}


def _finding(name: str, said: str | None, remedy: str) -> Finding:
    if said == "ok":
        return Finding(name, True, "works")
    return Finding(
        name, False, (said or "not tried, because something before it failed").removeprefix("error "), remedy
    )


def _userns_remedy() -> str:
    return _APPARMOR_REMEDY if _is_restrained() else _USERNS_REMEDY


def _is_restrained() -> bool:
    """Whether AppArmor may be what stands in the way, of all ordinary users or of this program."""
    switch = _text(Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"))
    label = _text(Path("/proc/self/attr/apparmor/current"))
    return os.geteuid() != 0 and (switch == "1" or label not in ("", "unconfined"))


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _makes_a_sandbox() -> bool:
    """Whether the spawner can do what this Python may not."""
    with tempfile.TemporaryDirectory() as directory:
        for name in ("proc", "dev", "tmp", "run"):
            (Path(directory) / name).mkdir()
        backend = NamespacesBackend(spawners=1)
        try:
            backend.create(Image("nothing", "sha256:0", (Path(directory),)), Limits()).close()
        except SandboxError:
            return False
        finally:
            backend.close()
    return True


def _limits() -> Iterator[Finding]:
    found = cgroups.find()
    for controller, what, instead in (
        ("memory", "memory limit", "address space of each process only"),
        ("cpu", "CPU limit", "no limit"),
        ("pids", "process limit", "the kernel's own count, by user"),
    ):
        home = found.homes.get(controller)
        if home:
            yield Finding(what, True, f"enforced by cgroup {found.version} below {home}", required=False)
        else:
            yield Finding(what, False, f"{found.why_not or 'no such controller'}; {instead}", _CGROUP_REMEDY, False)
    yield Finding("disk limit", True, "enforced: what an episode writes lies in a tmpfs of its own", required=False)
    files = "enforced by the kernel, which does not count what it refused: docs/sandbox.md says how a hit is noticed"
    yield Finding("open files limit", True, files, required=False)


def _tools() -> Iterator[Finding]:
    for name, what in (("git", "mining repositories"), ("mmdebstrap", "building the shipped images")):
        path = shutil.which(name)
        yield Finding(name, path is not None, path or "not found", f"install {name}: {what} needs it", required=False)


def _disk() -> Finding:
    directory = cache_dir()
    while not directory.exists():
        directory = directory.parent
    free = shutil.disk_usage(directory).free
    return Finding(
        "disk space",
        free >= _WANTED_DISK,
        f"{free / (1 << 30):.1f} GiB free for images in {cache_dir()}",
        "free some, or point CWM_ENV_CACHE to another disk",
        required=False,
    )
