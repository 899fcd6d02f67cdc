"""The process that makes sandboxes: small, with one thread, asked over a socket.

Never a fork of the caller: forking a trainer of many gigabytes would cost a hundred times the sandbox.
It ends when its client closes the socket, and every sandbox dies with it.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket

# Loaded here because nothing can be imported once the root has changed: `os.execvpe` imports it on its own.
import warnings  # noqa: F401
from typing import Any

from cwm_env.sandbox.namespaces import contain, ids, libc, wire


def main(descriptor: int) -> None:
    """Serve the client at the other end of the socket ``descriptor``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    libc.forget_command_line()
    client = socket.socket(fileno=descriptor)
    alive: dict[int, int] = {}
    poller = select.poll()
    poller.register(client, select.POLLIN)
    while True:
        for ready, _ in poller.poll():
            if ready in alive:
                poller.unregister(ready)
                os.waitpid(alive.pop(ready), 0)
                os.close(ready)
                continue
            try:
                request, _ = wire.receive(client)
            except (EOFError, OSError):
                return
            try:
                pid, control = _create(request, client, alive)
            except OSError as error:
                wire.send(client, {"error": str(error), "errno": error.errno})
                continue
            exited = os.pidfd_open(pid)
            wire.send(client, {"pid": pid}, [control.fileno(), exited])
            control.close()
            alive[exited] = pid
            poller.register(exited, select.POLLIN)


def _create(request: dict[str, Any], client: socket.socket, alive: dict[int, int]) -> tuple[int, socket.socket]:
    """Start one sandbox. It reports to the client by itself, over the socket that is returned."""
    control, inner_control = socket.socketpair()
    ours, gate = socket.socketpair()
    flags = contain.NAMESPACES | (0 if request["network"] == "host" else libc.CLONE_NEWNET)
    pid = libc.clone(flags | signal.SIGCHLD)
    if pid == 0:
        for descriptor in (client.fileno(), control.fileno(), ours.fileno(), *alive):
            os.close(descriptor)
        _inside(request, inner_control, gate)
    inner_control.close()
    gate.close()
    trees: list[int] = []
    try:
        ids.write_maps(pid, ids.next_base())
        if ids.privileged():
            trees = _mapped_trees(request, pid)
        wire.send(ours, {}, trees)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        control.close()
        raise
    finally:
        ours.close()
        for tree in trees:
            os.close(tree)
    return pid, control


def _sources(request: dict[str, Any]) -> list[str]:
    return [*request["layers"], *([request["upper"]] if request["upper"] else [])]


def _host_trees(request: dict[str, Any]) -> list[int]:
    return [libc.open_tree(path, recursive=True) for path in request["host_mounts"]]


def _mapped_trees(request: dict[str, Any], pid: int) -> list[int]:
    """Detached mounts of the layers, on which the sandbox's ids own what the image's ids own, and of the host's own.

    Made here, because the sandbox's root may not be permitted to look up the paths.
    """
    userns = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    trees: list[int] = []
    try:
        for path in _sources(request):
            trees.append(libc.open_tree(path))
            libc.mount_setattr(trees[-1], libc.MOUNT_ATTR_IDMAP, userns=userns)
        trees += _host_trees(request)
    except OSError:
        for tree in trees:
            os.close(tree)
        raise
    finally:
        os.close(userns)
    return trees


def _inside(request: dict[str, Any], control: socket.socket, gate: socket.socket) -> None:
    """In the new process: wait for its ids, become the sandbox, and report what goes wrong on the way."""
    try:
        _, trees = wire.receive(gate)
        gate.close()
        if not trees:
            trees = [libc.open_tree(path) for path in _sources(request)] + _host_trees(request)
        count = len(request["layers"])
        layers, rest = trees[:count], trees[count:]
        upper = rest.pop(0) if request["upper"] else None
        contain.contain(request, control, layers, upper, rest)
    except (OSError, ValueError, EOFError) as error:
        number = error.errno if isinstance(error, OSError) else errno.EINVAL
        wire.send(control, {"error": str(error), "errno": number})
    finally:
        os._exit(1)
