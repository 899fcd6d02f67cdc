"""A proxy between client and server that treats connections as a bad network does."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from types import TracebackType

_CHUNK = 1 << 16


class BadNetwork:
    """Forwards TCP in a thread of its own, and cuts, delays and repeats whole requests by chance.

    A request is what one read from the client gives, which holds for small ones. Dropped before the server sees it,
    or after, when only the answer is lost: the client cannot tell which.
    """

    def __init__(self, port: int, *, seed: int, lose: float = 0.2, delay: float = 0.05, twice: float = 0.1) -> None:
        """
        Args:
            port: of the server.
            lose: chance that a connection is cut, before or after the server has got the request.
            delay: most seconds that a request is held back.
            twice: chance that a request arrives again, on another connection, after the first or before it.
        """
        self._server_port, self._random = port, random.Random(seed)
        self._lose, self._delay, self._twice = lose, delay, twice
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.lost = 0

    def __enter__(self) -> BadNetwork:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    @property
    def url(self) -> str:
        """Where clients come in."""
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0.05)  # what was closed is let go of

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        upstream: asyncio.StreamWriter | None = None
        try:
            answers, upstream = await asyncio.open_connection("127.0.0.1", self._server_port)
            back = asyncio.ensure_future(_pump(answers, writer))
            while request := await reader.read(_CHUNK):
                await asyncio.sleep(self._random.random() * self._delay)
                if self._random.random() < self._twice:
                    await self._repeat(request)
                fate = self._random.random()
                if fate < self._lose / 2:
                    break  # it never arrives
                upstream.write(request)
                await upstream.drain()
                if fate < self._lose:
                    break  # it arrives; the answer does not
            else:
                self.lost -= 1
            self.lost += 1
            back.cancel()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            for one in (writer, upstream):
                if one is not None:
                    one.close()

    async def _repeat(self, request: bytes) -> None:
        """The same request, by itself, ahead of its time or long after."""

        async def send() -> None:
            await asyncio.sleep(self._random.random() * 4 * self._delay)
            with contextlib.suppress(OSError):
                answers, writer = await asyncio.open_connection("127.0.0.1", self._server_port)
                try:
                    writer.write(request)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(answers.read(_CHUNK), 1)
                finally:
                    writer.close()

        task = asyncio.ensure_future(send())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        writer.close()
