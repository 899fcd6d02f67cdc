"""A Docker engine, a registry, gVisor: `scripts/services start` says where they are; without them these tests skip."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cwm_env.images import ImageStore
from cwm_env.paths import cache_dir
from cwm_env.sandbox.docker.backend import DockerBackend
from cwm_env.sandbox.small import make_small_image
from cwm_env.types import Image
from tests.docker.debian import on_debian
from tests.envs.small import write_task

ENGINE, REGISTRY = os.environ.get("CWM_ENV_TEST_ENGINE"), os.environ.get("CWM_ENV_TEST_REGISTRY")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say why, where there is no engine."""
    if ENGINE is None:
        here = str(Path(__file__).parent)
        for item in items:
            if str(item.path).startswith(here):
                item.add_marker(
                    pytest.mark.skip(reason="no Docker engine: scripts/services start, as root of a Debian")
                )


@pytest.fixture(scope="package", autouse=True)
def engine() -> Iterator[str]:
    """The engine's address, which everything in these tests finds by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", ENGINE or "")
        yield ENGINE or ""


@pytest.fixture(scope="package")
def registry() -> str:
    """The registry's address."""
    assert REGISTRY
    return REGISTRY


@pytest.fixture(scope="package")
def small(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """A small image of the machine's own programs."""
    return make_small_image(tmp_path_factory.mktemp("small") / "layer")


@pytest.fixture(scope="package")
def docker_backend() -> Iterator[DockerBackend]:
    """The engine's default runtime."""
    made = DockerBackend()
    yield made
    made.close()


def docker(*arguments: str) -> str:
    """What a docker command prints."""
    environment = {**os.environ, "DOCKER_HOST": ENGINE or ""}
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="package")
def store() -> ImageStore:
    """Images that take long to build, kept between runs."""
    return ImageStore(cache_dir() / "tests-docker")


@pytest.fixture(scope="package")
def debian(store: ImageStore, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """A Debian with Python, procps, less and git."""
    directory = tmp_path_factory.mktemp("debian")
    return store.get(on_debian(write_task(directory), directory / "images").image)


@pytest.fixture(scope="package")
def gvisor_backend() -> Iterator[DockerBackend]:
    """Containers under gVisor."""
    made = DockerBackend("runsc")
    yield made
    made.close()
