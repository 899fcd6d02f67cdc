"""What every test can ask for: a throwaway image of the machine's own programs, and a sandbox of it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from cwm_env.sandbox.base import Sandbox
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.types import Image, Limits
from tests.turns import turn

PASSWD = "root:x:0:0:root:/root:/bin/bash\nagent:x:1000:1000::/tmp:/bin/bash\nnobody:x:65534:65534::/tmp:/bin/sh\n"

# How long a case takes says nothing here: machines are shared. Fixtures that all cases of a test share are meant.
_SHARED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile("cwm_env", deadline=None, suppress_health_check=_SHARED)
settings.load_profile("cwm_env")


def pytest_addoption(parser: pytest.Parser) -> None:
    """What may take long, and how long."""
    repeats = "how often the gold patch of each shipped task is graded; 50 before a release"
    parser.addoption("--grading-repeats", type=int, default=2, help=repeats)
    parser.addoption("--chaos", default="12", help="seconds of the server's chaos test; more than 60: 200 episodes")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Nothing runs beside a test that must be alone."""
    with turn(alone=item.get_closest_marker("alone") is not None):
        return (yield)


def make_image(directory: Path) -> Image:
    """One layer of empty directories and links, over the machine's ``/usr``."""
    directory.mkdir(parents=True)
    for name in ("usr", "proc", "dev", "tmp", "run", "etc", "repo", "root"):
        (directory / name).mkdir()
    for name in ("bin", "lib", "lib64", "sbin"):
        if Path("/", name).is_symlink():
            (directory / name).symlink_to(f"usr/{name}")
    (directory / "etc" / "passwd").write_text(PASSWD)
    return Image("throwaway", "sha256:0", (directory,), workdir="/repo", host_mounts=("/usr",))


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """An image that costs nothing to make."""
    return make_image(tmp_path_factory.mktemp("image") / "layer")


@pytest.fixture(scope="session")
def backend() -> Iterator[NamespacesBackend]:
    """The embedded backend, with a spawner of its own."""
    made = NamespacesBackend()
    yield made
    made.close()


@pytest.fixture
def sandbox(backend: NamespacesBackend, image: Image) -> Iterator[Sandbox]:
    """A fresh sandbox."""
    made = backend.create(image, Limits())
    yield made
    made.close()
