"""The whole table of inputs that broke other runtimes, on the Docker engine with runc and with gVisor."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cwm_env.errors import SandboxError
from cwm_env.sandbox.base import Sandbox
from cwm_env.sandbox.conformance import KNOWN_SESSIONS
from cwm_env.sandbox.docker.backend import DockerBackend
from cwm_env.sandbox.run import run
from cwm_env.session import BashSession
from cwm_env.types import Image, Limits
from tests.session.cases import CASES, Case
from tests.session.conftest import ENV, AsyncDriver, Driver, end

_LEAVE_DAMAGE = 20
"""From this row on, cases get a sandbox of their own."""


class Boxes:
    """Sandboxes for cases: most share one, which is cleaned in between."""

    def __init__(self, backend: DockerBackend, image: Image) -> None:
        self._backend, self._image = backend, image
        self._shared: Sandbox | None = None
        self._own: Sandbox | None = None

    def take(self, case: Case) -> Sandbox:
        if case.row >= _LEAVE_DAMAGE:
            self._own = self._backend.create(self._image, Limits())
            return self._own
        if self._shared is None:
            self._shared = self._backend.create(self._image, Limits())
        return self._shared

    def give_back(self) -> None:
        if self._own:
            self._own.close()
            self._own = None
        elif self._shared:
            self._shared.kill_processes()
            run(self._shared, ["sh", "-c", "rm -rf /tmp/* /tmp/.[!.]*"], timeout=20)


@pytest.fixture(scope="module")
def boxes(docker_backend: DockerBackend, gvisor_backend: DockerBackend, debian: Image) -> dict[str, Boxes]:
    return {"docker": Boxes(docker_backend, debian), "docker:runsc": Boxes(gvisor_backend, debian)}


@pytest.fixture
def box(request: pytest.FixtureRequest, boxes: dict[str, Boxes], backend_name: str) -> Iterator[Sandbox]:
    yield boxes[backend_name].take(request.node.callspec.params["case"])
    boxes[backend_name].give_back()


# gVisor in one driver, for time: what lies below a session is the same for both.
@pytest.mark.parametrize(
    ("backend_name", "driver"),
    [
        pytest.param("docker", BashSession, id="runc-blocking"),
        pytest.param("docker", AsyncDriver, id="runc-asyncio"),
        pytest.param("docker:runsc", BashSession, id="runsc-blocking"),
    ],
)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_after(case: Case, backend_name: str, driver: type[BashSession] | type[AsyncDriver], box: Sandbox) -> None:
    known = KNOWN_SESSIONS.get(backend_name, {}).get(case.name)
    session = driver(box, env=ENV, command_timeout=20)
    try:
        _play(case, session)
    except (AssertionError, SandboxError):
        if known is None:
            raise
        pytest.xfail(known)
    finally:
        end(session)


def _play(case: Case, session: Driver) -> None:
    for command in case.before:
        assert not session.run(command).shell_restarted
    for index, (command, expect) in enumerate(case.turns):
        result = session.run(command, timeout=case.timeout if index == 0 else None)
        assert not (wrong := expect.wrong(result)), f"after {command[:200]!r}: {wrong}"


def test_differences_are_declared_of_cases_that_exist() -> None:
    assert {case for declared in KNOWN_SESSIONS.values() for case in declared} <= {case.name for case in CASES}
