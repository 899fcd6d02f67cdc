"""Steps of any number of episodes over one WebSocket, answered in the order in which they finish."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any

import aiohttp

from cwm_env import wire
from cwm_env.client.http import loads_lines, pauses
from cwm_env.envs.episode import Stepped
from cwm_env.errors import CwmEnvError, RemoteError

_HEARTBEAT = 20.0  # seconds


class StepSocket:
    """A socket that comes back when it breaks, and then asks again for what was not answered."""

    def __init__(self, session: aiohttp.ClientSession, url: str, patience: float) -> None:
        """Use ``AsyncClient.socket``."""
        self._session, self._url, self._patience = session, url, patience
        self._waiting: dict[tuple[str, str], tuple[bytes, asyncio.Future[Any]]] = {}
        self._unsent: list[bytes] = []
        self._news = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._failed: RemoteError | None = None

    async def __aenter__(self) -> StepSocket:
        self._running = asyncio.ensure_future(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def step(self, episode_id: str, step_id: str, action: str) -> Stepped:
        """Run an action, once.

        Raises:
            CwmEnvError: the server's problem.
            RemoteError: it cannot be reached for longer than the patience.
        """
        return wire.decode_stepped(await self.answer(episode_id, step_id, action))

    def answer(self, episode_id: str, step_id: str, action: str) -> asyncio.Future[Any]:
        """As ``step``: the future of its answer, not decoded."""
        future = asyncio.get_running_loop().create_future()
        if self._failed is not None:
            future.set_exception(self._failed)
            return future
        message = wire.step_head(episode_id, step_id) + f',"action":{wire.quoted(action)}}}'.encode("ascii")
        self._waiting[episode_id, step_id] = message, future
        self._unsent.append(message)
        self._news.set()
        return future

    async def _run(self) -> None:
        """Keep a connection for as long as the server can be reached."""
        since: float | None = None
        for pause in pauses():
            error: Exception = RemoteError("the server closed the socket")
            try:
                async with self._session.ws_connect(
                    self._url, heartbeat=_HEARTBEAT, max_msg_size=0, compress=0
                ) as socket:
                    since = None
                    self._unsent = [message for message, _ in self._waiting.values()]
                    await self._talk(socket)
            except (aiohttp.ClientError, OSError, TimeoutError) as broken:
                error = broken
            since = since or time.monotonic()
            if time.monotonic() - since > self._patience:
                self._failed = RemoteError(f"the server at {self._url} cannot be reached: {error}")
                for _, future in self._waiting.values():
                    if not future.done():
                        future.set_exception(self._failed)
                return
            await asyncio.sleep(pause)

    async def _talk(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        sending = asyncio.ensure_future(self._send(socket))
        try:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    for line in loads_lines(message.data.encode().splitlines()):
                        self._take(line)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            while not self._unsent:
                self._news.clear()
                await self._news.wait()
            part, self._unsent = self._unsent[: wire.MOST_STEPS], self._unsent[wire.MOST_STEPS :]
            await socket.send_str((b'{"steps":[' + b",".join(part) + b"]}").decode())

    def _take(self, line: dict[str, Any]) -> None:
        _, future = self._waiting.pop((line["episode_id"], line["step_id"]), (b"", None))
        if future is None or future.done():
            return
        if "problem" in line:
            error: CwmEnvError = wire.error_of(line["problem"])
            future.set_exception(error)
        else:
            future.set_result(line["answer"])
