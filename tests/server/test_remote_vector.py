"""``RemoteVectorEnv`` is ``BashVectorEnv`` with the episodes on a server, and pools take remote environments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cwm_env import RemoteEnv
from cwm_env.client.vector import RemoteVectorEnv
from cwm_env.envs.vector import FirstReadyPool
from tests.envs.test_vector import (  # the very same tests
    test_a_pool_says_what_it_cannot_do,
    test_a_vector_has_gymnasiums_shapes_and_resets_on_the_next_step,
    test_an_episode_that_is_over_begins_anew_with_the_next_action,
    test_whoever_is_ready_first_comes_first,
)
from tests.server.conftest import Server
from tests.server.proxy import BadNetwork

__all__ = [
    "test_a_pool_says_what_it_cannot_do",
    "test_a_vector_has_gymnasiums_shapes_and_resets_on_the_next_step",
    "test_an_episode_that_is_over_begins_anew_with_the_next_action",
    "test_whoever_is_ready_first_comes_first",
]


@pytest.fixture
def pool(small_task: Path, server: Server) -> Iterator[FirstReadyPool]:
    """Three remote environments."""
    made = FirstReadyPool([lambda: RemoteEnv(small_task, url=server.url, turns=3)] * 3)
    yield made
    made.close()


@pytest.fixture
def vector(small_task: Path, server: Server) -> Iterator[RemoteVectorEnv]:
    """Two remote environments in step."""
    made = RemoteVectorEnv([str(small_task)] * 2, url=server.url, limits={"turns": 3})
    yield made
    made.close()


def test_a_bad_network_changes_nothing(small_task: Path, server: Server) -> None:
    with BadNetwork(server.port, seed=11, lose=0.2, twice=0.0) as network:
        vector = RemoteVectorEnv([str(small_task)] * 4, url=network.url, limits={"turns": 50})
        vector.reset()
        for number in range(1, 13):
            observations, *_ = vector.step(["echo x >> /tmp/count; wc -l < /tmp/count"] * 4)
            assert [one.split("\n")[0] for one in observations] == [str(number)] * 4
        vector.close()
