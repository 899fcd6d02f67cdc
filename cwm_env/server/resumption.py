"""The live episodes of a killed server go on under this one."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable

from cwm_env.errors import CwmEnvError, EpisodeLost, InfrastructureError
from cwm_env.sandbox.base import Process
from cwm_env.sandbox.handover import Handover
from cwm_env.server.episode import LiveEpisode
from cwm_env.server.journal import Past
from cwm_env.server.ledger import Note
from cwm_env.server.machine import Machine
from cwm_env.server.problems import Problem
from cwm_env.server.stepping import Result
from cwm_env.server.survival import Survival
from cwm_env.session import AsyncBashSession, Left
from cwm_env.types import CommandResult
from cwm_env.wire import NewEpisode

_log = logging.getLogger("cwm_env.server")
_AT_ONCE = 64

Make = Callable[[str, str, NewEpisode], Awaitable[LiveEpisode]]
"""Makes, from its id, its owner and what it was asked for with, a live episode."""


class Resumption:
    """Takes up what the server before has left of its live episodes."""

    def __init__(
        self, machine: Machine, survival: Survival, make: Make, took_up: Callable[[LiveEpisode], None]
    ) -> None:
        """
        Args:
            make: makes an episode, to be restored.
            took_up: called with each that goes on.
        """
        self._machine, self._survival, self._make, self._took_up = machine, survival, make, took_up

    async def all(self, pasts: dict[str, Past]) -> dict[str, str]:
        """Take them up; none is left half done.

        Args:
            pasts: of each that has a journal without an end.

        Returns:
            Why, for each of those that could not be taken up. Nothing of them is on the machine any more.
        """
        lost: dict[str, str] = {}
        for (backend, _), maker in self._survival.makers.items():
            try:
                await self._machine.adopt_maker(backend, maker)
            except CwmEnvError as error:
                _log.warning("what sandboxes of a killed server depend on is gone: %s", error)
        turn = asyncio.Semaphore(_AT_ONCE)

        async def one(episode_id: str, handover: Handover) -> None:
            async with turn:
                try:
                    if episode_id in pasts:
                        await self._resume(pasts[episode_id], handover)
                    else:
                        await _free(handover)
                except (CwmEnvError, Problem) as error:
                    lost[episode_id] = str(error)
                except Exception as error:
                    _log.exception("an episode of a killed server could not go on", extra={"episode": episode_id})
                    lost[episode_id] = f"the server failed: {type(error).__name__}"
            if episode_id in lost or episode_id not in pasts:
                self._survival.drop(episode_id)

        await asyncio.gather(*(one(*kept) for kept in self._survival.episodes.items()))
        self._survival.episodes.clear()
        return lost

    async def _resume(self, past: Past, handover: Handover) -> None:
        about = handover.about
        request = NewEpisode.model_validate(about["request"])
        try:
            episode = await self._make(past.id, past.begun["owner"], request)
        except BaseException:
            await _free(handover)
            raise
        trail = episode.trail = self._survival.resumed(episode, about["place"])
        note, place = trail.noted.read(), None
        step = None if note.step_id is None or note.step_id in past.answers else note.step_id
        try:
            place, process = await self._machine.adopt(episode.task, request.backend, handover)
            last = past.steps[-1].result if past.steps else None
            left = Left(last.cwd if last else place.image.workdir, note.given if step is not None else None)
            place.session.mark(trail)
            action = "" if step is None else _action(step, note, past)
            episode.restore(past, place, about["began"])
        except BaseException:
            if place is not None:
                await self._machine.free(place)
            trail.end()
            raise
        if note.renewed:
            episode.expires = note.renewed + episode.lease
        self._took_up(episode)
        resumed = _resumed(place.session, process, left)
        if step is not None:
            episode.go_on(step, action, resumed)
        else:  # a step that comes meanwhile waits for its turn in the session
            settling = asyncio.ensure_future(_settle(episode, resumed))
            self._survival.settling.add(settling)
            settling.add_done_callback(self._survival.settling.discard)


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
