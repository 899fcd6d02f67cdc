"""OpenEnv's wire: its sessions on ``/ws``, and its end-points. Written from its messages; the package is not used.

An action has one required field, ``command``, and an observation is the text with what ``info`` tells, so that generic
clients and adapters work. A session is an episode of ours, and ends with its socket: that is OpenEnv's rule.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response, WebSocket
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocketDisconnect

from cwm_env import __version__, wire
from cwm_env.errors import CwmEnvError, InputError
from cwm_env.server.episode import LiveEpisode
from cwm_env.server.host import Host
from cwm_env.server.known import KnownEpisode
from cwm_env.server.outbox import document_of
from cwm_env.server.problems import Problem
from cwm_env.server.routes.common import failures, host_of, raw, tenant_of

router = APIRouter(tags=["openenv"])
_SHOWN = ("timed_out", "truncated_bytes", "limits_hit")  # where there is something to show


class Action(BaseModel):
    """What a step runs."""

    model_config = ConfigDict(extra="forbid")

    command: str = Field(max_length=wire.LONGEST_ACTION, description="Bash, any number of lines.")
    metadata: dict[str, Any] = Field(default_factory=dict)


class Observation(BaseModel):
    """What came of it."""

    text: str
    done: bool = False
    reward: float | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class State(BaseModel):
    """Where a session stands."""

    episode_id: str | None = None
    step_count: int = 0
    task_id: str | None = None


class Reset(BaseModel):
    """Which episode to begin; without a task, the seed chooses one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"task_id": "boltons-barrellist-slices", "seed": 1}]})

    seed: int | None = Field(default=None, ge=0, lt=1 << 63)
    episode_id: str | None = Field(default=None, max_length=255, description="Taken for OpenEnv's sake; ids are ours.")
    task_id: str | None = Field(default=None, min_length=1, max_length=4096)
    limits: wire.LimitOverrides = Field(default_factory=wire.LimitOverrides)


class HttpStep(BaseModel):
    """A step without a socket: OpenEnv's request, and the episode that ``/reset`` began."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"action": {"command": "ls"}, "episode_id": "e…"}]})

    action: Action
    episode_id: wire.Id
    request_id: wire.Id | None = Field(default=None, description="The same id never runs twice.")
    timeout_s: float | None = Field(default=None, gt=0, description="Not used: limits are chosen at the reset.")


class Answer(BaseModel):
    """An observation as OpenEnv has it."""

    observation: dict[str, Any]
    reward: float | None
    done: bool


@router.post("/reset", response_model=Answer, responses=failures(429, 503, 507))
async def reset(request: Request, body: Reset) -> Response:
    """Begin an episode; its id is in the observation's metadata, and lives for its lease."""
    return raw(wire.dumps(_first(await _begin(host_of(request), tenant_of(request), body))))


@router.post("/step", response_model=Answer, responses=failures(404, 409, 410, 503, 507))
async def step(request: Request, body: HttpStep) -> Response:
    """Run an action in the episode of that id."""
    episode = host_of(request).find(tenant_of(request), body.episode_id)
    step_id = body.request_id or f"step-{episode.steps + 1}"
    return raw(wire.dumps(await _step(episode, step_id, body.action)))


@router.get("/state", response_model=State, responses=failures(404))
async def state(request: Request, episode_id: wire.Id | None = None) -> Response:
    """Where an episode stands; nothing without its id."""
    if episode_id is None:
        return raw(wire.dumps(State().model_dump()))
    return raw(wire.dumps(_state(host_of(request).find(tenant_of(request), episode_id))))


@router.get("/metadata", responses=failures())
async def metadata() -> dict[str, str]:
    """What this environment is."""
    return {
        "name": "cwm_env",
        "description": "A bash in a repository, and a task whose hidden tests give the reward.",
        "version": __version__,
    }


@router.get("/health")
async def health() -> dict[str, str]:
    """Whether the process lives."""
    return {"status": "healthy"}


@router.get("/schema", responses=failures())
async def schema() -> dict[str, Any]:
    """JSON schemas of action, observation and state."""
    return {
        "action": Action.model_json_schema(),
        "observation": Observation.model_json_schema(),
        "state": State.model_json_schema(),
    }


@router.websocket("/ws")
async def session(websocket: WebSocket) -> None:
    """One session: ``reset``, ``step``, ``state``, ``close``."""
    await websocket.accept()
    own = _Session(websocket.app.state.host, websocket.scope["tenant"])
    try:
        while True:
            answer = await own.answer(await websocket.receive_text())
            if answer is None:
                await websocket.close()
                return
            await websocket.send_text(wire.dumps(answer).decode())
    except (WebSocketDisconnect, RuntimeError):
        pass  # the client has gone
    finally:
        await own.end()


class _Session:
    """The episode of one socket."""

    def __init__(self, host: Host, tenant: str) -> None:
        self._host, self._tenant = host, tenant
        self._episode: KnownEpisode | None = None
        self._steps = 0

    async def answer(self, text: str) -> dict[str, Any] | None:
        """What a message is answered with; None where the client closes."""
        try:
            message = json.loads(text)
        except (ValueError, RecursionError) as error:
            return _error("INVALID_JSON", str(error))
        kind, data = (message.get("type"), message.get("data", {})) if isinstance(message, dict) else (None, {})
        if kind == "close":
            return None
        try:
            if kind == "reset":
                await self.end()
                self._episode, self._steps = await _begin(self._host, self._tenant, Reset.model_validate(data)), 0
                return {"type": "observation", "data": _first(self._episode)}
            if kind == "step":
                return await self._step(Action.model_validate(data))
            if kind == "state":
                state = _state(self._episode) if self._episode else State().model_dump()
                return {"type": "state", "data": state}
        except ValidationError as error:
            return _error("VALIDATION_ERROR", str(error.errors(include_input=False, include_url=False)))
        except (Problem, CwmEnvError) as error:
            return _error(_code(error, kind), str(error))
        return _error("UNKNOWN_TYPE", f"there is no message of the type {str(kind)[:60]!r}")

    async def end(self) -> None:
        """End the episode, if there is one."""
        episode, self._episode = self._episode, None
        if isinstance(episode, LiveEpisode):
            await asyncio.shield(episode.end("abandoned"))

    async def _step(self, action: Action) -> dict[str, Any]:
        if self._episode is None:
            return _error("SESSION_ERROR", "no episode is running: send reset first")
        self._steps += 1
        return {"type": "observation", "data": await _step(self._episode, str(self._steps), action)}


async def _begin(host: Host, tenant: str, reset: Reset) -> KnownEpisode:
    task = reset.task_id
    if task is None:
        offered = host.machine.task_ids()
        task = offered[(reset.seed or 0) % len(offered)]
    return await host.create(tenant, wire.NewEpisode(task=task, seed=reset.seed, limits=reset.limits))


async def _step(episode: KnownEpisode, step_id: str, action: Action) -> dict[str, Any]:
    answer = episode.step(step_id, action.command)
    body = answer if isinstance(answer, bytes) else await answer.wait()
    stepped = None if isinstance(answer, bytes) else answer.stepped
    observation, reward, terminated, truncated, info = stepped or wire.decode_stepped(json.loads(body))
    result, grade = info.get("result"), info.get("grade")
    about = {} if result is None else {"exit_code": result.exit_code, "cwd": result.cwd}
    about |= {name: value for name in _SHOWN if (value := getattr(result, name, None))}
    about |= {name: info[name] for name in ("turns_left", "failure", "error") if name in info}
    about |= {"outcome": grade.outcome} if grade else {}
    told = None if "failure" in info else reward
    return _observation(observation, told, terminated or truncated, {**about, "truncated": truncated})


def _first(episode: KnownEpisode) -> dict[str, Any]:
    assert episode.first is not None
    return _observation(episode.first[0], None, False, {"episode_id": episode.id, "task_id": episode.task_id})


def _observation(text: str, reward: float | None, done: bool, about: Mapping[str, Any]) -> dict[str, Any]:
    return {"observation": {"text": text, "metadata": dict(about)}, "reward": reward, "done": done}


def _state(episode: KnownEpisode) -> dict[str, Any]:
    return State(episode_id=episode.id, step_count=episode.steps, task_id=episode.task_id).model_dump()


def _error(code: str, message: str) -> dict[str, Any]:
    return {"type": "error", "data": {"message": message[:1000], "code": code}}


def _code(error: Exception, kind: str | None) -> str:
    if isinstance(error, InputError):
        return "VALIDATION_ERROR"
    if document_of(error)["kind"] in ("busy", "draining"):
        return "CAPACITY_REACHED"
    return "FACTORY_ERROR" if kind == "reset" else "EXECUTION_ERROR"
