"""What stands before every end-point: who asks, from where, and how much they send."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cwm_env import wire
from cwm_env.server.problems import Problem
from cwm_env.server.settings import Settings
from cwm_env.server.tokens import OPERATOR, TokenFile

TENANT = "tenant"
LOCAL = "local"
"""The one tenant of a server without tokens."""
_PUBLIC = {"/healthz", "/readyz", "/health", "/openapi.json", "/docs", "/redoc"}
_LOOPBACK = {"localhost", "127.0.0.1", "::1", "testserver"}
_READ = {b"authorization", b"content-length", b"host", b"origin"}
_NO_ENTRY = 1008  # the code of a WebSocket that breaks a policy


class Gate:
    """Says who asks, or that they may not."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._tokens = TokenFile(settings.state)

    def admit(self, path: str, headers: Mapping[bytes, str]) -> tuple[str, bool]:
        """The tenant, and whether it is an operator.

        Args:
            headers: at least those of ``authorization host origin``.

        Raises:
            Problem: no token, or not from there.
        """
        if self.settings.open:
            # A page in the user's browser can reach loopback too: it comes with its origin, or with a name of its own.
            origin = headers.get(b"origin")
            if _name(headers.get(b"host", "")) not in _LOOPBACK or (origin and _name(origin) not in _LOOPBACK):
                raise Problem(403, "not-local", "a server without tokens serves this machine only", "use a token")
            return LOCAL, True
        scheme, _, presented = headers.get(b"authorization", "").partition(" ")
        token = self._tokens.check(presented.strip()) if scheme.lower() == "bearer" else None
        if token is None and path not in _PUBLIC:
            problem = Problem(401, "no-token", "no valid token came with the request", "send `Authorization: Bearer …`")
            problem.headers["WWW-Authenticate"] = "Bearer"
            raise problem
        return (token.id, token.operator) if token else ("", False)


class Guard:
    """An ASGI middleware."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app, self._gate, self._settings = app, gate, gate.settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with what is wrong."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            headers = {name: value.decode("latin-1") for name, value in scope["headers"] if name in _READ}
            scope[TENANT], scope[OPERATOR] = self._gate.admit(scope["path"], headers)
            if scope["type"] == "http":
                await self._bounded(scope, headers, receive, send)
                return
        except Problem as problem:
            await _refuse(problem, scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _bounded(self, scope: Scope, headers: Mapping[bytes, str], receive: Receive, send: Send) -> None:
        upload = scope["method"] == "PUT" and "/files/" in scope["path"]
        most = left = self._settings.largest_file if upload else self._settings.largest_body
        declared = headers.get(b"content-length", "")
        if declared.isdigit() and int(declared) > most:
            raise _too_large(most)

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise _too_large(most)
            return message

        async def unless_too_large(message: Message) -> None:
            if left >= 0:  # else whoever read the body has made something of our exception
                await send(message)

        if declared:
            await self._app(scope, receive, send)
            return
        await self._app(scope, counted, unless_too_large)
        if left < 0:
            raise _too_large(most)


@lru_cache(64)
def _name(place: str) -> str | None:
    """The name in a ``Host`` or ``Origin``."""
    try:
        return urlsplit(place if "//" in place else f"//{place}").hostname
    except ValueError:
        return None


def _too_large(most: int) -> Problem:
    return Problem(413, "too-large", f"a body may have {most} bytes", "send less at a time")


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": _NO_ENTRY, "reason": str(problem)[:100]})
        return
    body = wire.dumps(problem.document)
    await Response(body, problem.status, problem.headers, wire.PROBLEM)(scope, receive, send)
