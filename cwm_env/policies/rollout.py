"""Episodes from their first observation to their last, one or many."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from cwm_env.errors import InfrastructureError
from cwm_env.policies.base import Policy
from cwm_env.threads import run_all
from cwm_env.trajectories.record import RecordEpisode
from cwm_env.types import Task, Trajectory

Keep = Callable[[Trajectory], None]
"""Takes each trajectory as soon as its episode has ended, e.g. ``TrajectoryStore(path).append``."""


def rollout(env: Any, policy: Policy, keep: Keep, *, seed: int | None = None, watch: Callable[[str], None]) -> None:
    """Let ``policy`` act in a ``BashEnv`` until the episode ends.

    Whatever ends the episode, its trajectory goes to ``keep``: a failure of the infrastructure (of the policy's
    endpoint as well) is said there and raises nothing.

    Args:
        watch: is told, in a word or two, where the episode stands.

    Raises:
        InputError: the policy cannot act in the task.
    """
    ended_as: list[Trajectory] = []
    policy.begin(env.task)
    recorded = RecordEpisode(env, ended_as.append, policy=policy.name)
    try:
        env.prepare(watch)
        watch("starting")
        observation, _ = recorded.reset(seed=seed)
        steps, ended = 0, False
        while not ended:
            watch(f"step {steps + 1}")
            observation, _, terminated, truncated, _ = recorded.step(policy.act(observation))
            steps, ended = steps + 1, terminated or truncated
    except InfrastructureError as error:
        if not recorded.cut_short(error.kind, str(error)):  # it failed before the episode began
            failed = Trajectory(env.task.id, "", (), None, error.kind, str(error), policy=policy.name, seed=seed)
            ended_as.append(failed)
    except BaseException:
        recorded.cut_short("interrupted")
        raise
    finally:  # out here, so that a failure to keep one is not taken for a failure of the episode
        for trajectory in ended_as:
            keep(trajectory)


class Rollouts:
    """Many episodes, a bounded number at once, each in a thread of its own."""

    def __init__(
        self,
        tasks: Sequence[Task],
        make_env: Callable[[Task], Any],
        make_policy: Callable[[], Policy],
        *,
        keep: Keep = lambda _: None,
        watch: Callable[[int, str], None] = lambda *_: None,
        parallel: int = 1,
        seed: int | None = None,
    ) -> None:
        """Nothing is started before ``run``.

        Args:
            make_env: makes the ``BashEnv`` of one episode.
            watch: is told the index of a task and, in a word or two, where its episode stands.
            parallel: episodes at once.
            seed: of the first episode; each further one gets the next number.
        """
        self._tasks, self._make_env, self._make_policy = tasks, make_env, make_policy
        self._keep, self._watch, self._parallel, self._seed = keep, watch, parallel, seed
        self._stopped = threading.Event()
        self.trajectories: dict[int, Trajectory] = {}
        """Trajectories by the index of their task, as they come."""

    def run(self, *, tick: Callable[[], None] = lambda: None, interrupt: Callable[[], None] = lambda: None) -> None:
        """Run all episodes, and wait for them.

        Args:
            tick: called several times a second in the calling thread.
            interrupt: called when this thread is interrupted, again and again until every episode has ended: it takes
                their sandboxes away, so that those that run end at once; their failure is ``interrupted``.

        Raises:
            CwmEnvError: the first that an episode raised; the others were run to their end.
        """

        def stop() -> None:
            self._stopped.set()
            interrupt()

        calls = [partial(self._episode, index) for index in range(len(self._tasks))]
        run_all(calls, self._parallel, tick=tick, interrupt=stop, name="episode")

    def _episode(self, index: int) -> None:
        task = self._tasks[index]
        self._watch(index, "image")
        env = self._make_env(task)
        try:
            seed = None if self._seed is None else self._seed + index
            rollout(
                env,
                self._make_policy(),
                lambda trajectory: self._take(index, trajectory),
                seed=seed,
                watch=lambda text: self._watch(index, text),
            )
        finally:
            env.close()

    def _take(self, index: int, trajectory: Trajectory) -> None:
        if self._stopped.is_set() and trajectory.failure:
            trajectory = replace(trajectory, failure="interrupted", error="")
        self.trajectories[index] = trajectory
        self._keep(trajectory)
        self._watch(index, "done")
