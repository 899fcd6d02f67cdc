"""One store for the whole run, so that the layers below are built once; recipes are cheap ones without packages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cwm_env.images import ImageStore
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.sandbox.run import Completed, run
from cwm_env.types import Image, Limits

Write = Callable[[str], str]
Inside = Callable[..., Completed]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    """A store that the whole run shares."""
    return ImageStore(tmp_path_factory.mktemp("images"))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the text of a recipe; returns what ``ImageStore.get`` takes. The same directory each time."""

    def write(text: str) -> str:
        directory = tmp_path / "environment"
        directory.mkdir(exist_ok=True)
        (directory / "image.toml").write_text(text)
        return str(directory)

    return write


@pytest.fixture
def inside(backend: NamespacesBackend) -> Inside:
    """Runs a script in a fresh sandbox of an image, as the image's user unless another is named."""

    def inside(image: Image, script: str, user: str = "") -> Completed:
        sandbox = backend.create(image, Limits())
        try:
            command = ["bash", "-c", script]
            return run(sandbox, command, env=image.env, cwd=image.workdir, user=user or image.user, timeout=60)
        finally:
            sandbox.close()

    return inside


def text(done: Completed) -> str:
    """What a script printed; it must have succeeded."""
    assert done.exit_code == 0, (done.stdout + done.stderr).decode()
    return done.stdout.decode()
