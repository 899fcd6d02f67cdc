"""Files in and out of a sandbox, through tools that run inside it: nothing of its tree is touched from outside."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable, Iterator

from cwm_env.errors import SandboxError
from cwm_env.sandbox.base import FileInfo
from cwm_env.sandbox.namespaces.process import NamespaceProcess, readable

_CHUNK = 1 << 17
_SILENCE_SECONDS = 120.0
_KILLED = 128
_KINDS = {b"f": "file", b"d": "directory", b"l": "link", b"o": "other"}


def output(tool: NamespaceProcess) -> Iterator[bytes]:
    """What a tool writes, piece by piece; at the end its failure as an exception.

    Raises:
        OSError: the tool could not do what it was asked for.
        SandboxError: the sandbox died, or somebody in it killed the tool.
    """
    try:
        tool.close_stdin()
        while True:
            if not readable(tool.stdout, _SILENCE_SECONDS):
                raise SandboxError("a tool in the sandbox does not go on")
            data = os.read(tool.stdout, _CHUNK)
            if not data:
                break
            yield data
        finish(tool)
    finally:
        drop(tool)


def feed(tool: NamespaceProcess, data: bytes | Iterable[bytes]) -> None:
    """Give a tool its input, and wait until it has ended.

    Raises:
        OSError: the tool could not do what it was asked for.
        SandboxError: the sandbox died, or somebody in it killed the tool.
    """
    try:
        os.set_blocking(tool.stdin, False)
        for piece in [data] if isinstance(data, bytes) else data:
            if not _write(tool, memoryview(piece)):
                break  # it has ended early, and says why
        tool.close_stdin()
        finish(tool)
    finally:
        drop(tool)


def listing(text: bytes) -> list[FileInfo]:
    """The entries that the tool ``list`` wrote, sorted by name."""
    fields = text.split(b"\0")
    found = []
    for at in range(0, len(fields) - 6, 6):
        kind, mode, size, modified, name, target = fields[at : at + 6]
        found.append(FileInfo(name, _KINDS[kind], int(mode, 8), int(size), float(modified), target))  # type: ignore[arg-type]
    return sorted(found, key=lambda entry: entry.name)


def _write(tool: NamespaceProcess, data: memoryview) -> bool:
    """False where the tool does not read any more."""
    poller = select.poll()
    poller.register(tool.stdin, select.POLLOUT)
    while data:
        if not poller.poll(_SILENCE_SECONDS * 1000):
            raise SandboxError("a tool in the sandbox does not go on")
        try:
            data = data[os.write(tool.stdin, data[:_CHUNK]) :]
        except BlockingIOError:
            continue
        except (BrokenPipeError, ConnectionResetError):
            return False
    return True


def finish(tool: NamespaceProcess) -> None:
    """Wait until a tool has ended.

    Raises:
        OSError: the tool could not do what it was asked for.
        SandboxError: the sandbox died, or somebody in it killed the tool.
    """
    code = tool.wait(_SILENCE_SECONDS)
    if code == 0:
        return
    if code is None or code > _KILLED:
        raise SandboxError("a tool in the sandbox was killed, or does not end")
    try:
        said = os.read(tool.stderr, 4096).decode("utf-8", "surrogateescape").strip()
    except BlockingIOError:
        said = os.strerror(code)
    raise OSError(code, said)


def drop(tool: NamespaceProcess) -> None:
    """End a tool if it still runs, and let go of it."""
    if tool.wait(0) is None:
        tool.kill()
    tool.close()
