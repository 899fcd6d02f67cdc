"""The live episodes of a killed server go on under this one."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from cwm_env.errors import CwmEnvError, EpisodeLost, InfrastructureError
from cwm_env.sandbox.base import Process
from cwm_env.sandbox.handover import Handover
from cwm_env.server.episode import LiveEpisode
from cwm_env.server.journal import Past
from cwm_env.server.ledger import Note
from cwm_env.server.problems import Problem
from cwm_env.server.stepping import Result
from cwm_env.session import AsyncBashSession, Left
from cwm_env.types import CommandResult
from cwm_env.wire import NewEpisode

if TYPE_CHECKING:
    from cwm_env.server.host import Host

_log = logging.getLogger("cwm_env.server")
_AT_ONCE = 64


async def resume_all(host: Host, pasts: dict[str, Past]) -> dict[str, str]:
    """Take up what the server before has left of its live episodes. None is left half done.

    Args:
        pasts: of each that has a journal without an end.

    Returns:
        Why, for each of those that could not be taken up. Nothing of them is on the machine any more.
    """
    survival, lost = host.survival, {}
    for (backend, _), maker in survival.makers.items():
        try:
            await host.machine.adopt_maker(backend, maker)
        except CwmEnvError as error:
            _log.warning("what sandboxes of a killed server depend on is gone: %s", error)
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(episode_id: str, handover: Handover) -> None:
        async with turn:
            try:
                if episode_id in pasts:
                    await _resume(host, pasts[episode_id], handover)
                else:
                    await _free(handover)
            except (CwmEnvError, Problem) as error:
                lost[episode_id] = str(error)
            except Exception as error:
                _log.exception("an episode of a killed server could not go on", extra={"episode": episode_id})
                lost[episode_id] = f"the server failed: {type(error).__name__}"
        if episode_id in lost or episode_id not in pasts:
            survival.drop(episode_id)

    await asyncio.gather(*(one(*kept) for kept in survival.episodes.items()))
    survival.episodes.clear()
    return lost


async def _resume(host: Host, past: Past, handover: Handover) -> None:
    about, begun = handover.about, past.begun
    request = NewEpisode.model_validate(about["request"])
    try:
        task = await host.task(request)
    except BaseException:
        await _free(handover)
        raise
    episode = host.episode(past.id, begun["owner"], task, request)
    trail = episode.trail = host.survival.resumed(episode, about["place"])
    note, place = trail.noted.read(), None
    step = None if note.step_id is None or note.step_id in past.answers else note.step_id
    try:
        place, process = await host.machine.adopt(task, request.backend, handover)
        last = past.steps[-1].result if past.steps else None
        left = Left(last.cwd if last else place.image.workdir, note.given if step is not None else None)
        place.session.mark(trail)
        action = "" if step is None else _action(step, note, past)
        episode.restore(past, place, about["began"])
    except BaseException:
        if place is not None:
            await host.machine.free(place)
        trail.end()
        raise
    if note.renewed:
        episode.expires = note.renewed + episode.lease
    host.took_up(episode)
    resumed = _resumed(place.session, process, left)
    if step is not None:
        episode.go_on(step, action, resumed)
    else:  # a step that comes meanwhile waits for its turn in the session
        settling = asyncio.ensure_future(_settle(episode, resumed))
        host.survival.settling.add(settling)
        settling.add_done_callback(host.survival.settling.discard)


async def _settle(episode: LiveEpisode, resumed: Result) -> None:
    try:
        await resumed(0.0)
    except InfrastructureError as error:
        await episode.end(error.kind, str(error))


def _resumed(session: AsyncBashSession, process: Process, left: Left) -> Result:
    async def result(timeout: float) -> CommandResult | None:
        try:
            return await session.resume(process, left, timeout)
        except InfrastructureError as error:
            raise EpisodeLost(str(error)) from error

    return result


def _action(step_id: str, note: Note, past: Past) -> str:
    if note.action is not None:
        return note.action
    if past.begins is None or past.begins[0] != step_id:
        raise EpisodeLost("what a step was to do was not recorded when the server was killed")
    return past.begins[1]


async def _free(handover: Handover) -> None:
    """Its sandbox ends when nobody holds its socket any more."""
    for descriptor in handover.descriptors:
        os.close(descriptor)
