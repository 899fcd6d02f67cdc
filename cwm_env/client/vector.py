"""``RemoteVectorEnv``: many episodes of one server in step, two requests for all of them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cwm_env import wire
from cwm_env.client.http import Http, pauses
from cwm_env.envs.episode import Stepped, failed
from cwm_env.envs.vector import ShellVectorEnv
from cwm_env.errors import InfrastructureError, RemoteError

_SILENCE_SECONDS = 3600.0  # as long as the slowest command of a batch may take


class RemoteVectorEnv(ShellVectorEnv):
    """Episodes on a server, stepped by batches. What a broken connection left unanswered is asked for again."""

    def __init__(
        self,
        tasks: Sequence[str],
        backend: str = "namespaces",
        *,
        url: str = "http://127.0.0.1:8000",
        token: str | None = None,
        limits: Mapping[str, float] | None = None,
        policy: str = "",
        patience: float = 60.0,
    ) -> None:
        """
        Args:
            tasks: one for each environment.
            limits: ``command_timeout``, ``turns``, ``episode_timeout``, ``output``, in place of the tasks'.
            patience: seconds for which a server that is away or full is asked again.

        The others are as for ``RemoteEnv``.
        """
        super().__init__(len(tasks))
        common = {"backend": backend, "limits": dict(limits or {}), "policy": policy}
        self._requests = [{"task": str(task), **common} for task in tasks]
        self._patience = patience
        # Resets and steps go on at the same time, so each has a connection of its own.
        self._resets, self._steps = (Http(url, token, timeout=_SILENCE_SECONDS, patience=patience) for _ in range(2))
        self._thread = ThreadPoolExecutor(1, "resets")
        self._episodes: dict[int, str] = {}
        self._about: dict[int, dict[str, Any]] = {}
        self._count = 0

    def close_extras(self, **kwargs: Any) -> None:
        """End the episodes."""
        for number in list(self._episodes):
            self._end(number)
        self._thread.shutdown()
        self._resets.close()
        self._steps.close()

    def _advance(self, resets: Mapping[int, int | None], actions: Mapping[int, str]) -> dict[int, Stepped]:
        beginning = self._thread.submit(self._begin, resets) if resets else None
        answers = self._act(actions) if actions else {}
        return {**answers, **(beginning.result() if beginning else {})}

    def _begin(self, seeds: Mapping[int, int | None]) -> dict[int, Stepped]:
        for number in seeds:
            self._end(number)
        waiting = {
            number: {**self._requests[number], "seed": seed, "request_id": secrets.token_hex(12)}
            for number, seed in seeds.items()
        }
        found: dict[int, Stepped] = {}
        for numbers in self._tries(waiting):
            body = {"episodes": [waiting[number] for number in numbers]}
            for line in self._resets.lines("POST", "/episodes:batch", body):
                number = numbers[line["index"]]
                if "problem" in line:
                    if not wire.to_retry(line["problem"]):
                        raise wire.error_of(line["problem"])
                    continue
                made = line["answer"]
                info = wire.decode_info(made["info"])
                self._episodes[number], self._about[number] = made["episode_id"], info
                found[number] = (made["observation"], 0.0, False, False, info)
                del waiting[number]
        return found

    def _act(self, actions: Mapping[int, str]) -> dict[int, Stepped]:
        self._count += 1
        ids = {self._episodes[number]: number for number in actions}
        waiting = dict(actions)
        found: dict[int, Stepped] = {}
        try:
            for numbers in self._tries(waiting):
                steps = [
                    {"episode_id": self._episodes[number], "step_id": str(self._count), "action": actions[number]}
                    for number in numbers
                ]
                for line in self._steps.lines("POST", "/steps", {"steps": steps}):
                    number = ids[line["episode_id"]]
                    found[number] = self._answered(number, line)
                    waiting.pop(number, None)
        except RemoteError as error:
            found |= {number: self._failed(number, error) for number in waiting}
        for number, stepped in found.items():
            if stepped[2] or stepped[3]:
                self._episodes.pop(number, None)
        return found

    def _tries(self, waiting: Mapping[int, Any]) -> Iterator[list[int]]:
        """What is still waited for, again and again until nothing is, or patience ends."""
        deadline = time.monotonic() + self._patience
        for pause in pauses():
            if not waiting:
                return
            if time.monotonic() > deadline:
                raise RemoteError(f"the server did not answer for {self._patience:g} seconds")
            yield list(waiting)
            if waiting:
                time.sleep(pause)

    def _answered(self, number: int, line: Mapping[str, Any]) -> Stepped:
        if "problem" in line:
            error = wire.error_of(line["problem"])
            if not isinstance(error, InfrastructureError):
                raise error
            return self._failed(number, error)
        stepped = wire.decode_stepped(line["answer"])
        self._about[number]["turns_left"] = stepped[4]["turns_left"]
        return stepped

    def _failed(self, number: int, error: InfrastructureError) -> Stepped:
        about = self._about[number]
        return failed({name: about[name] for name in ("task", "image", "turns_left")}, error)

    def _end(self, number: int) -> None:
        episode_id = self._episodes.pop(number, None)
        if episode_id is not None:
            self._resets.raw("DELETE", f"/episodes/{episode_id}")
