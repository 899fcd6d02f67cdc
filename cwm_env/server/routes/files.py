"""Files into and out of an episode's sandbox, through tools that run inside it: no path leads out of it."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Annotated, TypeVar

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from cwm_env.sandbox.base import Sandbox
from cwm_env.server.episode import LiveEpisode
from cwm_env.server.machine import Machine
from cwm_env.server.problems import Problem
from cwm_env.server.routes.common import EpisodeId, Responses, episode_of, failures, host_of, live

router = APIRouter(tags=["files"])
FilePath = Annotated[str, Path(max_length=4096, description="In the sandbox, from its root.", examples=["tmp/x"])]
_BYTES = "application/octet-stream"
_CONTENT: Responses = {200: {"content": {_BYTES: {}, "application/x-tar": {}}, "description": "The bytes."}}
_BODY = {"requestBody": {"content": {_BYTES: {"schema": {"type": "string", "format": "binary"}}}, "required": True}}
_QUEUED = 4
_SECONDS = 60.0
_Found = TypeVar("_Found")


@router.put(
    "/episodes/{episode_id}/files/{path:path}",
    status_code=204,
    openapi_extra=_BODY,
    responses=failures(404, 409, 410, 503, 507),
)
async def put(
    request: Request,
    episode_id: EpisodeId,
    path: FilePath,
    mode: Annotated[int, Query(ge=0, le=0o777, description="Permission bits, decimal.")] = 0o644,
) -> Response:
    """Write a file, piece by piece as it comes."""
    episode = live(episode_of(request, episode_id))
    sandbox, inside = _sandbox(episode), _inside(path)
    pieces = _Pieces()
    feeding = asyncio.ensure_future(pieces.feed(request.stream()))
    try:
        user = episode.place.image.user if episode.place else "root"
        await _done(host_of(request).machine, lambda: sandbox.write_file(inside, iter(pieces), mode=mode, user=user))
    finally:
        pieces.stop()
        feeding.cancel()
    if pieces.broken:
        raise Problem(400, "cut-short", "the body ended early", "send it again: the file holds a part of it")
    return Response(status_code=204)


@router.get(
    "/episodes/{episode_id}/files/{path:path}",
    responses={**failures(404, 409, 410, 503), **_CONTENT},
    response_class=Response,
)
async def get(
    request: Request,
    episode_id: EpisodeId,
    path: FilePath,
    archive: Annotated[bool, Query(description="As a tar archive; for directories.")] = False,
) -> Response:
    """Read a file, or, with `archive`, anything as a tar archive; piece by piece, as they are taken."""
    sandbox, inside = _sandbox(live(episode_of(request, episode_id))), _inside(path)
    machine = host_of(request).machine
    begin = sandbox.archive if archive else sandbox.stream_file
    pieces = await _done(machine, lambda: _begun(begin(inside)))
    return StreamingResponse(_pull(machine, pieces), media_type="application/x-tar" if archive else _BYTES)


class _Pieces:
    """A body on its way from the event loop to a thread, a few pieces at a time."""

    def __init__(self) -> None:
        self._queue: queue.Queue[bytes | None] = queue.Queue(_QUEUED)
        self._stopped = False
        self.broken = False
        """Whether the body ended before it was whole."""

    async def feed(self, body: AsyncIterator[bytes]) -> None:
        try:
            async for piece in body:
                await self._put(piece)
        except asyncio.CancelledError:
            raise
        except Exception:
            self.broken = True
        await self._put(None)

    async def _put(self, piece: bytes | None) -> None:
        while not self._stopped:
            try:
                self._queue.put_nowait(piece)
                return
            except queue.Full:
                await asyncio.sleep(0.005)

    def stop(self) -> None:
        self._stopped = True

    def __iter__(self) -> Iterator[bytes]:
        """In the thread."""
        while True:
            try:
                piece = self._queue.get(timeout=_SECONDS)
            except queue.Empty:
                self.broken = True
                return
            if piece is None:
                return
            yield piece


def _sandbox(episode: LiveEpisode) -> Sandbox:
    assert episode.place is not None
    return episode.place.sandbox


def _inside(path: str) -> str:
    if "\0" in path or not path.isprintable():
        raise Problem(422, "input", "the path holds a character that no path may", "correct the path")
    return "/" + path.lstrip("/")


async def _done(machine: Machine, work: Callable[[], _Found]) -> _Found:
    try:
        return await machine.on_file(work)
    except OSError as error:
        raise _of(error) from None


def _of(error: OSError) -> Problem:
    said = error.strerror or str(error)
    if isinstance(error, FileNotFoundError):
        return Problem(404, "no-file", said, "look with `ls` in the episode")
    return Problem(409, "file", said, "see what is there, and what the disk limit is")


def _begun(pieces: Iterator[bytes]) -> Generator[bytes, None, None]:
    """The same pieces, once it is sure that there is a first one."""
    first = next(pieces, b"")

    def again() -> Generator[bytes, None, None]:
        yield first
        yield from pieces

    return again()


async def _pull(machine: Machine, pieces: Generator[bytes, None, None]) -> AsyncIterator[bytes]:
    try:
        while piece := await machine.on_file(lambda: next(pieces, b"")):
            yield piece
    finally:  # who asked may have gone in the middle
        await asyncio.shield(machine.on_file(pieces.close))
