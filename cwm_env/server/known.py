"""An episode that the server knows of, whether it lives or not: whose it is, its lease, and the answers it gave."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from cwm_env import wire
from cwm_env.server import journal, problems
from cwm_env.server.journal import Answer
from cwm_env.server.listener import Listener
from cwm_env.server.pending import Pending


class KnownEpisode:
    """By itself: an episode that ended with the server that ran it. ``LiveEpisode`` is one that runs."""

    state: wire.State = "lost"

    def __init__(self, episode_id: str, owner: str, task_id: str, *, home: Path, lease: float) -> None:
        """
        Args:
            home: directory of journals.
            lease: seconds.
        """
        self.id, self.owner, self.task_id, self.lease = episode_id, owner, task_id, lease
        self.request_id: str | None = None
        self.failure: str | None = None
        self.error = ""
        self.steps = 0
        self.first: tuple[str, dict[str, Any]] | None = None
        """The first observation and its info; None before there is one."""
        self.path = home / f"{episode_id}.jsonl"
        self.expires = time.monotonic() + lease
        self._answers: dict[str, Answer] = {}

    @classmethod
    def restored(cls, past: journal.Past, home: Path, lease: float) -> KnownEpisode:
        """The episode whose journal another server left; it has an end."""
        begun, end = past.begun, past.end
        assert end is not None
        found = cls(begun["episode"], begun["owner"], begun["task"], home=home, lease=lease)
        found.state = "lost" if end["failure"] == "lost" else "ended"
        found.request_id = begun["request_id"]
        found.failure, found.error = end["failure"], end["error"]
        found.first = begun["observation"], dict(begun["info"])
        found._answers, found.steps = past.answers, len(past.steps)
        return found

    def renew(self) -> None:
        """The lease begins anew."""
        self.expires = time.monotonic() + self.lease

    @property
    def over(self) -> bool:
        """Whether no further step can run."""
        return self.state in ("ended", "failed", "lost")

    @property
    def expired(self) -> bool:
        """Whether nobody has asked for it for the length of its lease, and nothing runs in it."""
        return time.monotonic() > self.expires

    def answered(self, step_id: str, action: str) -> bytes | None:
        """The answer that was given to a step, whose asking renews the lease; None if it was none.

        Raises:
            Problem: the id was used for another action.
        """
        kept = self._answers.get(step_id)
        if kept is None:
            return None
        self.renew()
        if kept.action != hash(action):
            raise problems.conflict(step_id)
        return journal.read_answer(self.path, kept)

    def step(self, step_id: str, action: str, listener: Listener | None = None) -> bytes | Pending:
        """The answer that was given to a step. Nothing is heard by a listener: nothing runs.

        Raises:
            Problem: it was given none, and will not be any more.
        """
        self.renew()
        kept = self.answered(step_id, action)
        if kept is None:
            raise problems.over(self.state, self.failure, self.error)
        return kept

    def status(self) -> wire.EpisodeStatus:
        """Where it stands."""
        observation, info = self.first or (None, None)
        return wire.EpisodeStatus(
            episode_id=self.id,
            state=self.state,
            observation=observation,
            info=info,
            lease_seconds=self.lease,
            task=self.task_id,
            steps=self.steps,
            lease_left=max(0.0, self.expires - time.monotonic()),
            failure=self.failure,
            error=self.error,
        )
