"""Many environments at once: whichever is ready first, or all in step as Gymnasium has it."""

from __future__ import annotations

import queue
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from cwm_env.envs.episode import Stepped
from cwm_env.envs.spaces import AnyText
from cwm_env.errors import InfrastructureError, InputError

MakeEnv = Callable[[], gymnasium.Env[str, str]]


@dataclass(frozen=True, slots=True)
class Ready:
    """An environment that has answered: the first observation of an episode, or the five values of a step."""

    id: int
    """Its place in the list that the pool was made of."""
    observation: str
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]

    @property
    def over(self) -> bool:
        """Whether its episode has ended; the next action sent to it is not run, but begins another one."""
        return self.terminated or self.truncated


class FirstReadyPool:
    """Environments, local or remote, each in a thread; who is slow holds nobody up.

    ``send`` returns at once, ``recv`` gives what has answered meanwhile. An environment whose episode has ended is
    reset by the next ``send`` to it, whatever the action (Gymnasium's ``AutoresetMode.NEXT_STEP``). A reset that fails
    through the infrastructure is an episode that is truncated at once, with ``failure`` in its info.
    """

    def __init__(self, makers: Sequence[MakeEnv]) -> None:
        """
        Args:
            makers: make the environments, e.g. ``lambda: BashEnv(task)``.
        """
        if not makers:
            raise InputError("a pool needs at least one environment")
        self._envs = [make() for make in makers]
        self._threads = ThreadPoolExecutor(len(self._envs), thread_name_prefix="env")
        self._answers: queue.SimpleQueue[Ready | BaseException] = queue.SimpleQueue()
        self._busy: set[int] = set()
        self._over = set(range(len(self._envs)))

    def __len__(self) -> int:
        return len(self._envs)

    def async_reset(self, ids: Iterable[int] | None = None, *, seeds: Mapping[int, int] | None = None) -> None:
        """Begin episodes, in all environments if none are named.

        Args:
            seeds: by the environment's id.

        Raises:
            InputError: one has not answered yet, or there is none of that id.
        """
        for number in range(len(self._envs)) if ids is None else ids:
            self._start(number, self._reset, number, (seeds or {}).get(number))

    def send(self, actions: Sequence[str], ids: Sequence[int]) -> None:
        """Run one action in each of the named environments.

        Raises:
            InputError: one has not answered yet, or the lengths differ.
        """
        if len(actions) != len(ids):
            raise InputError(f"{len(actions)} actions do not fit {len(ids)} environments")
        for number, action in zip(ids, actions, strict=True):
            if number in self._over:
                self._start(number, self._reset, number, None)
            else:
                self._start(number, self._step, number, action)

    def recv(self, minimum: int = 1) -> list[Ready]:
        """Wait until ``minimum`` environments have answered, and give all that have, in the order in which they did.

        Raises:
            InputError: fewer are busy.
            Exception: whatever an environment raised that is no failure of the infrastructure.
        """
        if minimum > len(self._busy):
            raise InputError(f"{minimum} answers cannot come: {len(self._busy)} environments are busy")
        found: list[Ready] = []
        while len(found) < minimum or not self._answers.empty():
            answer = self._answers.get()
            if isinstance(answer, BaseException):
                raise answer
            self._busy.discard(answer.id)
            if answer.over:
                self._over.add(answer.id)
            found.append(answer)
        return found

    def close(self) -> None:
        """Close every environment, after what runs in it. Idempotent."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        for env in self._envs:
            env.close()

    def _start(self, number: int, work: Callable[..., Ready], *arguments: Any) -> None:
        if not 0 <= number < len(self._envs):
            raise InputError(f"there is no environment {number}: the pool has {len(self._envs)}")
        if number in self._busy:
            raise InputError(f"environment {number} has not answered yet: recv first")
        self._busy.add(number)
        self._over.discard(number)
        self._threads.submit(self._work, number, work, arguments)

    def _work(self, number: int, work: Callable[..., Ready], arguments: tuple[Any, ...]) -> None:
        try:
            answer: Ready | BaseException = work(*arguments)
        except InfrastructureError as error:
            answer = Ready(number, "", 0.0, False, True, {"failure": error.kind, "error": str(error)})
        except BaseException as error:
            self._busy.discard(number)
            answer = error
        self._answers.put(answer)

    def _reset(self, number: int, seed: int | None) -> Ready:
        observation, info = self._envs[number].reset(seed=seed)
        return Ready(number, observation, 0.0, False, False, info)

    def _step(self, number: int, action: str) -> Ready:
        observation, reward, terminated, truncated, info = self._envs[number].step(action)
        return Ready(number, observation, float(reward), terminated, truncated, info)


class ShellVectorEnv(VectorEnv[tuple[str, ...], Sequence[str], NDArray[Any]]):
    """Environments in step: every action waits for the slowest. Observations and actions are tuples of text.

    An environment whose episode has ended is reset by the next step, which ignores its action and rewards 0.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self, count: int) -> None:
        """For ``count`` environments."""
        self.num_envs = count
        self.single_observation_space, self.single_action_space = AnyText(), AnyText()
        self.observation_space = batch_space(self.single_observation_space, count)
        self.action_space = batch_space(self.single_action_space, count)
        self._over: set[int] = set()

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Begin an episode in each environment; one seed counts up from one to the next.

        Raises:
            InfrastructureError: an episode could not begin.
        """
        if options:
            raise InputError(f"reset knows no options, not {', '.join(sorted(options))}")
        if isinstance(seed, int):
            seed = range(seed, seed + self.num_envs)
        seeds = dict(enumerate(seed or ()))
        answers = self._advance({number: seeds.get(number) for number in range(self.num_envs)}, {})
        self._over = {number for number, stepped in answers.items() if stepped[2] or stepped[3]}
        return self._stacked(answers)[0], self._infos(answers)

    def step(
        self, actions: Sequence[str]
    ) -> tuple[tuple[str, ...], NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Run one action in each environment."""
        if len(actions) != self.num_envs:
            raise InputError(f"{len(actions)} actions do not fit {self.num_envs} environments")
        going = {number: action for number, action in enumerate(actions) if number not in self._over}
        answers = self._advance(dict.fromkeys(self._over), going)
        self._over = {number for number, stepped in answers.items() if stepped[2] or stepped[3]}
        observations, *columns = self._stacked(answers)
        rewards, terminated, truncated = (np.array(column) for column in columns)
        return observations, rewards.astype(np.float64), terminated, truncated, self._infos(answers)

    @abstractmethod
    def _advance(self, resets: Mapping[int, int | None], actions: Mapping[int, str]) -> dict[int, Stepped]:
        """Reset some environments, with their seeds, and run an action in others, all at the same time."""

    def _stacked(self, answers: Mapping[int, Stepped]) -> tuple[Any, Any, Any, Any]:
        rows = [answers[number][:4] for number in range(self.num_envs)]
        observations, rewards, terminated, truncated = zip(*rows, strict=True)
        return observations, rewards, terminated, truncated

    def _infos(self, answers: Mapping[int, Stepped]) -> dict[str, Any]:
        infos: dict[str, Any] = {}
        for number in range(self.num_envs):
            infos = self._add_info(infos, answers[number][4], number)
        return infos


class BashVectorEnv(ShellVectorEnv):
    """``ShellVectorEnv`` over any environments of text, each in a thread."""

    def __init__(self, makers: Sequence[MakeEnv]) -> None:
        """
        Args:
            makers: make the environments, e.g. ``[lambda: BashEnv(task)] * 8``.
        """
        self._pool = FirstReadyPool(makers)
        super().__init__(len(makers))

    def close_extras(self, **kwargs: Any) -> None:
        """Close every environment."""
        self._pool.close()

    def _advance(self, resets: Mapping[int, int | None], actions: Mapping[int, str]) -> dict[int, Stepped]:
        seeds = {number: seed for number, seed in resets.items() if seed is not None}
        self._pool.async_reset(resets, seeds=seeds)
        self._pool.send(list(actions.values()), list(actions))
        ready = self._pool.recv(len(resets) + len(actions))
        return {one.id: (one.observation, one.reward, one.terminated, one.truncated, one.info) for one in ready}
