"""Episodes that step while everything around them fails, and an account of what was promised to each."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from typing import Any

from cwm_env.client.aio import AsyncClient
from cwm_env.errors import EpisodeLost, InfrastructureError
from cwm_env.session.resume import MISSED
from tests.envs.small import FIX

COUNT = "echo x >> /tmp/count; wc -l < /tmp/count"
FILL = "head -c 9G /dev/zero > /tmp/fill; rm /tmp/fill"


@dataclass
class Account:
    """What the clients were told."""

    answers: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """By episode: action and observation of each answered step, in their order."""
    rewards: list[float | None] = field(default_factory=list)
    """Of steps that ended an episode by a verdict."""
    failures: dict[str, int] = field(default_factory=dict)
    """Kinds of failures that clients met."""
    resumed: int = 0
    """Episodes that went on after the server was killed."""
    wrong: list[str] = field(default_factory=list)
    """What must not happen."""

    def failed(self, kind: str) -> None:
        """A failure of the infrastructure was told."""
        self.failures[kind] = self.failures.get(kind, 0) + 1


class Worker:
    """Plays one episode after the other, and misbehaves."""

    def __init__(self, client: AsyncClient, task: str, account: Account, seed: int) -> None:
        self._client, self._task, self._account, self._random = client, task, account, random.Random(seed)
        self._fills = seed == 0  # its disk; one at a time, since it lies in the machine's memory

    async def run(self, over: asyncio.Event) -> None:
        """Until it is over."""
        while not over.is_set():
            try:
                episode = await self._client.create(self._task, limits={"turns": 1000})
            except InfrastructureError as error:
                self._account.failed(error.kind)
                continue
            self._account.answers[episode.id] = []
            try:
                await self._play(episode.id, over)
            except EpisodeLost as error:
                self._account.failed(error.kind)
            except InfrastructureError as error:
                self._account.failed(error.kind)

    async def _play(self, episode: str, over: asyncio.Event) -> None:
        counted, fixed = 0, False
        for number in range(1, self._random.randint(3, 25)):
            if over.is_set():
                return
            await asyncio.sleep(self._random.random() * 0.3)
            chance = self._random.random()
            if chance < 0.01:
                with contextlib.suppress(Exception):
                    await self._client.raw("DELETE", f"/episodes/{episode}/sandbox")
            action = f"{COUNT} # {number}"
            if chance > 0.9 and self._fills:
                action = f"{FILL} # {number}"
            elif chance > 0.97:
                action, fixed = f"{FIX} # {number}", True
            answer = await self._step(episode, str(number), action)
            if self._over(answer):
                return
            if action.startswith(COUNT):
                counted += 1
                if not answer["observation"].startswith((f"{counted}\n", MISSED)):
                    self._account.wrong.append(f"{episode}: {counted} expected, {answer['observation']!r}")
        answer = await self._step(episode, "last", "submit # last")
        if answer["terminated"]:
            self._account.rewards.append(answer["reward"])
            if answer["reward"] != (1.0 if fixed else 0.0):
                self._account.wrong.append(f"{episode}: a reward of {answer['reward']}, fixed: {fixed}")
        else:
            self._over(answer)

    async def _step(self, episode: str, step_id: str, action: str) -> Any:
        """A step whose client may vanish while it runs, and ask again."""
        body = {"action": action, "step_id": step_id}
        asking = self._client.json("POST", f"/episodes/{episode}/step", body)
        if self._random.random() < 0.1:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asking, self._random.random() * 0.01)
            asking = self._client.json("POST", f"/episodes/{episode}/step", body)
        answer = await asking
        self._account.answers[episode].append((action, answer["observation"]))
        return answer

    def _over(self, answer: Any) -> bool:
        if not answer["truncated"]:
            return False
        if answer["reward"] is not None or "failure" not in answer["info"]:
            self._account.wrong.append(f"a failure with a reward: {answer}")
        self._account.failed(answer["info"]["failure"])
        return True
