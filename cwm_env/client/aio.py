"""An asynchronous client: any number of episodes on one event loop, one by one, in batches, or over one socket."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

import aiohttp

from cwm_env import wire
from cwm_env.client.http import LARGEST, Tries, document_of, loads_lines, pauses, quoted, too_long
from cwm_env.client.sockets import StepSocket
from cwm_env.envs.episode import Stepped
from cwm_env.errors import CwmEnvError, RemoteError

_CHUNK = 1 << 16


class AsyncEpisode:
    """One remote episode. Steps run one after the other."""

    def __init__(self, client: AsyncClient, made: Mapping[str, Any]) -> None:
        self._client = client
        self.id: str = made["episode_id"]
        self.observation: str = made["observation"]
        self.info: dict[str, Any] = made["info"]
        self.lease: float = made["lease_seconds"]
        """Seconds without a request after which it is ended."""
        self._steps = 0

    def next_id(self) -> str:
        """An id for one more step."""
        self._steps += 1
        return str(self._steps)

    async def step(self, action: str) -> Stepped:
        """Run an action, once, however often the connection breaks.

        Raises:
            CwmEnvError: the server's problem: the episode is over, or lost, or was never ours.
        """
        body = {"action": action, "step_id": self.next_id()}
        return wire.decode_stepped(await self._client.json("POST", f"/episodes/{self.id}/step", body))

    async def write_file(self, path: str, data: bytes) -> None:
        """Make ``data`` the content of a file in the sandbox.

        Raises:
            CwmEnvError: it cannot be written.
        """
        await self._client.raw("PUT", f"/episodes/{self.id}/files/{quoted(path)}", data)

    async def read_file(self, path: str, *, limit: int = LARGEST) -> bytes:
        """The content of a file in the sandbox.

        Raises:
            CwmEnvError: it is not there, cannot be read, or is longer than ``limit`` bytes.
        """
        return await self._client.raw("GET", f"/episodes/{self.id}/files/{quoted(path)}", limit=limit)

    async def heartbeat(self) -> None:
        """Renew the lease.

        Raises:
            EpisodeLost: there is nothing to renew.
        """
        await self._client.raw("POST", f"/episodes/{self.id}/heartbeat")

    async def close(self) -> None:
        """End it. Idempotent."""
        await self._client.raw("DELETE", f"/episodes/{self.id}")


class AsyncClient:
    """A client of one server; an asynchronous context manager."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: float = 600.0,
        patience: float = 60.0,
        connections: int = 0,
    ) -> None:
        """
        Args:
            timeout: seconds without a byte after which a connection counts as broken.
            patience: seconds for which a server that is away or full is asked again.
            connections: at most so many at once; 0 for no limit.
        """
        self._url, self._patience = url.rstrip("/"), patience
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout = aiohttp.ClientTimeout(total=None, sock_read=timeout, sock_connect=timeout)
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> AsyncClient:
        connector = aiohttp.TCPConnector(limit=self._connections)
        self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, headers=self._headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def create(self, task: str, **more: Any) -> AsyncEpisode:
        """Begin an episode; ``more``: the fields of ``wire.NewEpisode``.

        Raises:
            CwmEnvError: the server's problem.
            RemoteError: it cannot be reached.
        """
        request = {"task": task, "request_id": secrets.token_hex(12), **more}
        return AsyncEpisode(self, await self.json("POST", "/episodes", request))

    async def create_many(self, requests: Sequence[Mapping[str, Any]]) -> list[AsyncEpisode]:
        """Begin many episodes in one request.

        Raises:
            CwmEnvError: the problem of the first that could not begin.
        """
        made: dict[int, AsyncEpisode] = {}
        body = {"episodes": [{"request_id": secrets.token_hex(12), **request} for request in requests]}
        async for line in self.lines("/episodes:batch", body):
            if "problem" in line:
                raise wire.error_of(line["problem"])
            made[line["index"]] = AsyncEpisode(self, line["answer"])
        if len(made) < len(requests):
            raise RemoteError("the connection broke while episodes were begun; their leases will end them")
        return [made[index] for index in range(len(requests))]

    async def steps(
        self, actions: Iterable[tuple[AsyncEpisode, str]]
    ) -> AsyncIterator[tuple[AsyncEpisode, Stepped | CwmEnvError]]:
        """Run one action in each of many episodes, and hand out the answers as they come.

        What a broken connection left unanswered is asked for again with the same ids.

        Raises:
            RemoteError: the server cannot be reached for longer than the patience.
        """
        waiting = {(one.id, step_id): (one, action) for one, action in actions for step_id in [one.next_id()]}
        deadline = time.monotonic() + self._patience
        for pause in pauses():
            body = [{"episode_id": i, "step_id": s, "action": action} for (i, s), (_, action) in waiting.items()]
            try:
                async for line in self.lines("/steps", {"steps": body}):
                    one, _ = waiting.pop((line["episode_id"], line["step_id"]))
                    yield one, decoded(line)
            except RemoteError:
                if time.monotonic() > deadline:
                    raise
            if not waiting:
                return
            await asyncio.sleep(pause)

    def socket(self) -> StepSocket:
        """A socket for the steps of any number of episodes; an asynchronous context manager."""
        assert self._session is not None, "use `async with AsyncClient(…)`"
        return StepSocket(self._session, self._url + "/steps", self._patience)

    async def json(self, method: str, path: str, body: Any = None) -> Any:
        """Ask until there is an answer, and decode it. The request must be one that may arrive twice.

        Raises:
            CwmEnvError: the server's problem, as the exception that it stands for.
            RemoteError: it cannot be reached.
        """
        return json.loads(await self.raw(method, path, None if body is None else wire.dumps(body)) or b"null")

    async def raw(self, method: str, path: str, body: bytes | None = None, *, limit: int | None = None) -> bytes:
        """As ``json``, without decoding.

        Raises:
            InputError: more than ``limit`` bytes came.
        """
        tries = Tries(self._patience)
        while True:
            try:
                async with self._request(method, path, body) as response:
                    data = await _read(response, limit)
            except (aiohttp.ClientError, OSError, TimeoutError) as broken:
                pause = tries.broke(RemoteError(f"the server at {self._url} cannot be reached: {broken}"))
            else:
                if response.status < 400:
                    return data
                pause = tries.refused(response.status, response.headers.get("Retry-After"), data)
            await asyncio.sleep(pause)

    async def lines(self, path: str, body: Any) -> AsyncIterator[Any]:
        """Ask once, and decode the lines of the answer as they come.

        Raises:
            CwmEnvError: the server's problem.
            RemoteError: the connection broke.
        """
        try:
            async with self._request("POST", path, wire.dumps(body)) as response:
                if response.status >= 400:
                    raise wire.error_of(document_of(response.status, await response.read()))
                rest = b""
                async for data in response.content.iter_chunked(_CHUNK):
                    *whole, rest = (rest + data).split(b"\n")
                    for line in loads_lines(whole):
                        yield line
        except (aiohttp.ClientError, OSError, TimeoutError) as broken:
            raise RemoteError(f"the connection to {self._url} broke: {broken}") from None

    def _request(self, method: str, path: str, body: bytes | None) -> Any:
        assert self._session is not None, "use `async with AsyncClient(…)`"
        return self._session.request(method, self._url + path, data=body, headers={"Content-Type": "application/json"})


async def _read(response: aiohttp.ClientResponse, limit: int | None) -> bytes:
    if limit is None:
        return await response.read()
    pieces: list[bytes] = []
    async for piece in response.content.iter_chunked(_CHUNK):
        pieces.append(piece)
        limit -= len(piece)
        if limit < 0:
            raise too_long(sum(map(len, pieces)) + limit)
    return b"".join(pieces)


def decoded(line: Mapping[str, Any]) -> Stepped | CwmEnvError:
    """What a line of a batch says: the five values, or the problem as an exception."""
    return wire.error_of(line["problem"]) if "problem" in line else wire.decode_stepped(line["answer"])
