"""What every end-point needs: the host, who asks, and how failures are documented."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Request, Response

from cwm_env import wire
from cwm_env.server.episode import LiveEpisode
from cwm_env.server.host import Host
from cwm_env.server.known import KnownEpisode
from cwm_env.server.problems import over

EpisodeId = Annotated[str, Path(max_length=64, examples=["e0123456789abcdef01234567"])]

_TEXTS = {
    400: "the request cannot be read",
    401: "no valid token",
    403: "not from there",
    404: "no such episode, or it is another tenant's",
    409: "at odds with what was asked before",
    410: "the episode is over",
    413: "too large",
    422: "something in the request is wrong",
    429: "you have too much here",
    503: "no room, or the infrastructure failed",
    507: "no space is left",
}


Responses = dict[int | str, dict[str, Any]]
"""What an end-point may answer, for its documentation."""


def failures(*statuses: int) -> Responses:
    """The problems of an end-point, for its documentation; those that every end-point has are added."""
    content = {wire.PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": _TEXTS[status], "content": content} for status in (400, 401, 403, 413, 422, *statuses)
    }


def host_of(request: Request) -> Host:
    """The server's host."""
    host: Host = request.app.state.host
    return host


def tenant_of(request: Request) -> str:
    """Who asks: the id of the token, or ``local`` where there are none."""
    tenant: str = request.scope["tenant"]
    return tenant


def episode_of(request: Request, episode_id: str) -> KnownEpisode:
    """The episode that is asked for.

    Raises:
        Problem: there is none, or it is another tenant's.
    """
    return host_of(request).find(tenant_of(request), episode_id)


def live(episode: KnownEpisode) -> LiveEpisode:
    """The episode, if it has a sandbox.

    Raises:
        Problem: it is over.
    """
    if not isinstance(episode, LiveEpisode) or episode.place is None:
        raise over(episode.state, episode.failure, episode.error)
    return episode


def raw(body: bytes, status: int = 200) -> Response:
    """A body that is JSON already."""
    return Response(body, status, media_type="application/json")
