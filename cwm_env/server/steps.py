"""The way of a single step, past the framework, which would cost more than the step itself.

``routes/episodes.py`` documents the end-point, and streams it to who asks for events; every other step is answered
here. It is the one request that is made thousands of times a second.
"""

from __future__ import annotations

import asyncio

from pydantic import ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from cwm_env import wire
from cwm_env.errors import CwmEnvError
from cwm_env.server.host import Host
from cwm_env.server.outbox import document_of
from cwm_env.server.problems import Problem, problem_of, unfit

_BEFORE, _AFTER = "/episodes/", "/step"


class StepPath:
    """An ASGI middleware, behind the guard."""

    def __init__(self, app: ASGIApp, host: Host) -> None:
        self._app, self._host = app, host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a step, and let everything else through."""
        if not _is_step(scope):
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            return  # the client has gone before it had said everything
        try:
            status, answer, headers = 200, await self._answer(scope, body), [_JSON]
        except CwmEnvError as error:
            status, answer, headers = _refused(problem_of(error))
        except Problem as problem:
            status, answer, headers = _refused(problem)
        headers.append((b"content-length", b"%d" % len(answer)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _answer(self, scope: Scope, body: bytes) -> bytes:
        try:
            request = wire.StepRequest.model_validate_json(body)
        except ValidationError as error:
            raise unfit(error.errors(include_url=False, include_input=False)) from None
        episode_id = scope["path"][len(_BEFORE) : -len(_AFTER)]
        answer = self._host.find(scope["tenant"], episode_id).step(request.step_id, request.action)
        # Whoever waits here may be cancelled; the step may not.
        return answer if isinstance(answer, bytes) else await asyncio.shield(answer)


_JSON = (b"content-type", b"application/json")


def _is_step(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "POST":
        return False
    path: str = scope["path"]
    if not (path.startswith(_BEFORE) and path.endswith(_AFTER) and path.count("/") == 3):
        return False
    return not any(name == b"accept" and wire.SSE.encode() in value for name, value in scope["headers"])


async def _read(receive: Receive) -> bytes | None:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        piece: bytes = message.get("body", b"")
        body += piece
        if not message.get("more_body"):
            return body


def _refused(problem: Problem) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    headers = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    return problem.status, wire.dumps(document_of(problem)), [(b"content-type", wire.PROBLEM.encode()), *headers]
