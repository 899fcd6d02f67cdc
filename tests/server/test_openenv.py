"""OpenEnv's wire, spoken by OpenEnv's own client."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from benchmarks import openenv_venv
from tests.envs.small import FIX
from tests.server.conftest import Server

CLIENT = """
import json, sys
from openenv.core.generic_client import GenericEnvClient
url, task, fix = sys.argv[1:]
with GenericEnvClient(base_url=url).sync() as env:
    first = env.reset(task_id=task, seed=1)
    second = env.step({"command": "cd /tmp; echo hello"})
    third = env.step({"command": fix + "; submit"})
    state = env.state()
    print(json.dumps([[one.observation, one.reward, one.done] for one in (first, second, third)] + [state]))
"""


def test_openenvs_own_client_plays_an_episode(server: Server, small_task: Path) -> None:
    python = openenv_venv.python()
    if isinstance(python, str):
        pytest.skip(python)
    command = [str(python), "-c", CLIENT, server.url, str(small_task), FIX]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    first, second, third, state = json.loads(done.stdout.splitlines()[-1])
    assert "doubling" in first[0]["text"] and first[1:] == [None, False]
    assert second[0]["text"].startswith("hello\n") and second[0]["metadata"]["cwd"] == "/tmp"
    assert third[1:] == [1.0, True] and third[0]["metadata"]["outcome"] == "resolved"
    assert state["step_count"] == 2 and state["task_id"] == "small"


def test_what_is_wrong_with_a_message_is_said_in_openenvs_codes(server: Server, small_task: Path) -> None:
    async def run() -> list[Any]:
        async with aiohttp.ClientSession() as session, session.ws_connect(server.url + "/ws") as socket:
            codes = []
            for text in (
                "{",
                '{"type": "dance"}',
                '{"type": "step", "data": {"command": "ls"}}',
                '{"type": "step", "data": {"comand": "ls"}}',
                '{"type": "reset", "data": {"task_id": "nosuch"}}',
            ):
                await socket.send_str(text)
                codes.append(json.loads((await socket.receive()).data)["data"]["code"])
            return codes

    assert asyncio.run(run()) == [
        "INVALID_JSON",
        "UNKNOWN_TYPE",
        "SESSION_ERROR",
        "VALIDATION_ERROR",
        "VALIDATION_ERROR",
    ]


def test_a_session_ends_with_its_socket(server: Server, small_task: Path) -> None:
    async def run() -> str:
        async with aiohttp.ClientSession() as session, session.ws_connect(server.url + "/ws") as socket:
            await socket.send_json({"type": "reset", "data": {"task_id": str(small_task)}})
            answer = json.loads((await socket.receive()).data)
            return str(answer["data"]["observation"]["metadata"]["episode_id"])

    episode = asyncio.run(run())
    for _ in range(100):
        state = server.ask("GET", f"/episodes/{episode}")[1]
        if state["state"] == "ended":
            break
    assert state["failure"] == "abandoned"


def test_its_http_end_points_keep_the_episode(server: Server, small_task: Path) -> None:
    status, first = server.ask("POST", "/reset", {"task_id": str(small_task)})
    assert status == 200 and first["reward"] is None and first["done"] is False
    episode = first["observation"]["metadata"]["episode_id"]
    for text in ("1\n", "2\n"):
        body = {"action": {"command": "echo $((i += 1))"}, "episode_id": episode}
        assert server.ask("POST", "/step", body)[1]["observation"]["text"].startswith(text)
    assert server.ask("GET", f"/state?episode_id={episode}")[1]["step_count"] == 2
    assert server.ask("GET", "/health") == (200, {"status": "healthy"})
    assert server.ask("GET", "/schema")[1]["action"]["required"] == ["command"]
    assert server.ask("GET", "/metadata")[1]["name"] == "cwm_env"
