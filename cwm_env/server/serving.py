"""Runs the application under uvicorn."""

from __future__ import annotations

import contextlib
import gc
import ipaddress
import json
import logging
import resource
import socket
import time
from pathlib import Path

import uvicorn

from cwm_env.errors import InputError
from cwm_env.server.app import create_app
from cwm_env.server.frames import SocketProtocol
from cwm_env.server.host import Host
from cwm_env.server.settings import Settings
from cwm_env.server.steps import protocol_of

_BACKLOG = 4096
_LAST_ANSWERS_SECONDS = 5
_EXTRAS = ("episode", "path", "tenant")


def serve(
    settings: Settings, host: str, port: int, *, certificate: Path | None = None, key: Path | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; then refuse new episodes, let running steps finish, record all, and return.

    Args:
        port: 0 takes one that is free.

    Raises:
        InputError: without tokens on an address that others reach, or TLS with half of what it needs.
    """
    if settings.open and not _is_loopback(host):
        raise InputError(
            f"{host} can be reached by others: make a token with `cwm-env tokens create`, or bind 127.0.0.1"
        )
    if (certificate is None) != (key is None):
        raise InputError("TLS needs both --tls-certificate and --tls-key")
    raise_descriptor_limit()
    log_as_json()
    _collect_rarely()
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=protocol_of(app.state.host, app.state.gate),
        ws=SocketProtocol,
        ws_max_size=settings.largest_body,
        ws_per_message_deflate=False,  # a message is made once and read once: loopback and data centres have the room
        access_log=False,
        proxy_headers=False,  # nothing here depends on the client's address
        log_config=None,
        backlog=_BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_LAST_ANSWERS_SECONDS,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        server_header=False,
    )
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again once all is done
        _Server(config, app.state.host).run()


class _Server(uvicorn.Server):
    """Drains while it can still be asked."""

    def __init__(self, config: uvicorn.Config, host: Host) -> None:
        super().__init__(config)
        self._host = host

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._host.drain()
        await super().shutdown(sockets)


def raise_descriptor_limit() -> None:
    """An episode holds seven descriptors: take as many as this process may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _collect_rarely() -> None:
    """Look for garbage in circles a hundred times less often: each look visits every object of every episode."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def log_as_json(level: int = logging.INFO) -> None:
    """One line of JSON for each event, on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonLines())
    logging.basicConfig(handlers=[handler], level=level, force=True)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name in _EXTRAS if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
