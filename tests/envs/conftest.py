"""Environments of the small task."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cwm_env import BashEnv
from tests.envs.small import write_task


@pytest.fixture(scope="session")
def small_task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the small task."""
    return write_task(tmp_path_factory.mktemp("tasks"))


@pytest.fixture
def env(small_task: Path) -> Iterator[BashEnv]:
    """An environment of the small task, not yet reset."""
    made = BashEnv(small_task)
    yield made
    made.close()
