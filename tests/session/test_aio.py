"""Many sessions on one event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from cwm_env.errors import SandboxError
from cwm_env.sandbox.base import Backend, Sandbox
from cwm_env.session import AsyncBashSession, Chunk
from cwm_env.types import CommandResult, Image, Limits
from tests.session.conftest import ENV

T = TypeVar("T")


def _with_session(sandbox: Sandbox, body: Callable[[AsyncBashSession], Awaitable[T]]) -> T:
    async def main() -> T:
        async with await AsyncBashSession.open(sandbox, env=ENV, command_timeout=20) as session:
            return await body(session)

    return asyncio.run(main())


def test_two_sessions_sleep_side_by_side_and_the_loop_stays_awake(sandbox: Sandbox) -> None:
    async def main() -> tuple[float, float]:
        sessions = [await AsyncBashSession.open(sandbox, env=ENV) for _ in range(2)]
        started = last = time.monotonic()
        longest = 0.0
        sleeping = asyncio.gather(*(session.run("sleep 1") for session in sessions))
        while not sleeping.done():
            await asyncio.sleep(0.01)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        took = time.monotonic() - started
        for session in sessions:
            await session.close()
        return took, longest

    took, longest = asyncio.run(main())
    assert took < 1.8 and longest < 0.5


def test_the_loop_stays_awake_under_floods_time_outs_and_restarts(backend: Backend, image: Image) -> None:
    async def main() -> float:
        sandbox = backend.create(image, Limits())
        sessions = [await AsyncBashSession.open(sandbox, env=ENV) for _ in range(3)]
        last, longest = time.monotonic(), 0.0
        commands = ["yes", "trap '' INT; while :; do sleep 5; done", "exit 3"]
        busy = asyncio.gather(*(s.run(c, timeout=0.7) for s, c in zip(sessions, commands, strict=True)))
        while not busy.done():
            await asyncio.sleep(0.005)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        await asyncio.gather(*(session.close() for session in sessions))
        sandbox.close()
        return longest

    assert asyncio.run(main()) < 0.5


def test_many_sessions_have_no_thread_each(backend: Backend, image: Image) -> None:
    async def main() -> tuple[int, list[CommandResult]]:
        sandbox = backend.create(image, Limits())
        sessions = await asyncio.gather(*(AsyncBashSession.open(sandbox, env=ENV) for _ in range(100)))
        results = await asyncio.gather(*(session.run(f"X={n}; echo $X") for n, session in enumerate(sessions)))
        threads = threading.active_count()
        await asyncio.gather(*(session.close() for session in sessions))
        sandbox.close()
        return threads, list(results)

    threads, results = asyncio.run(main())
    assert [result.output for result in results] == [f"{n}\n" for n in range(100)]
    assert threads < 40  # of the loop's own executor, at most 32


def test_a_cancelled_command_is_stopped_and_the_session_usable(sandbox: Sandbox) -> None:
    async def body(session: AsyncBashSession) -> tuple[float, CommandResult]:
        await session.run("X=kept; cd /tmp")
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session.run("echo lost; sleep 99"), 0.2)
        given_up = time.monotonic() - started
        return given_up, await session.run("echo $X; pwd; pgrep -cx sleep")

    given_up, after = _with_session(sandbox, body)
    assert given_up < 1.0
    assert (after.output, after.late_output) == ("kept\n/tmp\n0\n", "")


def test_a_command_cancelled_before_its_turn_never_runs(sandbox: Sandbox) -> None:
    async def body(session: AsyncBashSession) -> str:
        first = asyncio.ensure_future(session.run("sleep 0.3; echo first"))
        await asyncio.sleep(0.05)
        second = asyncio.ensure_future(session.run("touch /tmp/never"))
        await asyncio.sleep(0.05)
        second.cancel()
        assert (await first).output == "first\n"
        return (await session.run("ls /tmp/never 2>/dev/null; echo end")).output

    assert _with_session(sandbox, body) == "end\n"


def test_commands_given_at_once_run_one_after_the_other(sandbox: Sandbox) -> None:
    async def body(session: AsyncBashSession) -> list[CommandResult]:
        return list(await asyncio.gather(*(session.run(f"echo {n}; sleep 0.01") for n in range(10))))

    assert [result.output for result in _with_session(sandbox, body)] == [f"{n}\n" for n in range(10)]


def test_a_stream_ends_with_the_result(sandbox: Sandbox) -> None:
    async def body(session: AsyncBashSession) -> list[Chunk | CommandResult]:
        return [piece async for piece in session.stream("for i in 1 2; do echo $i; sleep 0.1; done; (exit 3)")]

    *chunks, result = _with_session(sandbox, body)
    assert isinstance(result, CommandResult) and result.exit_code == 3
    assert "".join(chunk.text for chunk in chunks if isinstance(chunk, Chunk)) == "1\n2\n"


def test_a_slow_reader_of_a_stream_holds_the_command_in_bounded_memory(sandbox: Sandbox) -> None:
    async def body(session: AsyncBashSession) -> tuple[int, int]:
        seen = most = 0
        async for piece in session.stream("head -c 30000000 /dev/zero | tr '\\0' x"):
            if isinstance(piece, Chunk):
                seen += len(piece.text)
                most = max(most, len(session._chunks))
                await asyncio.sleep(0.001)
        return seen, most

    seen, most = _with_session(sandbox, body)
    assert seen == 30_000_000 and most <= 16


def test_leaving_a_stream_stops_its_command(sandbox: Sandbox) -> None:
    async def body(session: AsyncBashSession) -> str:
        stream = session.stream("echo first; yes")
        assert isinstance(await anext(stream), Chunk)
        await stream.aclose()
        return (await session.run("pgrep -cx yes; echo on")).output

    assert _with_session(sandbox, body) == "0\non\n"


def test_closing_stops_what_runs(sandbox: Sandbox) -> None:
    async def main() -> None:
        session = await AsyncBashSession.open(sandbox, env=ENV)
        running = asyncio.ensure_future(session.run("sleep 99"))
        await asyncio.sleep(0.1)
        await session.close()
        assert (await running).timed_out
        with pytest.raises(SandboxError):
            await session.run("true")

    started = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - started < 5
