"""What a spawner is asked for: an image and limits, in the words of the native program."""

from __future__ import annotations

import errno
from pathlib import Path

from cwm_env.errors import DiskFull, SandboxError, SandboxUnavailable
from cwm_env.sandbox.cgroups import Cgroups
from cwm_env.sandbox.namespaces import wire
from cwm_env.types import Image, Limits

PROXY_PORT = 3128
"""Where, on a sandbox's loopback, the proxy is that lets allowed names through."""

PROXY_ENV = {
    **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), f"http://127.0.0.1:{PROXY_PORT}"),
    **dict.fromkeys(("all_proxy", "ALL_PROXY"), f"socks5h://127.0.0.1:{PROXY_PORT}"),
    **dict.fromkeys(("no_proxy", "NO_PROXY"), "localhost,127.0.0.1,::1"),
}
"""How programs in the sandbox are told of it."""

_UNAVAILABLE = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EUSERS, errno.ENOSPC)
_MOST_LAYERS = 200
_PAGE = 4096
_FEWEST_INODES = 1024
_SMALLEST_PID_MAX = 301  # the kernel keeps 300 for its own
_SLACK = 64  # processes by which the kernel's count lies above the control group's, which tells when it was hit


def creation(image: Image, limits: Limits, name: str, base: int, stage: Path | None, cgroups: Cgroups) -> wire.Fields:
    """The request for one sandbox.

    Args:
        name: of the sandbox and its control groups.
        base: first id of its range, or ``ids.NONE``.
        stage: directory on disk that receives what is written, or None for memory.
    """
    fields: wire.Fields = [
        ("id", name),
        ("base", base),
        ("network", "host" if limits.network == "host" else "none"),
        ("disk", limits.disk),
        ("inodes", max(limits.disk // _PAGE, _FEWEST_INODES)),
    ]
    fields += [("layer", str(layer)) for layer in image.layers]
    fields += [("mount", mount) for mount in image.host_mounts]
    fields += [("hidden", path) for path in image.hidden]
    if stage:
        fields += [("upper", str(stage)), ("file_size", limits.disk)]
    fields += cgroups.settings(limits, in_memory=stage is None)
    if limits.network == "allow":
        fields.append(("proxy_port", PROXY_PORT))
    if "memory" not in cgroups.homes:
        fields.append(("address_space", limits.memory))
    if "pids" in cgroups.homes:
        fields.append(("processes", limits.processes + _SLACK))
    else:
        fields += [("processes", limits.processes), ("pid_max", _SMALLEST_PID_MAX + limits.processes)]
    return fields


def enforced(cgroups: Cgroups) -> dict[str, str]:
    """How each limit is enforced on this machine: limit to means, ``not enforced`` where it is not."""
    group = f"cgroup {cgroups.version}"
    return {
        "memory": group if "memory" in cgroups.homes else "address space of each process, not of all together",
        "cpus": group if "cpu" in cgroups.homes else "not enforced",
        "processes": group if "pids" in cgroups.homes else "count of each user in the sandbox, and of process ids",
        "disk": "size of the sandbox's own file system in memory; on disk, only of each file",
        "inodes": "number of files of the same file system; on disk, not enforced",
        "files": "count of each process; a hit, which nothing counts, is told while a process holds all that it may "
        "and where a failed command says so",
        "network": "network namespace; a proxy outside where names are allowed",
        "output": "reader outside the sandbox",
        "command_timeout": "clock outside the sandbox",
        "episode_timeout": "clock outside the sandbox",
    }


def check(image: Image) -> None:
    """Refuse an image that cannot be cloned.

    Raises:
        SandboxError: what is wrong with it.
    """
    missing = [layer for layer in image.layers if not layer.is_dir()]
    if missing or not image.layers:
        raise SandboxError(f"image {image.name} has lost its layer {missing[:1]}: build it again")
    if len(image.layers) > _MOST_LAYERS:
        raise SandboxError(f"image {image.name} has more than {_MOST_LAYERS} layers: flatten it")


def translated(error: OSError) -> SandboxError:
    """What an error on the way to a sandbox means to the caller."""
    text = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT) and "clone" not in text:
        return DiskFull(f"no space is left for a sandbox ({text}): free some and try again")
    if error.errno in _UNAVAILABLE:
        return SandboxUnavailable(
            f"this machine does not let us make a sandbox ({text}): run `cwm-env doctor` to see what mends it"
        )
    return SandboxError(f"a sandbox could not be made: {text}")
