"""The proxy that lets sandboxes reach the names they may reach, and nothing else.

It listens on a socket that lies in the sandbox's own network namespace, or is given the connections that were made
there, and connects from outside, so that the sandbox has no route to anywhere. It speaks HTTP (``CONNECT``, and plain
requests) and SOCKS 5. A name is looked up here; addresses that are not public are refused unless a rule names them, so
that no name can lead to the machine's own services. What passes through a connection is not looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cwm_env.sandbox import rules as allow_list

_MOST_CONNECTIONS = 128
_LONGEST_HEAD = 1 << 16
_HEAD_SECONDS, _CONNECT_SECONDS = 30.0, 15.0
_CHUNK = 1 << 16
_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Refusal:
    """One attempt to reach what may not be reached."""

    time: float
    """Seconds since 1970."""
    host: str
    port: int
    reason: str


@dataclass(slots=True)
class _Door:
    """One sandbox's way out."""

    rules: tuple[allow_list.Rule, ...]
    server: asyncio.Server | None = None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    shut: bool = False
    refused: deque[Refusal] = field(default_factory=lambda: deque(maxlen=_KEPT))


class Refused(Exception):
    """It may not be reached."""


class Proxy:
    """Serves any number of sandboxes from one thread, which starts with the first of them. Thread-safe."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._doors: dict[str, _Door] = {}

    def serve(self, name: str, listener: int, rules: tuple[allow_list.Rule, ...]) -> None:
        """Let the sandbox ``name`` through. ``listener``: a listening socket in its network namespace, taken over."""
        door = self._doors[name] = _Door(rules)
        self._run(self._open(door, socket.socket(fileno=listener)))

    def let_in(self, name: str, rules: tuple[allow_list.Rule, ...]) -> None:
        """Let the sandbox ``name`` through, whose connections somebody else accepts and gives to ``connect``."""
        self._doors[name] = _Door(rules)

    def connect(self, name: str, connection: socket.socket) -> None:
        """Serve a connection of the sandbox ``name``, which is taken over. Returns at once."""
        door = self._doors.get(name)
        if door is None:
            connection.close()
            return
        asyncio.run_coroutine_threadsafe(_adopt(door, connection), self._running())

    def refused(self, name: str) -> tuple[Refusal, ...]:
        """What the sandbox tried and was refused, the latest thousand."""
        door = self._doors.get(name)
        return tuple(door.refused) if door else ()

    def end(self, name: str) -> None:
        """Close everything of a sandbox. Nothing if there is nothing."""
        door = self._doors.pop(name, None)
        if door:
            self._run(_shut(door))

    def close(self) -> None:
        """End the thread."""
        for name in list(self._doors):
            self.end(name)
        with self._lock:
            loop, self._loop = self._loop, None
        if loop:
            loop.call_soon_threadsafe(loop.stop)

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_turn, args=(self._loop,), name="cwm-env proxy", daemon=True).start()
            return self._loop

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._running()).result(_CONNECT_SECONDS)

    async def _open(self, door: _Door, listener: socket.socket) -> None:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            _begin(door, reader, writer)

        door.server = await asyncio.start_server(accept, sock=listener, limit=_LONGEST_HEAD)


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.close()


def _begin(door: _Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if door.shut or len(door.tasks) >= _MOST_CONNECTIONS:
        writer.close()
        return
    task = asyncio.ensure_future(_serve(door, reader, writer))
    door.tasks.add(task)
    task.add_done_callback(door.tasks.discard)


async def _adopt(door: _Door, connection: socket.socket) -> None:
    _begin(door, *await asyncio.open_connection(sock=connection, limit=_LONGEST_HEAD))


async def _shut(door: _Door) -> None:
    door.shut = True
    if door.server:
        door.server.close()
    tasks = list(door.tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _serve(door: _Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection from a sandbox. Whatever is wrong with it ends it, and nothing else."""
    try:
        async with asyncio.timeout(_HEAD_SECONDS):
            first = await reader.readexactly(1)
            speak = _socks if first == b"\x05" else _http
            outside = await speak(door, first, reader, writer)
        if outside:
            await _relay(reader, writer, *outside)
    except (OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError):
        pass
    finally:
        writer.close()


_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _http(
    door: _Door, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> _Streams | None:
    head = first + await reader.readuntil(b"\r\n\r\n")
    request, _, rest = head.partition(b"\r\n")
    method, target, _ = request.decode("latin-1").split(" ", 2)
    connect = method == "CONNECT"
    url = urlsplit(f"//{target}" if connect else target)
    try:
        streams = await _reach(door, url.hostname or "", url.port or 80)
    except (Refused, OSError) as error:
        status = "403 Forbidden" if isinstance(error, Refused) else "502 Bad Gateway"
        body = f"{error}\n".encode()
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        return None
    if connect:
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    else:
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        kept = [line for line in rest.split(b"\r\n") if not line.lower().startswith((b"proxy-", b"connection:"))]
        streams[1].write(f"{method} {path} HTTP/1.1\r\nConnection: close\r\n".encode("latin-1") + b"\r\n".join(kept))
    return streams


async def _socks(
    door: _Door, _first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> _Streams | None:
    """SOCKS 5 without authentication, ``CONNECT`` only (RFC 1928)."""
    await reader.readexactly((await reader.readexactly(1))[0])
    writer.write(b"\x05\x00")
    _, command, _, kind = await reader.readexactly(4)
    if kind == 3:
        host = (await reader.readexactly((await reader.readexactly(1))[0])).decode("idna")
    else:
        host = str(ipaddress.ip_address(await reader.readexactly(4 if kind == 1 else 16)))
    port = int.from_bytes(await reader.readexactly(2), "big")
    answer, streams = 0, None
    try:
        if command != 1:
            answer = 7
        else:
            streams = await _reach(door, host, port)
    except Refused:
        answer = 2
    except OSError:
        answer = 4
    writer.write(bytes((5, answer, 0, 1, 0, 0, 0, 0, 0, 0)))
    await writer.drain()
    return streams


async def _reach(door: _Door, host: str, port: int) -> _Streams:
    """Connect to what may be reached.

    Raises:
        Refused: it may not be, and is noted.
        OSError: it does not answer.
    """
    rule = allow_list.find(door.rules, host, port)
    if rule is None:
        raise _note(door, host, port, "no rule allows it")
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not rule.means_this_machine:
        addresses = [address for address in addresses if ipaddress.ip_address(address).is_global]
    if not addresses:
        raise _note(door, host, port, "its address is not a public one")
    async with asyncio.timeout(_CONNECT_SECONDS):
        return await asyncio.open_connection(addresses[0], port)


def _note(door: _Door, host: str, port: int, reason: str) -> Refused:
    door.refused.append(Refusal(time.time(), host, port, reason))
    return Refused(f"{host}:{port} may not be reached from here: {reason}")


async def _relay(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    outside_reader: asyncio.StreamReader,
    outside_writer: asyncio.StreamWriter,
) -> None:
    try:
        await asyncio.gather(_copy(reader, outside_writer), _copy(outside_reader, writer))
    finally:
        outside_writer.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(_CHUNK):
        target.write(data)
        await target.drain()
    with contextlib.suppress(OSError):
        target.write_eof()
