"""How a server is run: fairness, TLS, uvicorn by itself, logs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import pytest

from cwm_env.sandbox import cgroups
from cwm_env.sandbox.cgroups import crowd_of
from cwm_env.server.admission import Admission
from cwm_env.server.problems import Problem
from cwm_env.server.settings import Settings
from tests.server.conftest import Start

ROOT = Path(__file__).parent.parent.parent


def test_one_tenants_thousand_do_not_stand_before_anothers_first() -> None:
    async def run() -> list[str]:
        admission = Admission(Settings(resets=1))
        order: list[str] = []

        async def enter(tenant: str) -> None:
            await admission.enter(tenant, 0)
            order.append(tenant)
            await asyncio.sleep(0)
            admission.started(tenant, 0.001)

        await asyncio.gather(*(enter("many") for _ in range(50)), *(enter("few") for _ in range(3)))
        return order

    order = asyncio.run(run())
    assert len(order) == 53 and [index for index, tenant in enumerate(order) if tenant == "few"][-1] < 8


def test_a_token_has_a_budget_of_memory_and_another_token_its_own() -> None:
    async def run() -> None:
        admission = Admission(Settings(memory_per_token=10, patience=0.05))
        await admission.enter("one", 6)
        with pytest.raises(Problem) as refused:
            await admission.enter("one", 6)
        assert refused.value.status == 429 and int(refused.value.headers["Retry-After"]) >= 1
        await admission.enter("two", 6)
        admission.leave("one", 6)
        await admission.enter("one", 6)

    asyncio.run(run())


def test_all_together_have_a_budget_of_memory() -> None:
    async def run() -> None:
        admission = Admission(Settings(memory=10, patience=0.05))
        await admission.enter("one", 6)
        with pytest.raises(Problem) as refused:
            await admission.enter("two", 6)
        assert refused.value.status == 503
        await admission.enter("two", 4)
        admission.leave("one", 6)
        await admission.enter("one", 6)

    asyncio.run(run())


def test_a_token_has_its_part_of_the_resets_and_another_one_is_not_held_up() -> None:
    async def run() -> None:
        admission = Admission(Settings(resets=4, resets_per_token=2, patience=0.05))
        await asyncio.gather(admission.enter("one", 0), admission.enter("one", 0))
        with pytest.raises(Problem) as refused:
            await admission.enter("one", 0)
        assert refused.value.status == 429
        await admission.enter("two", 0)
        admission.started("one", 0.001)
        await admission.enter("one", 0)
        assert admission.starting == 3

    asyncio.run(run())


def test_who_gives_up_waiting_takes_no_place() -> None:
    async def run() -> None:
        admission = Admission(Settings(episodes=1))
        await admission.enter("one", 0)
        waiting = asyncio.ensure_future(admission.enter("two", 0))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert admission.waiting == 0
        admission.leave("one", 0)
        await asyncio.wait_for(admission.enter("three", 0), 1)

    asyncio.run(run())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_tls_by_flags(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*make, *names, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    options = ["--tls-certificate", str(certificate), "--tls-key", str(key), "--state", str(tmp_path / "state")]
    command = [sys.executable, "-m", "cwm_env", "serve", "--port", str(port := _free_port()), *options]
    context = ssl.create_default_context(cafile=str(certificate))
    with _running(command, {}), _answer(f"https://localhost:{port}/healthz", context) as answer:
        assert json.loads(answer.read()) == {"status": "ok"}


def test_uvicorn_by_itself_serves_the_same_and_lets_nobody_in_without_a_token(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "uvicorn", "server.app:app", "--port", str(port := _free_port())]
    with _running(command, {"CWM_ENV_STATE": str(tmp_path)}):
        _answer(f"http://127.0.0.1:{port}/healthz").close()
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/tasks")


def test_without_limits_of_the_processors_episodes_share_them_in_one_group(
    start_server: Start, small_task: Path
) -> None:
    home = cgroups.find().homes.get("cpu")
    if home is None:
        pytest.skip("no control group limits the CPU here")
    server = start_server("--no-cpu-limits")
    episode = server.begin(small_task)
    server.step(episode, "cd /tmp", "1")
    traces = server.traces()
    names = [group.name for lease in traces.leases for group in home.glob(f"cwm-{lease}-*")]
    assert names and all(name == crowd_of(name) for name in names)
    server.kill()
    server.start()
    assert server.step(episode, "pwd", "2")["observation"].startswith("/tmp")
    server.kill()
    server.options = ()  # what the spawners that live on have made is arranged otherwise
    server.start()
    assert server.step(episode, "pwd", "3")["observation"].startswith("/tmp")
    for _ in range(4):
        assert server.step(server.begin(small_task), "echo its own", "1")["observation"].startswith("its own")
    later = server.traces()
    names = [group.name for lease in later.leases for group in home.glob(f"cwm-{lease}-*")]
    assert any(name != crowd_of(name) for name in names)
    server.stop()
    assert traces.left() == [] and later.left() == []


def test_a_log_is_lines_of_json(start_server: Start) -> None:
    server = start_server()
    server.stop()
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert lines and all({"time", "level", "logger", "message"} <= set(line) for line in lines)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _running(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def _answer(url: str, context: ssl.SSLContext | None = None) -> HTTPResponse:
    deadline = time.monotonic() + 20
    while True:
        try:
            answer: HTTPResponse = urllib.request.urlopen(url, context=context)
            return answer
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
