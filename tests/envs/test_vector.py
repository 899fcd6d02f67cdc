"""Many environments at once: whoever is ready first, and Gymnasium's vector of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from cwm_env import BashEnv
from cwm_env.envs.vector import BashVectorEnv, FirstReadyPool, ShellVectorEnv
from cwm_env.errors import InputError
from tests.envs.small import FIX


@pytest.fixture
def pool(small_task: Path) -> Iterator[FirstReadyPool]:
    """Three environments."""
    made = FirstReadyPool([lambda: BashEnv(small_task, turns=3)] * 3)
    yield made
    made.close()


@pytest.fixture
def vector(small_task: Path) -> Iterator[ShellVectorEnv]:
    """Two environments in step."""
    made = BashVectorEnv([lambda: BashEnv(small_task, turns=3)] * 2)
    yield made
    made.close()


def test_whoever_is_ready_first_comes_first(pool: FirstReadyPool) -> None:
    pool.async_reset()
    assert sorted(one.id for one in pool.recv(3)) == [0, 1, 2]
    pool.send(["sleep 1; echo slow", "sleep 0.4; echo middle", "echo quick"], [0, 1, 2])
    answers = [one for _ in range(3) for one in pool.recv(1)]
    assert [(one.id, one.observation.split("\n")[0]) for one in answers] == [(2, "quick"), (1, "middle"), (0, "slow")]


def test_an_episode_that_is_over_begins_anew_with_the_next_action(pool: FirstReadyPool) -> None:
    pool.async_reset([1])
    pool.recv()
    pool.send([f"{FIX}; submit"], [1])
    (end,) = pool.recv()
    assert end.over and end.reward == 1.0
    pool.send(["ignored"], [1])
    (begin,) = pool.recv()
    assert not begin.over and "doubling" in begin.observation and begin.info["turns_left"] == 3


def test_a_pool_says_what_it_cannot_do(pool: FirstReadyPool) -> None:
    with pytest.raises(InputError, match="cannot come"):
        pool.recv()
    with pytest.raises(InputError, match="no environment 7"):
        pool.async_reset([7])
    pool.async_reset([0])
    with pytest.raises(InputError, match="has not answered yet"):
        pool.send(["true"], [0])
    with pytest.raises(InputError, match="do not fit"):
        pool.send(["true"], [1, 2])
    pool.recv()


def test_a_vector_has_gymnasiums_shapes_and_resets_on_the_next_step(vector: ShellVectorEnv) -> None:
    assert vector.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    observations, infos = vector.reset(seed=5)
    assert vector.observation_space.contains(observations) and list(infos["turns_left"]) == [3, 3]
    observations, rewards, terminated, truncated, infos = vector.step(["submit", "echo on"])
    assert observations[1].startswith("on\n") and vector.observation_space.contains(observations)
    assert rewards.dtype == np.float64 and terminated.tolist() == [True, False] and truncated.tolist() == [False] * 2
    assert infos["grade"][0].outcome == "unresolved" and infos["_grade"].tolist() == [True, False]
    observations, rewards, terminated, truncated, infos = vector.step(["ignored", "echo again"])
    assert "doubling" in observations[0] and observations[1].startswith("again\n")
    assert not terminated.any() and rewards.tolist() == [0.0, 0.0] and infos["turns_left"].tolist() == [3, 1]
    assert vector.step(["true", "true"])[3].tolist() == [False, True]
