"""The command line as a user runs it: a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.envs.small import write_task

COMMAND = [sys.executable, "-m", "cwm_env"]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def small_task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the small task."""
    return write_task(tmp_path_factory.mktemp("tasks"))


@pytest.fixture
def cwm_env(tmp_path: Path) -> Run:
    """Runs ``cwm-env`` in an empty directory."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, *map(str, arguments)]
        env = {**os.environ, "COLUMNS": "200", **environment}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)

    return run


def episodes(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """What ``run --json`` printed."""
    listed: list[dict[str, Any]] = json.loads(done.stdout)
    return listed


def one_sentence(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line on standard error, after nothing on standard output."""
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("cwm-env: ")
    return line.removeprefix("cwm-env: ")
