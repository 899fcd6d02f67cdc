"""Messages over a unix stream socket: a length, a JSON object, and descriptors beside it.

Spoken between a client and its spawner, and between a client and the pid 1 of each sandbox.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]

_LENGTH = struct.Struct("!I")
_LARGEST = 64 << 20
_MOST_DESCRIPTORS = 64


def send(sock: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Send one message. The descriptors stay open here.

    Raises:
        OSError: the other side is gone.
    """
    body = json.dumps(message).encode()
    data = _LENGTH.pack(len(body)) + body
    sent = socket.send_fds(sock, [data], list(descriptors)) if descriptors else sock.send(data)
    if sent < len(data):
        sock.sendall(data[sent:])


def receive(sock: socket.socket) -> tuple[Message, list[int]]:
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
        message: Message = json.loads(_exactly(sock, length))
        return message, descriptors
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def _exactly(sock: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = sock.recv(count)
        if not part:
            raise EOFError("the socket closed in the middle of a message")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
