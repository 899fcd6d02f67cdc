"""How a fresh process becomes a sandbox: one list of steps, read from top to bottom."""

from __future__ import annotations

import os
import socket
from typing import Any

from cwm_env.sandbox.namespaces import filesystem, ids, init, libc, network, privileges, wire

NAMESPACES = (
    libc.CLONE_NEWUSER | libc.CLONE_NEWNS | libc.CLONE_NEWPID | libc.CLONE_NEWIPC | libc.CLONE_NEWUTS
)  # fmt: skip


def contain(
    request: dict[str, Any], control: socket.socket, layers: list[int], upper: int | None, host: list[int]
) -> None:
    """Turn this process, the first in its namespaces, into the sandbox that ``request`` describes.

    Reports through ``control`` to the client, then serves it as pid 1 until it is killed. Does not return.

    Args:
        request: as ``NamespacesBackend.create`` wrote it.
        layers: detached mounts of the image's layers, the lowest first.
        upper: detached mount of the directory to write into, or None for memory.
        host: detached mounts of the directories of the host, in the request's order.
    """
    share_network = request["network"] == "host"
    ids.become_root()
    libc.unshare(libc.CLONE_NEWCGROUP)
    libc.sethostname("sandbox")
    if not share_network:
        network.raise_loopback()
    host_mounts = list(zip(request["host_mounts"], host, strict=True))
    plan = filesystem.Plan(layers, upper, host_mounts, request["hidden"], request["disk"], share_network)
    changes = filesystem.build(plan)
    privileges.limit_resources(request["processes"])
    privileges.drop_capabilities()
    privileges.no_new_privileges()
    # Nothing else in the sandbox may look into this process, and it dies with the spawner.
    libc.prctl(libc.PR_SET_DUMPABLE, 0)
    libc.prctl(libc.PR_SET_PDEATHSIG, 9)
    os.umask(0o022)
    wire.send(control, {"ready": True}, [changes])
    os.close(changes)
    init.serve(control)
