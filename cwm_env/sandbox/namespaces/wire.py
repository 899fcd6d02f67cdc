"""Messages over a unix stream socket: a length, ``name=value`` fields each ended by a NUL, descriptors beside them.

Spoken between a client and its spawner, and between a client and the pid 1 of each sandbox (``native/wire.c``).
"""

from __future__ import annotations

import os
import secrets
import socket
import struct
from collections.abc import Iterable, Sequence

Fields = list[tuple[str, str | int]]
"""A message to send; a name may be repeated."""

_LENGTH = struct.Struct("!I")
_LARGEST = 16 << 20
_MOST_DESCRIPTORS = 8


def encode(fields: Iterable[tuple[str, str | int]]) -> bytes:
    """The bytes of a message.

    Raises:
        ValueError: a value holds a NUL, or all together are too long.
    """
    parts = [os.fsencode(f"{name}={value}") for name, value in fields]
    body = b"\0".join(parts) + b"\0"
    if body.count(b"\0") != len(parts):
        raise ValueError("neither an argument nor a path nor a variable can hold a NUL byte")
    if len(body) > _LARGEST:
        raise ValueError(f"a request of {len(body)} bytes is too long: pass what is large through a file")
    return _LENGTH.pack(len(body)) + body


def send(sock: socket.socket, data: bytes, descriptors: Sequence[int] = ()) -> None:
    """Send an encoded message. The descriptors stay open here.

    Raises:
        OSError: the other side is gone.
    """
    sent = socket.send_fds(sock, [data], list(descriptors)) if descriptors else sock.send(data)
    if sent < len(data):
        sock.sendall(data[sent:])


def receive(sock: socket.socket) -> tuple[dict[str, str], list[int]]:
    """Receive one message and the descriptors that came with it.

    Raises:
        EOFError: the other side closed the socket.
        TimeoutError: the socket's own time limit passed.
    """
    head, descriptors, _, _ = socket.recv_fds(sock, _LENGTH.size, _MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    try:
        head += _exactly(sock, _LENGTH.size - len(head)) if head else b""
        if not head:
            raise EOFError("the socket is closed")
        (length,) = _LENGTH.unpack(head)
        if length > _LARGEST:
            raise EOFError(f"a message of {length} bytes was announced")
        rows = _exactly(sock, length).split(b"\0")
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    pairs = (os.fsdecode(row).partition("=") for row in rows if row)
    return {name: value for name, _, value in pairs}, descriptors


def resynchronise(sock: socket.socket) -> None:
    """After another process has spoken on ``sock`` until it was killed: pass over what it was still to read.

    Raises:
        OSError, EOFError: the other side is gone, or does not come to an answer of ours in the socket's time.
    """
    echo = encode([("echo", secrets.token_hex(16))])
    sock.sendall(echo)
    seen = b""
    while not seen.endswith(echo):
        data, descriptors, _, _ = socket.recv_fds(sock, 1 << 16, _MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        for descriptor in descriptors:
            os.close(descriptor)
        if not data:
            raise EOFError("the socket is closed")
        seen = (seen + data)[-len(echo) :]


def _exactly(sock: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = sock.recv(count)
        if not part:
            raise EOFError("the socket closed in the middle of a message")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
