"""A sandbox on its way from one process to another: what is said about it, and what is made of that."""

from __future__ import annotations

import socket
from collections.abc import Callable

from cwm_env.errors import SandboxError
from cwm_env.sandbox.base import Process, Sandbox
from cwm_env.sandbox.cgroups import Cgroups
from cwm_env.sandbox.handover import Handover
from cwm_env.sandbox.namespaces.process import NamespaceProcess
from cwm_env.sandbox.namespaces.sandbox import NamespaceSandbox
from cwm_env.types import Image, Limits

_STREAMS = 4
_PATIENCE_SECONDS = 30.0


def own(sandbox: Sandbox) -> NamespaceSandbox:
    """The sandbox as what it is, or SandboxError where it is another backend's."""
    if not isinstance(sandbox, NamespaceSandbox):
        raise SandboxError(f"sandbox {sandbox.id} is another backend's: ask that one")
    return sandbox


def pack(sandbox: Sandbox, process: Process) -> Handover:
    """As ``Portable.hand_over``."""
    source = own(sandbox)
    streams = (process.stdin, process.stdout, process.stderr, process.exited)
    about = {"maker": source.id.split("-")[1], "id": source.id, "base": source.base, "pid": process.pid}
    return Handover({**about, "image": source.image.digest}, (*streams, *source.descriptors))


def unpack(
    handover: Handover, image: Image, limits: Limits, cgroups: Cgroups, on_close: Callable[[NamespaceSandbox], None]
) -> tuple[NamespaceSandbox, NamespaceProcess]:
    """As ``Portable.adopt``. What the sandbox's ``listener`` is for, the caller begins to serve."""
    about, streams = handover.about, handover.descriptors[:_STREAMS]
    control, exited, *listeners = handover.descriptors[_STREAMS:]
    sock = socket.socket(fileno=control)
    sock.settimeout(_PATIENCE_SECONDS)
    made = NamespaceSandbox(about["id"], image, limits, sock, exited, cgroups, on_close)
    made.base = about["base"]
    for made.listener in listeners:
        pass
    process = NamespaceProcess(made, about["pid"], streams)
    try:
        if about["image"] != image.digest:
            raise SandboxError(f"image {image.name} was built anew since sandbox {made.id} was made of it")
        made.take_up()
    except BaseException:
        process.close()
        made.close()
        raise
    return made, process
