"""What the tests of sessions share: each way of driving one, on each backend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest

from cwm_env.sandbox.base import Backend, Sandbox
from cwm_env.sandbox.registry import backend as backend_named
from cwm_env.session import AsyncBashSession, BashSession
from cwm_env.types import CommandResult

ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}


class Driver(Protocol):
    """A session, however it is driven."""

    def run(self, command: str, *, timeout: float | None = None) -> CommandResult: ...

    def close(self) -> None: ...


class AsyncDriver:
    """An asyncio session on a loop of its own, which runs while a command does."""

    def __init__(self, sandbox: Sandbox, **settings: Any) -> None:
        self._runner = asyncio.Runner()
        self._ended = False
        try:
            self._session = self._runner.run(AsyncBashSession.open(sandbox, **settings))
        except BaseException:
            self._runner.close()
            raise

    def run(self, command: str, *, timeout: float | None = None) -> CommandResult:
        return self._runner.run(self._session.run(command, timeout=timeout))

    def close(self) -> None:
        if not self._ended:
            self._runner.run(self._session.close())

    def end(self) -> None:
        """Close the loop, too. Idempotent."""
        self.close()
        self._ended = True
        self._runner.close()


def end(driver: Driver) -> None:
    """Close a session, and the loop that it may have."""
    driver.close()
    if isinstance(driver, AsyncDriver):
        driver.end()


@pytest.fixture(scope="session", params=["namespaces"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Every backend that a session must work on."""
    made = backend_named(request.param)
    yield made
    made.close()


@pytest.fixture(params=[BashSession, AsyncDriver], ids=["blocking", "asyncio"])
def open_session(request: pytest.FixtureRequest, sandbox: Sandbox) -> Iterator[Callable[..., Driver]]:
    """Opens sessions in the sandbox, driven in each of the ways; they are closed after the test."""
    opened: list[Driver] = []

    def make(**settings: Any) -> Driver:
        driver: Driver = request.param(sandbox, **{"env": ENV, "command_timeout": 20, **settings})
        opened.append(driver)
        return driver

    yield make
    for driver in opened:
        end(driver)


@pytest.fixture
def bash(open_session: Callable[..., Driver]) -> Iterator[Driver]:
    """A session; after the test the next command must work."""
    session = open_session(flag_file="/tmp/flag")
    yield session
    after = session.run("echo alive")
    assert (after.output, after.exit_code) == ("alive\n", 0)
