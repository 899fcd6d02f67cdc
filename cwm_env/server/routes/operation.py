"""For operators, and for who wants to know what there is."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from cwm_env import wire
from cwm_env.server.problems import Problem
from cwm_env.server.routes.common import Responses, failures, host_of, raw
from cwm_env.server.tokens import OPERATOR

router = APIRouter(tags=["operation"])
_TEXT: Responses = {200: {"content": {"text/plain": {}}, "description": "In Prometheus's text format."}}


@router.get("/tasks", response_model=list[wire.TaskInfo], responses=failures())
async def tasks(request: Request) -> Response:
    """The tasks that are offered here."""
    machine = host_of(request).machine
    found = await asyncio.gather(*(machine.task(name, {}) for name in machine.task_ids()), return_exceptions=True)
    return raw(wire.dumps([wire.encode_task(task) for task in found if not isinstance(task, BaseException)]))


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Whether the process lives."""
    return {"status": "ok"}


@router.get("/readyz", responses=failures(503))
async def readyz(request: Request) -> dict[str, str]:
    """Whether new episodes are taken."""
    if host_of(request).admission.closed:
        raise Problem(503, "draining", "the server is shutting down", "ask another one", retry_after=10)
    return {"status": "ready"}


@router.get("/metrics", responses={**failures(), **_TEXT}, response_class=Response)
async def metrics(request: Request) -> Response:
    """Episodes by state, latencies, queue, failures, what sandboxes use. With tokens, for operators' only."""
    if not request.scope[OPERATOR]:
        raise Problem(403, "not-operator", "metrics are the operators'", "use a token made with --operator")
    host = host_of(request)
    live = host.live()
    usage = await host.machine.usage([one.place for one in live if one.place is not None])
    states = [one.state for one in host.episodes.values()]
    page = host.metrics.page(states, host.admission.waiting, host.machine.ahead, usage)
    return Response(page, media_type="text/plain; version=0.0.4")
