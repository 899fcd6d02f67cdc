"""How many episodes and steps a server carries: real bash over loopback, client and server on one machine.

    python -m benchmarks.load [--episodes 2000] [--seconds 5] [--rounds 3] [--openenv] [--no-cpu-limits]

Prints, for single HTTP requests, batches and the WebSocket: steps a second, p50 and p99 of a step, errors; and the
resets, and the server's memory with all episodes alive. With ``--openenv``, OpenEnv's own server with an echo
environment is driven beside it, over its socket, and ours over the same wire. Everything is measured once a round, in
turns; the table has of each way the round whose rate is the median.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import random
import resource
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import aiohttp
import uvloop

from benchmarks import openenv_venv
from benchmarks.load_tools import Result, await_answer, cpu, median, memory, server, used_memory
from cwm_env.client.aio import AsyncClient, AsyncEpisode
from cwm_env.errors import CwmEnvError

TASK = "boltons-barrellist-slices"
ACTION = 'echo "in $PWD"; cd /tmp'  # builtins: what is measured is ours and bash's, not some program's start
_BATCH = 100  # so that one batch is sent while others run


async def begin(client: AsyncClient, count: int) -> tuple[list[AsyncEpisode], Result]:
    """``count`` episodes, each begun by a request of its own, as many at once as the machine has resets for."""
    result = Result("reset", steps=count)
    turn = asyncio.Semaphore(8)
    limits = {"turns": 100_000, "episode_timeout": 100_000}

    async def one() -> AsyncEpisode:
        async with turn:
            started = time.perf_counter()
            made = await client.create(TASK, limits=limits)
            result.latencies.append(time.perf_counter() - started)
            return made

    started = time.perf_counter()
    episodes = await asyncio.gather(*(one() for _ in range(count)))
    result.seconds = time.perf_counter() - started
    return list(episodes), result


async def each_its_own(
    name: str,
    episodes: list[AsyncEpisode],
    seconds: float,
    step: Callable[[AsyncEpisode], Awaitable[object]],
    pace: float = 0.0,
) -> Result:
    """Every episode steps: as fast as it is answered, or after a pause of ``pace`` seconds on average."""
    result = Result(name)
    await asyncio.gather(*(one.heartbeat() for one in episodes))  # the connections are open before the clock runs
    deadline = time.perf_counter() + seconds

    async def run(episode: AsyncEpisode) -> None:
        while time.perf_counter() < deadline:
            if pace:
                await asyncio.sleep(2 * pace * random.random())
            started = time.perf_counter()
            try:
                await step(episode)
            except CwmEnvError:
                result.errors += 1
            result.latencies.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*map(run, episodes))
    result.seconds, result.steps = time.perf_counter() - started, len(result.latencies)
    return result


async def batches(client: AsyncClient, episodes: list[AsyncEpisode], seconds: float) -> Result:
    """All episodes step in batches; a step's latency is from its batch's start to its answer."""
    result = Result(f"batch, {len(episodes)} episodes")
    started = time.perf_counter()
    groups = [episodes[start : start + _BATCH] for start in range(0, len(episodes), _BATCH)]

    async def run(group: list[AsyncEpisode]) -> None:
        while time.perf_counter() < started + seconds:
            began = time.perf_counter()
            async for _, outcome in client.steps((one, ACTION) for one in group):
                result.errors += isinstance(outcome, CwmEnvError)
                result.latencies.append(time.perf_counter() - began)

    await asyncio.gather(*map(run, groups))
    result.seconds, result.steps = time.perf_counter() - started, len(result.latencies)
    return result


async def measure(url: str, pid: int, count: int, seconds: float, rounds: int) -> None:
    """Drive one server in every way, and print the table."""
    print(f"{'':<32} {'rate':>9} {'p50':>10} {'p99':>10} {'errors':>6} {'CPU a step: server, client':>18}")
    async with AsyncClient(url) as client:
        episodes, reset = await begin(client, count)
        print(reset.row(), flush=True)
        gc.disable()  # else the driver's walks through its thousands of connections count as the server's latency
        async with client.socket() as stream:

            async def single(episode: AsyncEpisode) -> object:
                return await episode.step(ACTION)

            async def over_socket(episode: AsyncEpisode) -> object:
                return await stream.answer(episode.id, episode.next_id(), ACTION)

            few = episodes[: min(1000, count)]
            ways: list[Callable[[], Awaitable[Result]]] = [
                *(
                    partial(each_its_own, f"single requests, {len(some)} episodes", some, seconds, single)
                    for some in (episodes[:64], few, episodes)
                ),
                partial(each_its_own, f"the same, {len(few)}, one step a second", few, seconds, single, pace=1.0),
                *(partial(batches, client, some, seconds) for some in (few, episodes)),
                *(
                    partial(each_its_own, f"socket, {len(some)} episodes", some, seconds, over_socket)
                    for some in (few, episodes)
                ),
            ]
            found: list[list[Result]] = [[] for _ in ways]
            for _ in range(rounds):
                for results, way in zip(found, ways, strict=True):
                    gc.collect()
                    before = cpu(pid), time.process_time()
                    results.append(await way())
                    results[-1].cpu = cpu(pid) - before[0], time.process_time() - before[1]
        for results in found:
            print(median(results).row())
        alive = await client.json("GET", "/episodes")
        ready = sum(one["state"] == "ready" for one in alive)
        stepped = sum(one["steps"] for one in alive)
        told = sum(result.steps - result.errors for results in found for result in results)
        print(
            f"{ready} of {count} episodes alive at the end; {stepped} steps recorded, {told} answered; memory of the "
            f"server {memory(pid) >> 20} MiB, with all sandboxes {used_memory() >> 20} MiB of the machine's",
            flush=True,
        )


async def openenv_sessions(name: str, url: str, count: int, seconds: float, reset: dict[str, object]) -> Result:
    """Sessions of OpenEnv's wire, each on a socket of its own, stepping as fast as they are answered."""
    result = Result(f"{name}, {count} sessions")

    async with aiohttp.ClientSession() as session, contextlib.AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(session.ws_connect(url + "/ws")) for _ in range(count)]
        for one in sockets:
            await one.send_json({"type": "reset", "data": reset})
            await one.receive()
        started = time.perf_counter()

        async def run(one: aiohttp.ClientWebSocketResponse) -> None:
            while (began := time.perf_counter()) < started + seconds:
                await one.send_json({"type": "step", "data": {"command": ACTION}})
                answer = json.loads((await one.receive()).data)
                result.errors += answer["type"] != "observation"
                result.latencies.append(time.perf_counter() - began)

        await asyncio.gather(*map(run, sockets))
        result.seconds, result.steps = time.perf_counter() - started, len(result.latencies)
    return result


def beside_openenv(url: str, count: int, seconds: float, rounds: int) -> None:
    """Drive OpenEnv's server, which echoes, and ours, which runs bash, over the same wire by the same client."""
    python = openenv_venv.python()
    if isinstance(python, str):
        print(python)
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([str(python), str(Path(__file__).with_name("openenv_echo.py")), str(port)])
    try:
        theirs = f"http://127.0.0.1:{port}"
        await_answer(f"{theirs}/health", process)
        task: dict[str, object] = {"task_id": TASK, "limits": {"turns": 100_000}}
        sides: list[tuple[str, str, dict[str, object]]]
        sides = [("OpenEnv's server, echo", theirs, {}), ("ours, bash, OpenEnv's wire", url, task)]
        found: list[list[Result]] = [[], []]
        for _ in range(rounds):
            for results, (name, where, reset) in zip(found, sides, strict=True):
                results.append(uvloop.run(openenv_sessions(name, where, count, seconds, reset)))
        echo, ours = map(median, found)
        print(f"{echo.row()}\n{ours.row()}\nours, of its rate: {ours.rate / echo.rate:.2f}")
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Measure, as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--openenv", action="store_true")
    parser.add_argument("--no-cpu-limits", action="store_true", help="as `cwm-env serve` has it")
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(f"{len(os.sched_getaffinity(0))} cores, load before: {os.getloadavg()[0]:.1f}")
    options = ("--lease", "3600", *(["--no-cpu-limits"] if arguments.no_cpu_limits else []))
    with server(*options) as (url, pid):
        uvloop.run(measure(url, pid, arguments.episodes, arguments.seconds, arguments.rounds))
    if arguments.openenv:
        with server(*options) as (url, _):
            beside_openenv(url, 64, arguments.seconds, arguments.rounds)


if __name__ == "__main__":
    main()
