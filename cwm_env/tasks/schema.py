"""What ``task.toml`` may say, checked strictly, with errors that name the key.

Harbor's tables and keys that nothing here reads are accepted as they are; our own table ``[metadata.cwm_env]`` is closed,
so that a misspelt key is an error and not a silent default.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cwm_env import toml_errors
from cwm_env.types import Runner

_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(gt=0)]
_Text = Annotated[str, Field(min_length=1)]
_Network = Literal["no-network", "public", "allowlist"]
_Size = Annotated[str, Field(pattern=re.compile(r"^\d+(\.\d+)?[GMKgmk]$"))]

_EXPECTED = {"string_pattern_mismatch": "a size such as '512M' or '2G'"}


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Own(_Table):
    """``[metadata.cwm_env]``: what Harbor has no key for. Times are seconds, sizes are bytes."""

    model_config = ConfigDict(extra="forbid")

    image: _Text | None = None
    runner: Runner | None = None
    paths: list[_Text] | None = None
    args: list[str] | None = None
    protected: list[_Text] = []
    unprotected: list[_Text] = []
    tree: _Text | None = None
    ignored: bool = False
    reinstall: str = ""
    turns: _Count | None = None
    command_timeout_sec: _Seconds | None = None
    output_bytes: _Count | None = None
    grade_on_truncation: bool = False


class Metadata(_Table):
    """``[metadata]``: anything, and our own table."""

    model_config = ConfigDict(extra="allow")

    cwm_env: Own = Own()


class Phase(_Table):
    """``[agent]``."""

    timeout_sec: _Seconds | None = None
    network_mode: _Network | None = None
    user: str | int | None = None


class Verifier(Phase):
    """``[verifier]``."""

    environment: dict[str, Any] | None = None
    environment_mode: str | None = None
    env: dict[str, str] = {}


class Environment(_Table):
    """``[environment]``. ``memory`` and ``storage`` are what ``memory_mb`` and ``storage_mb`` (MiB) were called before."""

    cpus: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    memory_mb: _Count | None = None
    memory: _Size | None = None
    storage_mb: _Count | None = None
    storage: _Size | None = None
    network_mode: _Network | None = None
    allow_internet: bool | None = None
    docker_image: str | None = None
    os: str = "linux"
    env: dict[str, str] = {}
    workdir: str | None = None
    healthcheck: dict[str, Any] | None = None
    mcp_servers: list[Any] = []
    gpus: Annotated[int, Field(ge=0)] | None = None


class TaskFile(_Table):
    """The whole file."""

    schema_version: str = "1.4"
    task: dict[str, Any] | None = None
    metadata: Metadata = Metadata()
    verifier: Verifier = Verifier()
    agent: Phase = Phase()
    environment: Environment = Environment()
    solution: dict[str, Any] | None = None
    steps: list[Any] | None = None


def parse(text: str) -> TaskFile:
    """Check the text of a ``task.toml``.

    Raises:
        ValueError: one clause that names the key and says what is wrong with it.
    """
    data = toml_errors.read(text)
    if "version" in data:  # the name before schema 1.1
        data.setdefault("schema_version", data.pop("version"))
    parsed = toml_errors.check(TaskFile, data, keys=lambda _: Own.model_fields, expected=_EXPECTED)
    _refuse_what_cannot_run(parsed)
    return parsed


def _refuse_what_cannot_run(file: TaskFile) -> None:
    """Say now what would otherwise end in a wrong reward."""
    if file.schema_version.split(".")[0] != "1":
        raise ValueError(f"schema_version: {file.schema_version!r} is not known here, only '1.x'")
    if file.steps:
        raise ValueError("[[steps]]: tasks of several steps do not run here, only those of one")
    if file.environment.os.lower() != "linux":
        raise ValueError(f"[environment] os: {file.environment.os!r} does not run here, only 'linux'")
    if file.environment.gpus:
        raise ValueError("[environment] gpus: sandboxes have no GPU; leave the key out if the task works without")
    if file.verifier.environment is not None:
        raise ValueError("[verifier.environment]: hidden tests run in the task's own image here, not in another one")
    if file.verifier.environment_mode not in (None, "shared"):
        raise ValueError(f"[verifier] environment_mode: {file.verifier.environment_mode!r} does not run here")
    for name, table, keys in (
        ("environment", file.environment, ("env", "workdir", "healthcheck", "mcp_servers")),
        ("verifier", file.verifier, ("env", "user")),
        ("agent", file.agent, ("user",)),
    ):
        for key in keys:
            if getattr(table, key):
                raise ValueError(f"[{name}] {key}: is not heeded here; say it in the Dockerfile")
    phases: dict[str, Environment | Phase] = {
        "environment": file.environment,
        "agent": file.agent,
        "verifier": file.verifier,
    }
    for name, table in phases.items():
        if table.network_mode not in (None, "no-network"):
            raise ValueError(f"[{name}] network_mode: {table.network_mode!r} does not run here, only 'no-network'")
    if file.environment.allow_internet and file.environment.network_mode is None:
        raise ValueError("[environment] allow_internet: sandboxes have no network; only false runs here")
