"""What makes live episodes outlive the server: each is enrolled with the keeper, and has a place in the ledger."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from cwm_env.errors import InfrastructureError
from cwm_env.sandbox.base import Process
from cwm_env.sandbox.handover import Handover, Portable
from cwm_env.server import ledger, machine
from cwm_env.server.episode import LiveEpisode
from cwm_env.server.keeping import Keeping, close_all
from cwm_env.server.ledger import Ledger
from cwm_env.server.settings import Settings
from cwm_env.server.trail import Trail

_log = logging.getLogger("cwm_env.server")
_LEDGER, _MAKER, _EPISODE = "ledger", "maker/", "episode/"
_AT_ONCE = 32  # episodes that are handed to another keeper before others have their turn
FORMAT = 2
"""Of what is kept; what another version of this program has kept is not understood."""


class Survival:
    """One server's."""

    def __init__(self, settings: Settings, failed: Callable[[], None]) -> None:
        """``failed``: called each time that nothing keeps the episodes any more."""
        self._settings, self._failed = settings, failed
        self._keeping: Keeping | None = None
        self._ledger: Ledger | None = None
        self._makers: set[str] = set()
        self.makers: dict[tuple[str, str], Handover] = {}
        """What a killed server's sandboxes depend on, by backend and name; to be adopted before them."""
        self.episodes: dict[str, Handover] = {}
        """What a killed server has left of its live episodes, by id; to be adopted or closed."""

        self.settling: set[asyncio.Task[None]] = set()
        """Shells of taken-up episodes that are being asked where they are."""

    def open(self) -> None:
        """Find what a killed server has left, and have a keeper. Blocks for a moment."""
        self._keeping = keeping = Keeping(self._settings.state / "keeper", self._settings.keep, self._failed)
        kept, keeping.kept = keeping.kept, {}
        old = kept.pop(_LEDGER, None)
        known = {name for name, one in kept.items() if one.about.get("format") == FORMAT}
        if not keeping.alive or old is None or known != set(kept):
            close_all(kept)
            for name in kept:
                keeping.drop(name)
            kept = {}
        if not keeping.alive:
            return
        self._ledger = Ledger(self._settings.episodes + self._settings.resets, old.descriptors[0] if old else -1)
        keeping.keep(_LEDGER, Handover({"format": FORMAT}, [self._ledger.descriptor]))
        for name, handover in kept.items():
            kind, _, rest = name.partition("/")
            if f"{kind}/" == _MAKER:
                backend, _, maker = rest.rpartition("/")
                self.makers[backend, maker] = handover
                self._makers.add(name)
            else:
                self.episodes[rest] = handover

    def enrol(self, episode: LiveEpisode) -> None:
        """Let an episode that has begun outlive us, where its backend can do that."""
        place = episode.place
        if self._ledger is None or self._keeping is None or place is None or not isinstance(place.backend, Portable):
            return
        if (noted := self._ledger.place()) is not None:
            episode.trail = self._trail(episode, noted)
            self._hold(episode, place, episode.trail)

    def resumed(self, episode: LiveEpisode, number: int) -> Trail:
        """The trail of an episode that a killed server has left."""
        assert self._ledger is not None
        noted = self._ledger.place(number)
        assert noted is not None
        return self._trail(episode, noted)

    async def mend(self, live: Sequence[LiveEpisode]) -> None:
        """Where the keeper has died, have another one hold all that lives."""
        keeping = self._keeping
        if keeping is None or self._ledger is None or not keeping.to_replace():
            return
        await asyncio.get_running_loop().run_in_executor(None, keeping.replace)
        keeping.keep(_LEDGER, Handover({"format": FORMAT}, [self._ledger.descriptor]))
        self._makers.clear()
        for count, episode in enumerate(live):
            place, trail = episode.place, episode.trail
            if trail is not None and place is not None and isinstance(place.backend, Portable):
                self._hold(episode, place, trail)
            if count % _AT_ONCE == 0:
                await asyncio.sleep(0)
        if keeping.alive:
            _log.warning("another keeper holds the live episodes")

    def drop(self, episode_id: str) -> None:
        """Keep nothing of this episode any more."""
        if self._keeping is not None:
            self._keeping.drop(_EPISODE + episode_id)

    def close(self) -> None:
        """Nothing has to outlive us."""
        if self._keeping is not None:
            self._keeping.end()
        if self._ledger is not None:
            self._ledger.close()

    def _trail(self, episode: LiveEpisode, noted: ledger.Place) -> Trail:
        return Trail(noted, partial(self._keep_shell, episode, noted), partial(self._forget, episode.id, noted))

    def _keep_shell(self, episode: LiveEpisode, noted: ledger.Place, process: Process) -> None:
        """Keep the descriptors of this bash, and of its sandbox."""
        place = episode.place
        if place is None or self._keeping is None:
            return
        assert isinstance(place.backend, Portable)
        try:
            handover = place.backend.hand_over(place.sandbox, process)
        except InfrastructureError:
            return
        about = {
            **handover.about,
            "format": FORMAT,
            "place": noted.number,
            "request": episode.request.model_dump(mode="json"),
            "began": episode.began,
        }
        self._keeping.keep(_EPISODE + episode.id, Handover(about, handover.descriptors))

    def _forget(self, episode_id: str, noted: ledger.Place) -> None:
        self.drop(episode_id)
        if self._ledger is not None:
            self._ledger.give_back(noted)

    def _hold(self, episode: LiveEpisode, place: machine.Place, trail: Trail) -> None:
        assert isinstance(place.backend, Portable)
        self._keep_makers(episode.request.backend, place.backend)
        process = place.session.mark(trail)
        if process is not None:
            trail.started(process)

    def _keep_makers(self, name: str, backend: Portable) -> None:
        assert self._keeping is not None
        prefix = f"{_MAKER}{name}/"
        there = {f"{prefix}{maker}": handover for maker, handover in backend.makers().items()}
        for gone in {maker for maker in self._makers if maker.startswith(prefix)} - set(there):
            self._keeping.drop(gone)
            self._makers.discard(gone)
        for new in set(there) - self._makers:
            self._keeping.keep(new, Handover({**there[new].about, "format": FORMAT}, there[new].descriptors))
            self._makers.add(new)
