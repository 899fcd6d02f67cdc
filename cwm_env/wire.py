"""All that crosses the network between ``client`` and ``server``: requests, answers, problems.

Bodies are JSON. Models are checked where a body comes in; answers to steps are made by ``encode_stepped``, once,
and the same bytes are kept, sent, and sent again to whoever asks again.
"""

from __future__ import annotations

import dataclasses
import json
import json.encoder
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cwm_env import errors
from cwm_env.types import CommandResult, Grade, Task

LONGEST_ACTION = 1 << 20
"""Characters."""
MOST_STEPS = 4096
"""Steps or episodes in one batch."""
NDJSON = "application/x-ndjson"
SSE = "text/event-stream"
PROBLEM = "application/problem+json"

State = Literal["starting", "ready", "running", "grading", "ended", "failed", "lost"]
"""Of an episode. ``failed`` never began; ``lost`` ended with the server that ran it."""

Id = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[!-~]+$")]
"""Printable ASCII without blanks."""
Positive = Annotated[float, Field(allow_inf_nan=False, le=10_000_000)]
Turns = Annotated[int, Field(le=100_000)]
Bytes = Annotated[int, Field(le=16 << 20)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LimitOverrides(_Request):
    """Limits of the task that this episode has otherwise. All more than 0."""

    command_timeout: Positive | None = Field(default=None, description="Seconds that one command may take.")
    turns: Turns | None = Field(default=None, description="Steps until the episode is truncated.")
    episode_timeout: Positive | None = Field(default=None, description="Seconds until the episode is truncated.")
    output: Bytes | None = Field(default=None, description="Bytes of a command's output kept.")


class NewEpisode(_Request):
    """What ``POST /episodes`` is given."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"task": "boltons-barrellist-slices", "seed": 1}]})

    task: Annotated[str, Field(min_length=1, max_length=4096)] = Field(description="Id of a task, see `GET /tasks`.")
    backend: Annotated[str, Field(max_length=64)] = Field(default="namespaces", description="Which kind of sandbox.")
    limits: LimitOverrides = Field(default_factory=LimitOverrides)
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] | None = Field(default=None, description="Stands in the trajectory.")
    policy: Annotated[str, Field(max_length=256)] = Field(default="", description="Who acts; stands in the trajectory.")
    wait: bool = Field(default=True, description="Answer after the reset; else at once, in the state `starting`.")
    request_id: Id | None = Field(default=None, description="A second request with the same id gets the same episode.")


class StepRequest(_Request):
    """What ``POST /episodes/{id}/step`` is given."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"action": "ls -l", "step_id": "1"}]})

    action: Annotated[str, Field(max_length=LONGEST_ACTION)] = Field(description="Bash, any number of lines.")
    step_id: Id = Field(description="Yours: the same id never runs twice, and gets the same answer each time.")


class SubmitRequest(_Request):
    """What ``POST /episodes/{id}/submit`` is given: the action `submit`."""

    step_id: Id = Field(default="submit", description="As for a step.")


class BatchStep(StepRequest):
    """A step of one of many episodes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"episode_id": "e…", "action": "ls", "step_id": "1"}]})

    episode_id: Id


class Steps(_Request):
    """What ``POST /steps`` is given."""

    steps: Annotated[list[BatchStep], Field(min_length=1, max_length=MOST_STEPS)]


class NewEpisodes(_Request):
    """What ``POST /episodes:batch`` is given."""

    episodes: Annotated[list[NewEpisode], Field(min_length=1, max_length=MOST_STEPS)]


class Created(BaseModel):
    """An episode that has begun, or is about to."""

    episode_id: str
    state: State
    observation: str | None = Field(description="The instruction and the budget; null while it is starting.")
    info: dict[str, Any] | None
    lease_seconds: float = Field(description="Without a request for so long the episode is ended.")


class StepAnswer(BaseModel):
    """The five values of a step."""

    observation: str
    reward: float | None = Field(description="Null where the infrastructure failed: leave such an episode out.")
    terminated: bool
    truncated: bool
    info: dict[str, Any] = Field(description="`task image turns_left result`; at the end `grade`, or `failure error`.")


class EpisodeStatus(Created):
    """Where an episode stands."""

    task: str
    steps: int = Field(description="Steps that were answered.")
    lease_left: float = Field(description="Seconds.")
    failure: str | None = Field(description="The kind of failure that ended it.")
    error: str


class TaskInfo(BaseModel):
    """A task, without its hidden tests."""

    id: str
    instruction: str
    image: str
    limits: dict[str, Any]
    metadata: dict[str, Any]


class Problem(BaseModel):
    """RFC 9457: what was wrong, and what to do."""

    type: str = Field(description="`urn:cwm-env:problem:KIND`.")
    title: str
    status: int
    detail: str
    remedy: str
    kind: str = Field(description="The word that stands for this fault in trajectories too.")


def dumps(value: Any) -> bytes:
    """JSON in ASCII: bytes that are not UTF-8 stand as surrogate escapes, which JSON carries and UTF-8 does not."""
    return _encode(value).encode("ascii")


_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
quoted = json.encoder.encode_basestring_ascii
"""A string as ``dumps`` has it, as text."""


def step_head(episode_id: str, step_id: str) -> bytes:
    """The beginning of the object that asks for one of many steps, and of the one that answers it."""
    return f'{{"episode_id":{quoted(episode_id)},"step_id":{quoted(step_id)}'.encode("ascii")


_WORDS = ("false", "true")
_ALWAYS = {"output", "exit_code", "cwd", "duration"}
_TUPLES = {"surviving_jobs", "limits_hit"}
_RESULT = {field.name: field.default for field in dataclasses.fields(CommandResult)}


def encode_stepped(stepped: tuple[str, float, bool, bool, dict[str, Any]]) -> bytes:
    """The body that answers a step. An infrastructure failure has no reward."""
    observation, reward, terminated, truncated, info = stepped
    if len(info) == 4 and (result := info.get("result")) is not None:  # one of many steps: at half the cost
        about = f'"task":{quoted(info["task"])},"image":{quoted(info["image"])},"turns_left":{info["turns_left"]}'
        return (
            f'{{"observation":{quoted(observation)},"reward":{float(reward)},"terminated":{_WORDS[terminated]},'
            f'"truncated":{_WORDS[truncated]},"info":{{{about},"result":{{{_members(result)}}}}}}}'
        ).encode("ascii")
    return dumps(
        {
            "observation": observation,
            "reward": None if "failure" in info else reward,
            "terminated": terminated,
            "truncated": truncated,
            "info": encode_info(info),
        }
    )


def _members(result: CommandResult) -> str:
    """Of a result, as ``encode_info`` has them."""
    told = (
        f'"output":{quoted(result.output)},"exit_code":{result.exit_code},'
        f'"cwd":{quoted(result.cwd)},"duration":{result.duration}'
    )
    if result.plain:
        return told
    for name, value in result.__dict__.items():
        default = _RESULT[name]
        if value is not default and value != default and name not in _ALWAYS:
            told += f',"{name}":{_encode(value)}'
    return told


def decode_stepped(answer: Mapping[str, Any]) -> tuple[str, float, bool, bool, dict[str, Any]]:
    """The five values as ``BashEnv`` gives them: where there is no reward, 0.0 and ``failure`` in ``info``."""
    reward = answer["reward"]
    info = decode_info(answer["info"])
    return answer["observation"], reward or 0.0, answer["terminated"], answer["truncated"], info


def encode_info(info: Mapping[str, Any]) -> dict[str, Any]:
    """``info`` with its result and grade as objects; of a result, what differs from the defaults."""
    coded = dict(info)
    result, grade = info.get("result"), info.get("grade")
    if result is not None:
        values = ((name, getattr(result, name), default) for name, default in _RESULT.items())
        coded["result"] = {name: value for name, value, default in values if value != default}
    if grade is not None:
        coded["grade"] = encode_grade(grade)
    return coded


def decode_info(coded: Mapping[str, Any]) -> dict[str, Any]:
    """The opposite of ``encode_info``."""
    info = dict(coded)
    if info.get("result") is not None:
        result = dict(info["result"])
        for name in _TUPLES & result.keys():
            result[name] = tuple(result[name])
        info["result"] = CommandResult(**result)
    if info.get("grade") is not None:
        info["grade"] = decode_grade(info["grade"])
    return info


def encode_task(task: Task) -> dict[str, Any]:
    """A task as ``TaskInfo``: without its hidden tests, and without where it lies."""
    return {
        "id": task.id,
        "instruction": task.instruction,
        "image": Path(task.image).name,
        "limits": dataclasses.asdict(task.limits),
        "metadata": dict(task.metadata),
    }


def encode_grade(grade: Grade) -> dict[str, Any]:
    """A grade as an object."""
    return dataclasses.asdict(grade)


def decode_grade(coded: Mapping[str, Any]) -> Grade:
    """The opposite of ``encode_grade``."""
    return Grade(**{**coded, "dropped": tuple(coded["dropped"])})


def problem(status: int, kind: str, detail: str, remedy: str) -> dict[str, Any]:
    """A problem document."""
    return {
        "type": f"urn:cwm-env:problem:{kind}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "remedy": remedy,
        "kind": kind,
    }


def error_of(document: Mapping[str, Any]) -> errors.CwmEnvError:
    """The exception that a problem document stands for, so that a remote failure is caught like a local one."""
    status, kind = int(document.get("status", 500)), str(document.get("kind", ""))
    found = _KINDS.get(kind) or (errors.InputError if 400 <= status < 500 else errors.RemoteError)
    detail, remedy = str(document.get("detail", "")), str(document.get("remedy", ""))
    return found(f"{detail}: {remedy}" if remedy else detail)


def to_retry(document: Mapping[str, Any]) -> bool:
    """Whether the same request may come again soon, and then succeed; a proxy's answer has no kind."""
    return document["status"] in (429, 502, 503, 504) and document.get("kind", "busy") in ("busy", "draining")


def _descend(kind: type[errors.CwmEnvError]) -> dict[str, type[errors.CwmEnvError]]:
    found = {kind.kind: kind}
    for below in kind.__subclasses__():
        found = {**found, **_descend(below)}
    return found


_KINDS: dict[str, type[errors.CwmEnvError]] = {
    **{kind: found for kind, found in _descend(errors.CwmEnvError).items() if kind != "error"},
    **dict.fromkeys(("no-episode", "abandoned", "shutdown"), errors.EpisodeLost),
    "draining": errors.ServerBusy,
}
