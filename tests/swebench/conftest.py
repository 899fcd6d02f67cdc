"""The small record, its image, and an evaluator of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cwm_env.images import ImageStore
from cwm_env.sandbox.base import Backend
from cwm_env.swebench import Evaluator, Official
from cwm_env.tasks.swebench import Record
from cwm_env.types import Image
from tests.swebench.small import small_record, write_recipe

MakeEvaluator = Callable[..., Evaluator]


@pytest.fixture(scope="session")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """The small record."""
    return small_record(tmp_path_factory.mktemp("record"))


@pytest.fixture(scope="session")
def small_image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Its image."""
    return ImageStore().get(str(write_recipe(tmp_path_factory.mktemp("recipe") / "small")))


@pytest.fixture(scope="session")
def official() -> Iterator[Official]:
    """The official package."""
    with Official() as made:
        yield made


@pytest.fixture
def evaluator(tmp_path: Path, backend: Backend, small_image: Image, official: Official) -> Evaluator:
    """Writes into ``tmp_path / "out"``."""
    return Evaluator(
        tmp_path / "out", "test", backend=backend, images=lambda _: small_image, official=official, timeout=60
    )
