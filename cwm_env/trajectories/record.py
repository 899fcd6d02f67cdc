"""A Gymnasium wrapper that turns each episode into a ``Trajectory``."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import gymnasium

from cwm_env.types import Grade, Step, Trajectory


class RecordEpisode(gymnasium.Wrapper[str, str, str, str]):
    """Gives ``keep`` one trajectory per episode: when it ends, or, cut short, at the next ``reset`` or ``close``.

    The reward of an episode that the infrastructure ended is None, never 0.
    """

    def __init__(self, env: gymnasium.Env[str, str], keep: Callable[[Trajectory], None], *, policy: str = "") -> None:
        """Wrap ``env``.

        Args:
            keep: called with each trajectory, e.g. ``TrajectoryStore(path).append``.
            policy: who acts, as it is to stand in the trajectories.
        """
        super().__init__(env)
        self._keep, self._policy = keep, policy
        self._first: dict[str, Any] | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """As the environment's."""
        self.cut_short("abandoned")
        self._started, self._clock = datetime.now(UTC), time.monotonic()
        observation, info = self.env.reset(seed=seed, options=options)
        self._steps: list[Step] = []
        self._seed, self._first = seed, info
        return observation, info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """As the environment's."""
        began = time.monotonic() - self._clock
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._steps.append(Step(action, observation, info.get("result"), float(reward), began))
        if terminated or truncated:
            self._finish(info.get("grade"), info.get("failure"), info.get("error", ""))
        return observation, float(reward), terminated, truncated, info

    def close(self) -> None:
        """As the environment's."""
        self.cut_short("abandoned")
        super().close()

    def cut_short(self, failure: str, error: str = "") -> bool:
        """Keep an episode that has begun and not ended, with what ended it; False where there is none."""
        if self._first is None:
            return False
        self._finish(None, failure, error)
        return True

    def _finish(self, grade: Grade | None, failure: str | None, error: str) -> None:
        assert self._first is not None
        first, self._first = self._first, None
        self._keep(
            made(
                first,
                tuple(self._steps),
                (grade, failure, error),
                policy=self._policy,
                seed=self._seed,
                started=self._started,
                duration=time.monotonic() - self._clock,
            )
        )


def made(
    first: Mapping[str, Any],
    steps: tuple[Step, ...],
    end: tuple[Grade | None, str | None, str],
    *,
    policy: str,
    seed: int | None,
    started: datetime,
    duration: float,
    episode: str = "",
) -> Trajectory:
    """The trajectory of an episode that is over.

    Args:
        first: the ``info`` of its reset.
        end: grade, kind of failure, and one sentence about that; with a failure there is no reward.
    """
    grade, failure, error = end
    return Trajectory(
        task_id=first["task"],
        image_digest=first["image"],
        steps=steps,
        grade=grade,
        failure=failure,
        error=error,
        reward=grade.reward if grade else None if failure else 0.0,
        instruction=first["instruction"],
        policy=policy,
        seed=seed,
        started=started.isoformat(timespec="seconds"),
        duration=duration,
        versions=versions(),
        episode=episode,
    )


def versions() -> dict[str, str]:
    """What made a trajectory: this package, Gymnasium, Python and the kernel."""
    from cwm_env import __version__

    return {
        "cwm_env": __version__,
        "gymnasium": version("gymnasium"),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }
