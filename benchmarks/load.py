"""How many episodes and steps a server carries: real bash over loopback, client and server on one machine.

    python -m benchmarks.load [--episodes 2000] [--seconds 10] [--openenv]

Prints, for single HTTP requests, batches and the WebSocket: steps a second, p50 and p99 of a step, errors; and the
resets, and the server's memory with all episodes alive. With ``--openenv``, OpenEnv's own server with an echo
environment is driven beside it, over its socket, by as many sessions as it takes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import uvloop

from benchmarks import openenv_venv
from cwm_env.client.aio import AsyncClient, AsyncEpisode
from cwm_env.errors import CwmEnvError

TASK = "boltons-barrellist-slices"
ACTION = 'echo "in $PWD"; cd /tmp'  # builtins: what is measured is ours and bash's, not some program's start
_BATCH = 1000


@dataclass
class Result:
    """What one way of stepping came to."""

    name: str
    steps: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    cpu: tuple[float, float] = (0.0, 0.0)
    """CPU seconds of the server's process and of this one."""

    def row(self) -> str:
        """A line of the table."""
        ordered = sorted(self.latencies) or [0.0]
        p50, p99 = (ordered[int(len(ordered) * part)] * 1000 for part in (0.5, 0.99))
        rate = self.steps / self.seconds if self.seconds else 0.0
        theirs, ours = (spent / max(self.steps, 1) * 1e6 for spent in self.cpu)
        return (
            f"{self.name:<32} {rate:>7.0f}/s {p50:>7.1f} ms {p99:>7.1f} ms {self.errors:>6} "
            f"{theirs:>6.0f} us {ours:>6.0f} us"
        )


@contextlib.contextmanager
def server(*options: str) -> Iterator[tuple[str, int]]:
    """A server of its own: URL and process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as state:
        command = [sys.executable, "-m", "cwm_env", "serve", "--port", str(port), "--state", state, *options]
        with (Path(state) / "log").open("wb") as log:
            process = subprocess.Popen(command, stderr=log, stdout=log)
        try:
            await_answer(f"http://127.0.0.1:{port}/healthz", process)
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(120)


def await_answer(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers."""
    while process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url).close()
            return
        time.sleep(0.05)
    raise SystemExit("the server does not start")


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
    deadline = time.perf_counter() + seconds

    async def run(episode: AsyncEpisode) -> None:
        while time.perf_counter() < deadline:
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


async def measure(url: str, pid: int, count: int, seconds: float) -> None:
    """Drive one server in every way, and print the table."""
    print(f"{'':<32} {'rate':>9} {'p50':>10} {'p99':>10} {'errors':>6} {'CPU a step: server, client':>18}")
    async with AsyncClient(url) as client:
        episodes, reset = await begin(client, count)
        print(reset.row())

        async def show(measured: Awaitable[Result]) -> None:
            before = cpu(pid), time.process_time()
            result = await measured
            result.cpu = cpu(pid) - before[0], time.process_time() - before[1]
            print(result.row(), flush=True)

        few = episodes[: min(1000, count)]

        async def single(episode: AsyncEpisode) -> object:
            return await episode.step(ACTION)

        for some in (episodes[:64], few, episodes):
            await show(each_its_own(f"single requests, {len(some)} episodes", some, seconds, single))
        await show(each_its_own(f"the same, {len(few)}, one step a second", few, seconds, single, pace=1.0))
        for some in (few, episodes):
            await show(batches(client, some, seconds))
        async with client.socket() as stream:

            async def over_socket(episode: AsyncEpisode) -> object:
                return await stream.answer(episode.id, episode.next_id(), ACTION)

            for some in (few, episodes):
                await show(each_its_own(f"socket, {len(some)} episodes", some, seconds, over_socket))
        alive = await client.json("GET", "/episodes")
        ready = sum(one["state"] == "ready" for one in alive)
        print(
            f"{ready} of {count} episodes alive at the end; memory of the server {memory(pid) >> 20} MiB, "
            f"with all sandboxes {used_memory() >> 20} MiB of the machine's"
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


def beside_openenv(url: str, count: int, seconds: float) -> None:
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
        ours: dict[str, object] = {"task_id": TASK, "limits": {"turns": 100_000}}
        for _ in range(2):  # in turns, since the machine may be busy with other things
            print(uvloop.run(openenv_sessions("OpenEnv's server, echo", theirs, count, seconds, {})).row())
            print(uvloop.run(openenv_sessions("ours, bash, OpenEnv's wire", url, count, seconds, ours)).row())
    finally:
        process.terminate()
        process.wait()


def cpu(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> int:
    """Bytes that a process has in memory."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def used_memory() -> int:
    """Bytes of the machine's memory in use."""
    rows = dict(row.split(":") for row in Path("/proc/meminfo").read_text().splitlines())
    return (int(rows["MemTotal"].split()[0]) - int(rows["MemAvailable"].split()[0])) * 1024


def main() -> None:
    """Measure, as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--openenv", action="store_true")
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(f"{len(os.sched_getaffinity(0))} cores, load before: {os.getloadavg()[0]:.1f}")
    with server("--lease", "3600") as (url, pid):
        uvloop.run(measure(url, pid, arguments.episodes, arguments.seconds))
    if arguments.openenv:
        with server("--lease", "3600") as (url, _):
            beside_openenv(url, 64, arguments.seconds)


if __name__ == "__main__":
    main()
