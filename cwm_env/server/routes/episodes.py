"""One episode: begin, step, look, end."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from cwm_env import wire
from cwm_env.server.episode import LiveEpisode
from cwm_env.server.listener import Listener
from cwm_env.server.outbox import document_of
from cwm_env.server.pending import Pending
from cwm_env.server.problems import Problem
from cwm_env.server.routes.common import EpisodeId, Responses, episode_of, failures, host_of, live, raw, tenant_of
from cwm_env.trajectories import codec

router = APIRouter(tags=["episodes"])
_STEP: Responses = {200: {"model": wire.StepAnswer, "description": "What came of it.", "content": {wire.SSE: {}}}}


@router.post("/episodes", status_code=201, response_model=wire.Created, responses=failures(409, 429, 503, 507))
async def create(request: Request, body: wire.NewEpisode) -> Response:
    """Begin an episode, and wait for its first observation unless `wait` is false.

    Sandboxes are made in turn, each token's requests in a line of their own. Where there is no room for long the
    answer is 429 (you have too much) or 503 (the server has), with `Retry-After`.
    """
    episode = await host_of(request).create(tenant_of(request), body)
    return raw(wire.dumps(episode.status().model_dump()), 201)


@router.post("/tasks:check", response_model=wire.TaskInfo, responses=failures())
async def check(request: Request, body: wire.NewEpisode) -> Response:
    """Say whether `POST /episodes` would accept this, without doing it; the answer has the episode's limits."""
    return raw(wire.dumps(await host_of(request).check(body)))


@router.post(
    "/episodes/{episode_id}/step",
    response_model=wire.StepAnswer,
    responses={**failures(404, 409, 410, 503, 507), **_STEP},
)
async def step(request: Request, episode_id: EpisodeId, body: wire.StepRequest) -> Response:
    """Run an action, once.

    A request with a `step_id` that was answered gets that answer; one with the id of the running step waits for it;
    another action under a used id is a 409. A connection that drops costs nothing: ask again. With
    `Accept: text/event-stream` what the command prints comes as events `output`, then the answer as `result`.
    """
    episode = episode_of(request, episode_id)
    if wire.SSE not in request.headers.get("accept", ""):  # plain ones are answered by `StepProtocol`
        return await _answered(episode.step(body.step_id, body.action))
    listener = Listener()
    answer = episode.step(body.step_id, body.action, listener)
    return StreamingResponse(_events(listener, answer), media_type=wire.SSE)


@router.post(
    "/episodes/{episode_id}/submit", response_model=wire.StepAnswer, responses=failures(404, 409, 410, 503, 507)
)
async def submit(request: Request, episode_id: EpisodeId, body: wire.SubmitRequest) -> Response:
    """End the episode and have it graded: the action `submit`."""
    return await _answered(episode_of(request, episode_id).step(body.step_id, "submit"))


@router.get("/episodes", response_model=list[wire.EpisodeStatus], responses=failures())
async def listing(request: Request) -> Response:
    """Your episodes."""
    mine = [one for one in host_of(request).episodes.values() if one.owner == tenant_of(request)]
    return raw(wire.dumps([one.status().model_dump() for one in mine]))


@router.get("/episodes/{episode_id}", response_model=wire.EpisodeStatus, responses=failures(404))
async def status(request: Request, episode_id: EpisodeId) -> Response:
    """Where an episode stands. Renews its lease, as every request for it does."""
    episode = episode_of(request, episode_id)
    episode.renew()
    return raw(wire.dumps(episode.status().model_dump()))


@router.post("/episodes/{episode_id}/heartbeat", status_code=204, responses=failures(404))
async def heartbeat(request: Request, episode_id: EpisodeId) -> Response:
    """Renew the lease."""
    episode_of(request, episode_id).renew()
    return Response(status_code=204)


@router.get("/episodes/{episode_id}/trajectory", responses=failures(404, 409, 503))
async def trajectory(request: Request, episode_id: EpisodeId) -> Response:
    """The recorded trajectory of an episode that is over, as its line in the store."""
    found = await host_of(request).trajectory(episode_of(request, episode_id))
    return raw(codec.encode(found))


@router.delete("/episodes/{episode_id}", status_code=204, responses=failures(404))
async def end(request: Request, episode_id: EpisodeId) -> Response:
    """End an episode; its trajectory is recorded with the failure `abandoned`, unless it had ended before."""
    episode = episode_of(request, episode_id)
    if isinstance(episode, LiveEpisode):
        await episode.end("abandoned")
    return Response(status_code=204)


@router.delete("/episodes/{episode_id}/sandbox", status_code=204, responses=failures(404, 410))
async def kill(request: Request, episode_id: EpisodeId) -> Response:
    """Kill the sandbox under an episode, as a crash of it would: the next step says so."""
    place = live(episode_of(request, episode_id)).place
    assert place is not None
    await host_of(request).machine.on_file(place.sandbox.close)
    return Response(status_code=204)


async def _answered(answer: bytes | Pending) -> Response:
    return raw(answer if isinstance(answer, bytes) else await answer.wait())


async def _events(listener: Listener, answer: bytes | Pending) -> AsyncIterator[bytes]:
    if isinstance(answer, bytes):
        yield _event("result", answer)
        return
    async for chunk in listener:
        said = {"time": round(chunk.time, 3), "text": chunk.text, "dropped": listener.dropped}
        listener.dropped = 0
        yield _event("output", wire.dumps(said))
    try:
        yield _event("result", await answer.wait())
    except (Problem, Exception) as error:
        yield _event("problem", wire.dumps(document_of(error)))


def _event(name: str, data: bytes) -> bytes:
    return f"event: {name}\ndata: ".encode() + data + b"\n\n"
