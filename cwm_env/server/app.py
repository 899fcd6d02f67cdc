"""The application: what ``uvicorn server.app:app`` serves."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from cwm_env import __version__, wire
from cwm_env.errors import CwmEnvError
from cwm_env.server.guard import Gate, Guard
from cwm_env.server.host import Host
from cwm_env.server.metrics import Metrics
from cwm_env.server.outbox import document_of
from cwm_env.server.problems import Problem, problem_of, unfit
from cwm_env.server.routes import batches, episodes, files, openenv, operation
from cwm_env.server.settings import Settings

_log = logging.getLogger("cwm_env.server")
_SHORT_CALLS = 16  # threads for what blocks a session for a moment


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application of one server; what it needs is started and ended with it."""
    settings = settings or Settings()
    host, gate = Host(settings, Metrics()), Gate(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_SHORT_CALLS, "short"))
        await host.start()
        try:
            yield
        finally:
            await host.stop()

    app = FastAPI(
        title="cwm-env",
        version=__version__,
        description="Agents that speak only bash work on real repositories; hidden tests give the reward.",
        lifespan=lifespan,
    )
    app.state.host, app.state.gate = host, gate
    for module in (episodes, batches, files, operation, openenv):
        app.include_router(module.router)
    app.add_middleware(Guard, gate=gate)
    for kind in (Problem, CwmEnvError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _told)
    _document(app)
    return app


def from_environment() -> FastAPI:
    """The application for ``uvicorn server.app:app``: with ``$CWM_ENV_STATE`` as its state, and tokens always.

    uvicorn does not tell us the address, so nobody is let in without a token; ``cwm-env serve`` knows better.
    """
    state = os.environ.get("CWM_ENV_STATE")
    return create_app(Settings(state=Path(state)) if state else Settings())


async def _told(request: Request, error: Exception) -> Response:
    """Any failure as a problem document."""
    if isinstance(error, RequestValidationError):
        error = unfit(error.errors())
    elif isinstance(error, HTTPException):
        error = Problem(error.status_code, "http", str(error.detail), "see /docs for what there is")
    elif isinstance(error, CwmEnvError):
        error = problem_of(error)
    elif not isinstance(error, Problem):
        _log.error("a request failed", exc_info=error, extra={"path": request.url.path})
    problem = error if isinstance(error, Problem) else Problem(500, "internal", "", "")
    return Response(wire.dumps(document_of(error)), problem.status, problem.headers, wire.PROBLEM)


def _document(app: FastAPI) -> None:
    """Let every end-point's problems be of one schema, and say how to send a token."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = make()
            parts = schema.setdefault("components", {})
            parts.setdefault("schemas", {})["Problem"] = wire.Problem.model_json_schema()
            parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{"token": []}, {}]
            for path in schema["paths"].values():
                for operation in path.values():
                    _as_problem(operation["responses"])
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI documents it


def _as_problem(responses: dict[str, Any]) -> None:
    if "422" in responses:
        responses["422"]["content"] = {wire.PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
