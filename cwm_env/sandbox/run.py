"""One program in a sandbox, run to its end: what a ``Process`` is for when nobody talks to it."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cwm_env.sandbox.base import Process, Sandbox

_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that has ended."""

    exit_code: int
    """128 + N after signal N."""
    stdout: bytes
    """The last ``output_limit`` bytes."""
    stderr: bytes
    """The same."""
    truncated: bool = False
    """Whether either stream lost its beginning."""


class _Tail:
    """The last bytes of a stream, in bounded memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self.truncated = False

    def add(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > 2 * self._limit:
            self.cut()

    def cut(self) -> bytes:
        if len(self._data) > self._limit:
            self.truncated = True
            del self._data[: -self._limit]
        return bytes(self._data)


def run(
    sandbox: Sandbox,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str = "/",
    user: str = "root",
    input: bytes = b"",
    timeout: float,
    output_limit: int = 1 << 20,
    error_limit: int | None = None,
) -> Completed:
    """Run a program until it ends, feeding it ``input``.

    What it leaves running in the background is not waited for.

    Args:
        env: its whole environment; None takes the backend's default.
        timeout: seconds; at the limit its process group is killed.
        output_limit: bytes that are kept of each stream, from its end.
        error_limit: the same for standard error, where it differs.

    Raises:
        TimeoutError: it did not end in time.
        SandboxError: the sandbox died, or cannot start a process.
    """
    process = sandbox.spawn(argv, env=env, cwd=cwd, user=user)
    try:
        limits = (output_limit, output_limit if error_limit is None else error_limit)
        return _communicate(process, input, timeout, limits)
    except TimeoutError:
        process.kill()
        raise
    finally:
        process.close()


def _communicate(process: Process, data: bytes, timeout: float, limits: tuple[int, int]) -> Completed:
    deadline = time.monotonic() + timeout
    tails = {process.stdout: _Tail(limits[0]), process.stderr: _Tail(limits[1])}
    poller = select.poll()
    for descriptor in (*tails, process.exited):
        poller.register(descriptor, select.POLLIN)
    os.set_blocking(process.stdin, False)
    data = _feed(process, poller, data)
    code = None
    while code is None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"a program did not end within {timeout:g} seconds")
        for descriptor, _ in poller.poll(left * 1000):
            if descriptor == process.stdin:
                data = _feed(process, poller, data)
            elif descriptor == process.exited:
                code = process.wait()
            elif not _read(descriptor, tails[descriptor]):
                poller.unregister(descriptor)
    for descriptor, tail in tails.items():
        for _ in range(64):  # what a pipe holds at most; something in the background may go on writing
            if not _read(descriptor, tail):
                break
    out, err = tails[process.stdout], tails[process.stderr]
    return Completed(code, out.cut(), err.cut(), out.truncated or err.truncated)


def _feed(process: Process, poller: select.poll, data: bytes) -> bytes:
    """Write what the program takes now, and end its input after the last byte. Returns the rest."""
    try:
        while data:
            data = data[os.write(process.stdin, data[:_CHUNK]) :]
    except BlockingIOError:
        poller.register(process.stdin, select.POLLOUT)
        return data
    except BrokenPipeError:
        data = b""
    with contextlib.suppress(KeyError):  # where it took everything at once
        poller.unregister(process.stdin)
    process.close_stdin()
    return data


def _read(descriptor: int, tail: _Tail) -> bool:
    """Read once; False at end of file, and where nothing is there."""
    try:
        data = os.read(descriptor, _CHUNK)
    except BlockingIOError:
        return False
    tail.add(data)
    return bool(data)
