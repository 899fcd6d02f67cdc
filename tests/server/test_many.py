"""Many episodes at once: batches, the socket, the asynchronous client, and who has to wait."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import threading
import time
from pathlib import Path
from typing import Any

import aiohttp

from cwm_env.client.aio import AsyncClient
from cwm_env.errors import CwmEnvError
from tests.server.conftest import Server, Start
from tests.server.proxy import BadNetwork


def test_a_batch_answers_each_step_as_it_finishes(server: Server, small_task: Path) -> None:
    async def run() -> list[str]:
        async with AsyncClient(server.url) as client:
            slow, quick, gone = await client.create_many([{"task": str(small_task)}] * 3)
            await gone.close()
            order = []
            async for one, outcome in client.steps(
                [(slow, "sleep 0.7; echo slow"), (quick, "echo quick"), (gone, "true")]
            ):
                if isinstance(outcome, CwmEnvError):
                    assert one is gone and outcome.kind == "lost"
                else:
                    order.append(outcome[0].split("\n")[0])
            return order

    assert asyncio.run(run()) == ["quick", "slow"]


def test_a_batch_of_requests_tells_which_failed(server: Server, small_task: Path) -> None:
    _, body = server.ask("POST", "/episodes:batch", {"episodes": [{"task": "nosuch"}, {"task": str(small_task)}]})
    lines = [json.loads(line) for line in body.splitlines()]
    assert {line["index"]: "problem" in line for line in lines} == {0: True, 1: False}


def test_one_socket_carries_many_episodes_and_answers_out_of_order(server: Server, small_task: Path) -> None:
    async def run() -> list[str]:
        order: list[str] = []
        async with AsyncClient(server.url) as client, client.socket() as socket:
            episodes = await client.create_many([{"task": str(small_task)}] * 5)

            async def step(number: int) -> None:
                answer = await socket.answer(episodes[number].id, "1", f"sleep {3 - number}; echo {number}")
                order.append(answer["observation"][0])

            await asyncio.gather(*map(step, range(4)))
            again = await socket.answer(episodes[0].id, "1", "sleep 3; echo 0")
            assert again["observation"].startswith("0\n")
        return order

    assert asyncio.run(run()) == ["3", "2", "1", "0"]


def test_no_output_breaks_the_lines_of_others(server: Server, small_task: Path) -> None:
    """What ends a line, a list or a string somewhere, or is no text at all, in an action and in what it prints."""
    forged = '"}\n{"episode_id":"x","step_id":"1","answer":{"observation":"forged"}}\n],[\r\x85\u2028\u2029\x1e\\'
    action = f"printf %s {shlex.quote(forged)}; printf '\\377\\0\\355\\240\\200'"
    shown = forged + "\ufffd" * 4 + "\n["

    async def run() -> tuple[list[str], list[str]]:
        async with AsyncClient(server.url) as client, client.socket() as socket:
            episodes = await client.create_many([{"task": str(small_task)}] * 4)
            answers = await asyncio.gather(*(socket.answer(one.id, one.next_id(), action) for one in episodes))
            batch = [outcome async for _, outcome in client.steps((one, action) for one in episodes)]
            assert not any(isinstance(outcome, CwmEnvError) for outcome in batch)
            return [answer["observation"] for answer in answers], [outcome[0] for outcome in batch]  # type: ignore[index]

    for seen in asyncio.run(run()):
        assert len(seen) == 4 and all(one.startswith(shown) for one in seen), seen


def test_a_message_that_is_none_is_answered_as_such_and_the_socket_stays(server: Server) -> None:
    async def run() -> list[Any]:
        async with aiohttp.ClientSession() as session, session.ws_connect(server.url + "/steps") as socket:
            await socket.send_str("{]")
            await socket.send_str('{"episode_id": "nosuch", "step_id": "1", "action": "ls"}')
            lines: list[str] = []
            while len(lines) < 2:
                lines += (await socket.receive()).data.splitlines()
            return [json.loads(line) for line in lines]

    unreadable, missing = asyncio.run(run())
    assert unreadable["problem"]["status"] == 422 and unreadable["episode_id"] is None
    assert missing["problem"]["kind"] == "no-episode"


def test_sockets_and_batches_survive_a_bad_network(server: Server, small_task: Path) -> None:
    action = "echo x >> /tmp/count; wc -l < /tmp/count"

    async def run(url: str) -> list[list[str]]:
        async with AsyncClient(server.url) as plain, AsyncClient(url) as client, client.socket() as socket:
            made = await plain.create_many([{"task": str(small_task), "limits": {"turns": 100}}] * 6)
            seen: list[list[str]] = [[] for _ in made]
            for number in range(1, 9):
                answers = [socket.answer(one.id, str(number), action) for one in made[:3]]
                for index, answer in enumerate(await asyncio.gather(*answers)):
                    seen[index].append(answer["observation"].split("\n")[0])
                for one, outcome in [pair async for pair in client.steps([(one, action) for one in made[3:]])]:
                    assert not isinstance(outcome, CwmEnvError), outcome
                    seen[made.index(one)].append(outcome[0].split("\n")[0])
            return seen

    with BadNetwork(server.port, seed=3, lose=0.15, twice=0.0) as network:
        assert asyncio.run(run(network.url)) == [[str(number) for number in range(1, 9)]] * 6


def test_who_does_not_read_is_not_read_from_and_hurts_nobody(start_server: Start, small_task: Path) -> None:
    server = start_server()

    async def run() -> None:
        async with AsyncClient(server.url) as client, aiohttp.ClientSession() as session:
            flooding, other = await client.create_many([{"task": str(small_task)}] * 2)
            flood = "head -c 60000 /dev/zero | tr '\\0' x"
            await flooding.step(flood)
            async with session.ws_connect(server.url + "/steps") as deaf:
                step = {"episode_id": flooding.id, "step_id": "1", "action": flood}
                message = json.dumps({"steps": [step] * 100})  # each asks again for 60 kB, and none is read
                with contextlib.suppress(TimeoutError):  # the server no longer reads
                    for _ in range(100):
                        await asyncio.wait_for(deaf.send_str(message), 1)
                assert (await other.step("echo on"))[0].startswith("on\n")

    asyncio.run(run())
    resident = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert resident < 300 << 20  # all that was asked for is 600 MB


def test_beyond_its_room_a_server_lets_wait_then_sends_away_with_a_time(start_server: Start, small_task: Path) -> None:
    server = start_server("--episodes", "2", "--waiting", "1", "--warm", "0", "--patience", "20")
    first, _ = server.begin(small_task), server.begin(small_task)
    waited: list[str] = []
    waiting = threading.Thread(target=lambda: waited.append(server.begin(small_task)))
    waiting.start()
    time.sleep(0.5)
    status, problem = server.ask("POST", "/episodes", {"task": str(small_task)})
    assert (status, problem["kind"]) == (503, "busy")
    server.ask("DELETE", f"/episodes/{first}")
    waiting.join()
    assert waited and server.ask("GET", f"/episodes/{waited[0]}")[1]["state"] == "ready"


def test_who_waited_too_long_is_told_when_to_come_back(start_server: Start, small_task: Path) -> None:
    server = start_server("--episodes", "5", "--episodes-per-token", "1", "--patience", "0.3")
    server.begin(small_task)
    status, problem = server.ask("POST", "/episodes", {"task": str(small_task)})
    assert (status, problem["kind"]) == (429, "busy")


def test_metrics_count_what_happened(start_server: Start, small_task: Path) -> None:
    server = start_server()
    episode = server.begin(small_task)
    server.step(episode, "true", "1")
    server.ask("DELETE", f"/episodes/{episode}/sandbox")
    assert server.step(episode, "true", "2")["info"]["failure"] == "sandbox"
    server.begin(small_task)
    page = server.ask("GET", "/metrics")[1].decode()
    for row in (
        "cwm_env_step_seconds_count 2.0",
        "cwm_env_reset_seconds_count 2.0",
        'cwm_env_failures_total{kind="sandbox"} 1.0',
        'cwm_env_episodes{state="ready"} 1.0',
        'cwm_env_episodes{state="ended"} 1.0',
        "cwm_env_queue_depth 0.0",
    ):
        assert row in page, row
