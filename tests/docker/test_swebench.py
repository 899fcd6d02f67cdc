"""Official images of SWE-bench, from a registry: an episode finds their conda environment without activating it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from cwm_env.cli.swebench import swebench
from cwm_env.envs import BashEnv
from cwm_env.errors import RecipeError
from cwm_env.images import ImageStore
from cwm_env.tasks.swebench import keep
from tests.docker.conftest import docker
from tests.docker.test_images import base  # noqa: F401 - a fixture
from tests.images.swebench.small import record

DOCKERFILE = """
FROM {base}
ENV PATH=/opt/miniconda3/bin:/usr/bin:/bin
RUN mkdir -p /opt/miniconda3/envs/testbed/bin /opt/miniconda3/bin /testbed && \\
    printf '#!/bin/sh\\necho base\\n' > /opt/miniconda3/bin/python && \\
    printf '#!/bin/sh\\necho testbed\\n' > /opt/miniconda3/envs/testbed/bin/python && \\
    chmod 755 /opt/miniconda3/bin/python /opt/miniconda3/envs/testbed/bin/python
WORKDIR /testbed
"""


@pytest.fixture(scope="module")
def pushed(base: str, registry: str, tmp_path_factory: pytest.TempPathFactory) -> str:  # noqa: F811
    """An image in the official layout, in the registry; the registry."""
    context = tmp_path_factory.mktemp("official")
    (context / "Dockerfile").write_text(DOCKERFILE.format(base=base))
    name = f"{registry}/example/doubling-1:latest"
    docker("build", "--quiet", "--tag", name, str(context))
    docker("push", "--quiet", name)
    return registry


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    """A cache of its own."""
    monkeypatch.setenv("CWM_ENV_CACHE", str(tmp_path / "cache"))
    keep([record("a" * 40, 1), record("a" * 40, 2)])
    return ImageStore()


def test_an_official_image_is_fetched_and_entered(store: ImageStore, pushed: str) -> None:
    with pytest.raises(RecipeError, match="swebench build"):
        store.get("swebench:example__doubling-1")
    given = ["--instances", "example__doubling-*", "--from-registry", "--registry", pushed]
    done = CliRunner().invoke(swebench, ["build", *given])
    assert "swebench:example__doubling-1 sha256:" in done.output, done.output
    assert "1 of 2 images could not be built" in done.output, "there is no second one"
    image = store.find("swebench:example__doubling-1")
    assert image is not None and image.env["CONDA_DEFAULT_ENV"] == "testbed"
    assert (image.workdir, image.user) == ("/testbed", "root")
    with BashEnv(task="swebench:example__doubling-1") as env:
        env.reset()
        assert env.step("python; pwd")[4]["result"].output == "testbed\n/testbed\n"


def test_it_is_entered_on_the_engine_too(store: ImageStore, pushed: str) -> None:
    CliRunner().invoke(swebench, ["build", "--instances", "*-1", "--from-registry", "--registry", pushed])
    with BashEnv(task="swebench:example__doubling-1", backend="docker") as env:
        env.reset()
        assert env.step("python; pwd")[4]["result"].output == "testbed\n/testbed\n"
