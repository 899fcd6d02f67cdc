"""The whole table of inputs that broke other runtimes, on the Docker engine with runc and with gVisor."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cwm_env.sandbox.base import Sandbox
from cwm_env.sandbox.docker.backend import DockerBackend
from cwm_env.sandbox.run import run
from cwm_env.session import BashSession
from cwm_env.types import Image, Limits
from tests.session.cases import CASES, Case
from tests.session.conftest import ENV, AsyncDriver, end

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


@pytest.fixture(scope="module", params=["runc", "runsc"])
def boxes(
    request: pytest.FixtureRequest, docker_backend: DockerBackend, gvisor_backend: DockerBackend, debian: Image
) -> Boxes:
    return Boxes(docker_backend if request.param == "runc" else gvisor_backend, debian)


@pytest.fixture
def box(request: pytest.FixtureRequest, boxes: Boxes) -> Iterator[Sandbox]:
    yield boxes.take(request.node.callspec.params["case"])
    boxes.give_back()


@pytest.mark.parametrize("driver", [BashSession, AsyncDriver], ids=["blocking", "asyncio"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_after(case: Case, driver: type[BashSession] | type[AsyncDriver], box: Sandbox) -> None:
    session = driver(box, env=ENV, command_timeout=20)
    try:
        for command in case.before:
            assert not session.run(command).shell_restarted
        for index, (command, expect) in enumerate(case.turns):
            result = session.run(command, timeout=case.timeout if index == 0 else None)
            assert not (wrong := expect.wrong(result)), f"after {command[:200]!r}: {wrong}"
    finally:
        end(session)
