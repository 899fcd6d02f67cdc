"""Many episodes in one request, or over one socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect

from cwm_env import wire
from cwm_env.errors import CwmEnvError
from cwm_env.server.host import Host
from cwm_env.server.outbox import Outbox
from cwm_env.server.pending import Pending
from cwm_env.server.problems import Problem
from cwm_env.server.routes.common import failures, host_of, tenant_of

router = APIRouter(tags=["batches"])
_LINES = {"content": {wire.NDJSON: {}}, "description": "One line of JSON each, in the order in which they finish."}
_MOST_IN_FLIGHT = 2 * wire.MOST_STEPS
_MOST_WAITING = 16 << 20  # bytes that wait for a reader before no more is read from it


@router.post("/steps", responses={**failures(), 200: _LINES}, response_class=StreamingResponse)
async def steps(request: Request, body: wire.Steps) -> Response:
    """Run steps of many episodes; each answer is sent as soon as it is there.

    A line has `episode_id`, `step_id`, and `answer`, as of a single step, or `problem`.
    """
    outbox = Outbox()
    _submit(host_of(request), tenant_of(request), body.steps, outbox)
    return StreamingResponse(_stream(outbox), media_type=wire.NDJSON)


@router.post("/episodes:batch", responses={**failures(), 200: _LINES}, response_class=StreamingResponse)
async def episodes(request: Request, body: wire.NewEpisodes) -> Response:
    """Begin many episodes; each is told as soon as it is ready.

    A line has `index`, of the request in the list, and `answer`, as of a single request, or `problem`.
    """
    host, tenant, outbox = host_of(request), tenant_of(request), Outbox()

    async def create(one: wire.NewEpisode) -> bytes:
        return wire.dumps((await host.create(tenant, one)).status().model_dump())

    for index, one in enumerate(body.episodes):
        outbox.submit(b'{"index":%d' % index, Pending.of(create(one)))
    return StreamingResponse(_stream(outbox), media_type=wire.NDJSON)


@router.websocket("/steps")
async def socket(websocket: WebSocket) -> None:
    """Steps of any number of episodes over one socket.

    A message is what `POST /steps` takes, or one step of it. Answers are lines as there, several to a message where
    they finish together, in the order in which they finish. Who does not read is not read from.
    """
    host: Host = websocket.app.state.host
    tenant = websocket.scope["tenant"]
    await websocket.accept()
    outbox = Outbox()
    sending = asyncio.ensure_future(_send(websocket, outbox))
    try:
        while not sending.done():
            message = await websocket.receive_text()
            try:
                if len(message) > host.settings.largest_body:
                    raise ValueError("the message is too long")
                found = _read(message)
            except ValueError as error:
                outbox.add(
                    b'{"episode_id":null,"step_id":null',
                    Problem(422, "input", str(error)[:500], "send what POST /steps takes"),
                )
                continue
            _submit(host, tenant, found, outbox)
            while (outbox.busy > _MOST_IN_FLIGHT or outbox.size > _MOST_WAITING) and not sending.done():
                await asyncio.sleep(0.01)
    except (WebSocketDisconnect, RuntimeError):
        pass  # steps that run go on, and their answers are kept
    finally:
        sending.cancel()


def _read(message: str) -> list[wire.BatchStep]:
    if message.startswith('{"steps"'):
        return wire.Steps.model_validate_json(message).steps
    try:
        return [wire.BatchStep.model_validate_json(message)]
    except ValidationError:
        return wire.Steps.model_validate_json(message).steps


def _submit(host: Host, tenant: str, found: list[wire.BatchStep], outbox: Outbox) -> None:
    for one in found:
        head = wire.step_head(one.episode_id, one.step_id)
        try:
            outbox.submit(head, host.find(tenant, one.episode_id).step(one.step_id, one.action))
        except (Problem, CwmEnvError) as error:
            outbox.add(head, error)


async def _stream(outbox: Outbox) -> AsyncIterator[bytes]:
    while lines := await outbox.take():
        yield b"".join(lines)


async def _send(websocket: WebSocket, outbox: Outbox) -> None:
    while True:
        await outbox.wait()
        await websocket.send_text(b"".join(await outbox.take()).decode())
