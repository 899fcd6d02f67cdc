"""What the engine is asked for: an image and limits, in the words of its API."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from typing import Any

from cwm_env.sandbox.namespaces import wire
from cwm_env.sandbox.namespaces.binary import spawner_program
from cwm_env.sandbox.namespaces.request import PROXY_PORT
from cwm_env.types import Limits

PRIVATE = ".cwm-env"
"""Directory at the root of each container that holds our pid 1."""
_CAPABILITIES = (  # as in native/privileges.c
    "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SETFCAP"
)
# Docker's own list, and what the embedded sandbox hides besides.
_HIDDEN = (
    "acpi asound kcore keys key-users kallsyms cmdline modules partitions diskstats mtrr latency_stats "
    "timer_list timer_stats sched_debug scsi"
)
_MASKED = [*(f"/proc/{name}" for name in _HIDDEN.split()), "/sys/firmware", "/sys/devices/virtual/powercap"]
# The last: or the container's root has the kernel kill pid 1 when memory is full, which would be no fault of its own.
_READ_ONLY = [
    *(f"/proc/{name}" for name in ("bus", "fs", "irq", "sys", "sysrq-trigger")),
    *(f"/proc/1/{name}" for name in ("oom_adj", "oom_score_adj", "task/1/oom_adj", "task/1/oom_score_adj")),
]
_OVERHEAD = 16 << 20  # bytes that the kernel uses for a sandbox's processes, and our pid 1
_NO_LIMIT = 1 << 22
_MARGIN = 1 << 20  # bytes: a full file system is noticed as such, before the limit of one file


def is_gvisor(runtime: str | None) -> bool:
    """Whether a runtime is gVisor, whose kernel counts differently."""
    return runtime is not None and ("runsc" in runtime or "gvisor" in runtime.lower())


def container(
    image: str, limits: Limits, labels: Mapping[str, str], runtime: str | None, *, quota: bool
) -> dict[str, Any]:
    """The body of the call that creates a container.

    Args:
        quota: whether the engine's storage can limit what a container writes.
    """
    memory = limits.memory + limits.disk + _OVERHEAD  # what is written to /tmp is memory, too, and must fill up first
    tmpfs = f"rw,nosuid,nodev,exec,mode=1777,size={limits.disk}"
    host: dict[str, Any] = {
        "NetworkMode": "host" if limits.network == "host" else "none",
        "Memory": memory,
        "MemorySwap": memory,
        "NanoCpus": int(limits.cpus * 1e9),
        # gVisor's own threads would count, and it would die at the limit.
        "PidsLimit": None if is_gvisor(runtime) else limits.processes + 1,
        "CapDrop": ["ALL"],
        "CapAdd": _CAPABILITIES.split(),
        "SecurityOpt": ["no-new-privileges"],
        "Tmpfs": {"/tmp": tmpfs, "/run": tmpfs},  # noqa: S108 - in the sandbox
        "ShmSize": limits.disk,
        "LogConfig": {"Type": "none"},  # or all that passes would be written to the engine's disk
        "MaskedPaths": _MASKED,
        "ReadonlyPaths": _READ_ONLY,
        "IpcMode": "private",
    }
    if runtime:
        host["Runtime"] = runtime
    if quota:
        host["StorageOpt"] = {"size": str(limits.disk)}
    return {
        "Image": image,
        "Hostname": "sandbox",
        "Entrypoint": [f"/{PRIVATE}/init", "container"],
        "Cmd": [],
        "User": "0:0",
        "WorkingDir": "/",
        "OpenStdin": True,
        "StdinOnce": True,  # with the stream to us its input ends, and so does everything in it
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": dict(labels),
        "HostConfig": host,
    }


def limits_message(limits: Limits, runtime: str | None) -> bytes:
    """What pid 1 is told first: the limits that each process has, besides those of the container."""
    fields: wire.Fields = [
        ("processes", limits.processes if is_gvisor(runtime) else _NO_LIMIT),
        ("file_size", limits.disk + _MARGIN),
    ]
    if is_gvisor(runtime):  # at the container's limit all of gVisor would be killed
        fields.append(("address_space", limits.memory))
    if limits.network == "allow":
        fields.append(("proxy_port", PROXY_PORT))
    return wire.encode(fields)


def program_archive() -> bytes:
    """Our pid 1, as an archive to be unpacked at the root of a container."""
    program = spawner_program().read_bytes()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        directory = tarfile.TarInfo(PRIVATE)
        directory.type, directory.mode = tarfile.DIRTYPE, 0o700
        archive.addfile(directory)
        file = tarfile.TarInfo(f"{PRIVATE}/init")
        file.mode, file.size = 0o500, len(program)
        archive.addfile(file, io.BytesIO(program))
    return out.getvalue()


def enforced(runtime: str | None, *, quota: bool) -> dict[str, str]:
    """How each limit is enforced: limit to means, ``not enforced`` where it is not."""
    gvisor = is_gvisor(runtime)
    return {
        "memory": "address space of each process, and the container as a whole" if gvisor else "container",
        "cpus": "container",
        "processes": "count of each user in gVisor" if gvisor else "container",
        "disk": "quota of the container" if quota else "size of each file, and of /tmp, /run and /dev/shm",
        "files": "count of each process",
        "network": "network namespace of the container; a proxy outside where names are allowed",
        "output": "reader outside the sandbox",
        "command_timeout": "clock outside the sandbox",
        "episode_timeout": "clock outside the sandbox",
    }
