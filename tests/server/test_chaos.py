"""Clients vanish, connections are cut, sandboxes and the server are killed, a disk fills: nothing promised is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from cwm_env.client.aio import AsyncClient
from cwm_env.trajectories import TrajectoryStore
from tests.server.chaos import Account, Worker
from tests.server.conftest import Server, Start
from tests.server.leftovers import Traces
from tests.server.proxy import BadNetwork

pytestmark = pytest.mark.alone

KINDS = {"sandbox", "lost", "abandoned", "shutdown", "remote", "busy", "disk-full"}


@pytest.fixture
def seconds(request: pytest.FixtureRequest) -> float:
    """How long it goes on; ``--chaos 120`` is the long form."""
    return float(request.config.getoption("--chaos"))


@pytest.mark.timeout(600)
def test_every_acknowledged_step_is_in_a_trajectory_once_and_nothing_is_left(
    start_server: Start, small_task: Path, seconds: float
) -> None:
    server = start_server("--lease", "20", "--patience", "30")
    descriptors = _descriptors(server)
    workers = 200 if seconds > 60 else 24
    account = Account()
    with BadNetwork(server.port, seed=1, lose=0.02, delay=0.01, twice=0.02) as network:
        traces = asyncio.run(_storm(server, network.url, str(small_task), workers, seconds, account))
    for episode in server.ask("GET", "/episodes")[1]:
        server.ask("DELETE", f"/episodes/{episode['episode_id']}")
    deadline = time.monotonic() + 10
    while _descriptors(server) > descriptors + 60 and time.monotonic() < deadline:  # idle threads, ready sandboxes
        time.sleep(0.1)
    assert _descriptors(server) <= descriptors + 60
    traces.append(server.traces())
    assert server.stop() == 0
    assert not account.wrong and account.resumed >= workers // 3
    _compare(account, server)
    assert set(account.failures) <= KINDS, account.failures
    told = sum(map(len, account.answers.values()))
    print(f"{len(account.answers)} episodes, {told} answers, {len(account.rewards)} verdicts")
    print(f"{account.resumed} went on after a kill; failures: {account.failures}; cut by the network: {network.lost}")
    assert [left for trace in traces for left in trace.left()] == []


async def _storm(
    server: Server, bad_url: str, task: str, workers: int, seconds: float, account: Account
) -> list[Traces]:
    """All at once; half of the clients over a bad network; the keeper dies before the first kill and with the last.

    Returns:
        The traces of each server that was killed.
    """
    traces = []
    over = asyncio.Event()
    kills = 4 if seconds > 60 else 2
    async with AsyncClient(server.url, timeout=30) as good, AsyncClient(bad_url, timeout=30) as bad:
        made = [Worker(good if number % 2 else bad, task, account, number) for number in range(workers)]
        playing = [asyncio.ensure_future(one.run(over)) for one in made]
        for kill in range(kills):
            await asyncio.sleep(seconds / (kills + 1))
            if kill == 0:
                os.kill(server.keeper, signal.SIGKILL)
                await asyncio.to_thread(server.await_keeper)
            traces.append(server.traces())
            if kill == kills - 1:
                os.kill(server.keeper, signal.SIGKILL)
            server.kill()
            await asyncio.to_thread(server.start)
            account.resumed += server.resumed()
        await asyncio.sleep(seconds / (kills + 1))
        patience = asyncio.get_running_loop().time() + 60
        while not account.rewards and asyncio.get_running_loop().time() < patience:
            await asyncio.sleep(0.1)
        over.set()
        await asyncio.gather(*playing)
    return traces


def _compare(account: Account, server: Server) -> None:
    """What the clients were told is what was recorded."""
    recorded = list(TrajectoryStore(server.state / "trajectories.jsonl"))
    by_episode = {one.episode: one for one in recorded}
    assert len(by_episode) == len(recorded)
    told = 0
    for episode, answers in account.answers.items():
        steps = [(step.action, step.observation) for step in by_episode[episode].steps]
        for answer in answers:
            assert steps.count(answer) == 1, (episode, answer)
        told += len(answers)
    assert told > 50 and account.rewards and account.resumed and "lost" in account.failures
    for one in recorded:
        assert one.failure is None or one.reward is None
        assert one.failure is None or one.failure in KINDS, one.failure


def _descriptors(server: Server) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
