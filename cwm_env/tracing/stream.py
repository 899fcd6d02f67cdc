"""Runs the tracer in a sandbox and reads its log as it is written."""

from __future__ import annotations

import contextlib
import json
import os
import select
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cwm_env.errors import SandboxError
from cwm_env.sandbox.base import Backend, Process, Sandbox
from cwm_env.tracing.rawlog import Ending, LogReader, RawTrace
from cwm_env.tracing.tracer import STARTER, framed, one_file
from cwm_env.types import Image, Limits

_CHUNK = 1 << 18
_ENV = {
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where traced programs run."""

    backend: Backend
    image: Image
    python: str = "python3"
    """The interpreter in the image, a path or a name on its ``PATH``."""
    limits: Limits = field(default_factory=Limits)
    env: Mapping[str, str] = field(default_factory=dict)
    """Beside the image's own. ``PYTHONHASHSEED`` is 0 unless set: the order of a set is then the same each time."""

    tracer: str = ""
    """Text of the tracer, where it is another than ``one_file()``."""

    @classmethod
    def default(cls, image: str = "python") -> Place:
        """The embedded backend, and an image by its name.

        Raises:
            RecipeError: there is no such image.
            InfrastructureError: the image cannot be built.
        """
        from cwm_env.images import ImageStore
        from cwm_env.sandbox.registry import backend

        return cls(backend(), ImageStore().get(image))


def record(request: dict[str, Any], place: Place, timeout: float, stdin: bytes = b"") -> tuple[list[RawTrace], Ending]:
    """Run one request in a fresh sandbox and keep what it recorded.

    Raises:
        SandboxError: the sandbox failed, or has no such Python.
    """
    traces: list[RawTrace] = []
    reader = LogReader(traces.append)
    with contextlib.closing(place.backend.create(place.image, place.limits)) as sandbox:
        ending = feed(reader.feed, sandbox, request, place, timeout, stdin), reader.finish()
    return traces, ending[1]


def feed(
    take: Callable[[bytes], None],
    sandbox: Sandbox,
    request: dict[str, Any],
    place: Place,
    timeout: float,
    stdin: bytes = b"",
) -> bool:
    """Run one request in ``sandbox`` and hand its log over piece by piece; whether it ended within ``timeout`` seconds.

    Raises:
        SandboxError: the sandbox died, or has no such Python.
    """
    data = framed(place.tracer or one_file()) + framed(json.dumps(request)) + stdin
    env = {**_ENV, **place.image.env, **place.env}
    argv = [place.python, "-c", STARTER]
    process = sandbox.spawn(argv, env=env, cwd=place.image.workdir, user=place.image.user)
    try:
        return _pump(process, data, take, time.monotonic() + timeout)
    finally:
        process.kill()
        process.close()


def _pump(process: Process, data: bytes, take: Callable[[bytes], None], deadline: float) -> bool:
    os.set_blocking(process.stdin, False)
    poller = select.poll()
    for descriptor in (process.stdout, process.stderr, process.exited):
        poller.register(descriptor, select.POLLIN)
    poller.register(process.stdin, select.POLLOUT)
    errors, got = b"", False
    code: int | None = None
    while code is None:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        for descriptor, _ in poller.poll(left * 1000):
            if descriptor == process.stdin:
                data = _write(process, poller, data)
            elif descriptor == process.exited:
                code = process.wait()
            else:
                piece = _read(descriptor)
                if not piece:
                    if piece is not None:
                        poller.unregister(descriptor)
                elif descriptor == process.stdout:
                    got = True
                    take(piece)
                else:
                    errors = (errors + piece)[-4000:]
    while piece := _read(process.stdout):
        got = True
        take(piece)
    while piece := _read(process.stderr):
        errors = (errors + piece)[-4000:]
    if not got:
        why = errors.decode("utf-8", "replace").strip() or f"exit code {code}"
        raise SandboxError(f"the tracer did not run in the image: {why}")
    return True


def _write(process: Process, poller: select.poll, data: bytes) -> bytes:
    try:
        data = data[os.write(process.stdin, data[:_CHUNK]) :]
    except BlockingIOError:
        return data
    except BrokenPipeError:
        data = b""
    if not data:
        poller.unregister(process.stdin)
        process.close_stdin()
    return data


def _read(descriptor: int) -> bytes | None:
    """What is there; empty at end of file, None where nothing is there yet."""
    try:
        return os.read(descriptor, _CHUNK)
    except BlockingIOError:
        return None
