"""What a step costs: `true` in a session, beside a bare bash and the local shells of other projects; many at once.

    python -m benchmarks.step [--quick]

All figures are of one run, in turns, so that a busy machine is busy for all. The bare bash is asked over two pipes for
what a step must know: output, exit code and directory, behind a mark that no output holds by chance.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.peers import SHELL_PEERS, SHELL_SCRIPT, PeerUnavailable, ShellPeer, python_of
from cwm_env.sandbox.base import Backend, Sandbox
from cwm_env.sandbox.registry import backend as backend_named
from cwm_env.session import AsyncBashSession, BashSession
from cwm_env.types import Image, Limits
from tests.conftest import make_image

_MARK = b"0123456789abcdef"
_BARE = b"true\necho " + _MARK + b' $? "$PWD"\n'
_PER_SANDBOX = 250
_LIMITS = Limits(processes=2 * _PER_SANDBOX, memory=8 << 30)


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rounds: int
    steps: int
    """Steps in each round."""
    slow_steps: int
    """The same for shells that take milliseconds."""
    sessions: int
    steps_each: int
    flood: int
    """Bytes of output."""


FULL, QUICK = Size(50, 100, 3, 1000, 20, 4 << 30), Size(5, 50, 1, 50, 10, 256 << 20)


@contextmanager
def on_one_core() -> Iterator[None]:
    """Keep this process, and what it starts, on one core: whether two share one is luck, and costs more than a step."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def bare_bash() -> Iterator[Callable[[], None]]:
    """A bash over two pipes, and what one step of it is."""
    argv = ["bash", "--noprofile", "--norc"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdin and process.stdout
        into, out = process.stdin.fileno(), process.stdout.fileno()

        def step() -> None:
            os.write(into, _BARE)
            data = b""
            while not (_MARK in data and data.endswith(b"\n")):
                data += os.read(out, 65536)

        yield step
        process.kill()


@contextmanager
def peer(name: str, install: bool) -> Iterator[ShellPeer]:
    """A peer's shell, on this machine."""
    argv = [str(python_of(SHELL_PEERS[name], install=install)), str(SHELL_SCRIPT), name]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/tmp"
    ) as process:
        assert process.stdin and process.stdout
        try:
            yield ShellPeer(process.stdin, process.stdout)
        finally:
            process.kill()


def timed(step: Callable[[], object], times: int) -> list[float]:
    """Seconds of each step."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    return seconds


async def timed_async(session: AsyncBashSession, times: int) -> list[float]:
    """Seconds of each step on an event loop."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        await session.run("true")
        seconds.append(time.perf_counter() - started)
    return seconds


def latencies(sandbox: Sandbox, size: Size) -> dict[str, float | str]:
    """Median seconds of a step of each shell, in turns; or why there is none."""
    taken: dict[str, list[float]] = {}
    missing: dict[str, float | str] = {}
    with ExitStack() as stack:
        bare = stack.enter_context(bare_bash())
        blocking = stack.enter_context(BashSession(sandbox))
        runner = stack.enter_context(asyncio.Runner())
        session = runner.run(AsyncBashSession.open(sandbox))
        peers = {}
        for name in SHELL_PEERS:
            try:
                peers[name] = stack.enter_context(peer(name, install=size is FULL))
                peers[name].ask(command="true", repeat=1)
            except PeerUnavailable as error:
                missing[name] = str(error)
                peers.pop(name, None)
        for turn in range(size.rounds + 1):
            now = {
                "bare bash over pipes": timed(bare, size.steps),
                "BashSession": timed(lambda: blocking.run("true"), size.steps),
                "AsyncBashSession": runner.run(timed_async(session, size.steps)),
            }
            if turn % 10 == 0:  # a step of these takes so long that a tenth is enough
                for name, shell in peers.items():
                    now[name] = shell.ask(command="true", repeat=size.slow_steps)["seconds"]
            if turn:  # the first is to warm up
                for name, seconds in now.items():
                    taken.setdefault(name, []).extend(seconds)
            else:
                taken |= {name: now[name] for name in peers}
        runner.run(session.close())
    return {name: statistics.median(seconds) for name, seconds in taken.items()} | missing


async def rates(backend: Backend, image: Image, size: Size) -> tuple[float, float]:
    """Steps per second of one session alone, and of many on the same loop together."""

    async def work(session: AsyncBashSession, steps: int) -> None:
        for _ in range(steps):
            await session.run("true")

    async def rate(sessions: list[AsyncBashSession], steps: int) -> float:
        await asyncio.gather(*(work(session, 2) for session in sessions))
        started = time.perf_counter()
        await asyncio.gather(*(work(session, steps) for session in sessions))
        return len(sessions) * steps / (time.perf_counter() - started)

    boxes = [backend.create(image, _LIMITS) for _ in range(-(-size.sessions // _PER_SANDBOX))]
    opened = [AsyncBashSession.open(boxes[index // _PER_SANDBOX]) for index in range(size.sessions)]
    sessions = list(await asyncio.gather(*opened))
    alone, together = [], []
    for _ in range(3):
        alone.append(await rate(sessions[:1], size.sessions * size.steps_each // 4))
        together.append(await rate(sessions, size.steps_each))
    await asyncio.gather(*(session.close() for session in sessions))
    for box in boxes:
        box.close()
    return statistics.median(alone), statistics.median(together)


def throughputs(sandbox: Sandbox, size: Size) -> tuple[float, float]:
    """Bytes per second of a command's output through a session, and of the same through a pipe into Python."""
    command = f"head -c {size.flood} /dev/zero | cat"
    ours, pipe = [], []
    with BashSession(sandbox) as session:
        for _ in range(3):
            started = time.perf_counter()
            session.run(command, timeout=300)
            ours.append(size.flood / (time.perf_counter() - started))
            started = time.perf_counter()
            with subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE) as process:
                assert process.stdout
                while os.read(process.stdout.fileno(), 65536):
                    pass
            pipe.append(size.flood / (time.perf_counter() - started))
    return statistics.median(ours), statistics.median(pipe)


def report(size: Size) -> Table:
    """Measure, and set the figures beside what is asked of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 6 * size.sessions + 1024)), hard))
    table = Table(
        "what", "figure", "beside it", "ratio", "wanted", title="Steps of a session (single ones on one core)"
    )
    for column in table.columns[1:]:
        column.justify = "right"
    backend = backend_named()
    with tempfile.TemporaryDirectory() as place:
        image = make_image(Path(place) / "image")
        with on_one_core(), closing(backend.create(image, _LIMITS)) as sandbox:
            _add_latencies(table, latencies(sandbox, size))
        backend.close()  # and with it the process that makes sandboxes, which stands on that core
        alone, together = asyncio.run(rates(backend, image, size))
        name, beside = f"{size.sessions:,} sessions on one loop", f"{alone:,.0f} (one alone)"
        table.add_row(name, f"{together:,.0f} steps/s", beside, f"{together / alone:.2f}", "at least 0.5")
        with closing(backend.create(image, _LIMITS)) as sandbox:
            ours, pipe = throughputs(sandbox, size)
        figure, beside = f"{ours / 1e9:.2f} GB/s", f"{pipe / 1e9:.2f} GB/s (cat)"
        table.add_row("output", figure, beside, f"{ours / pipe:.2f}", "at least 0.5, or 0.5 GB/s")
    backend.close()
    return table


def _add_latencies(table: Table, found: dict[str, float | str]) -> None:
    bare = found["bare bash over pipes"]
    assert isinstance(bare, float)
    wanted = {"BashSession": "at most 2", "AsyncBashSession": "at most 4"}
    for name, seconds in found.items():
        if isinstance(seconds, str):
            table.add_row(f"`true`: {name}", "-", "-", "-", seconds)
        else:
            figure, ratio = f"{seconds * 1e6:,.1f} µs", f"{seconds / bare:,.2f}"
            table.add_row(f"`true`: {name}", figure, f"{bare * 1e6:.1f} µs", ratio, wanted.get(name, ""))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds, for figures that say little")
    Console(width=140).print(report(QUICK if parser.parse_args().quick else FULL))


if __name__ == "__main__":
    main()
