"""A warm pool hands out whole sandboxes at once, and fills itself again."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from cwm_env.sandbox.base import Program
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.session import BashSession
from cwm_env.session.protocol import ARGV
from cwm_env.types import Image, Limits
from tests.sandbox.test_lifecycle import eventually
from tests.sandbox.tools import said, shell

LIMITS = Limits(cpus=1.5)
BASH = Program(ARGV, {"PATH": "/usr/bin:/bin"}, "/repo", "root", shell_loop=True)


@pytest.fixture
def warm(image: Image) -> Iterator[NamespacesBackend]:
    made = NamespacesBackend()
    made.warm(image, LIMITS, size=3, program=BASH)
    (pool,) = made._pools.values()
    assert eventually(lambda: len(pool) == 3)
    yield made
    made.close()


def test_a_session_begins_in_a_bash_that_was_waiting(warm: NamespacesBackend, image: Image) -> None:
    (pool,) = warm._pools.values()
    sandbox = warm.create(image, LIMITS)
    assert len(pool) <= 3
    with BashSession(sandbox, env=BASH.env, cwd="/repo") as bash:
        assert bash.run("echo $PPID $$; pwd").output == "1 2\n/repo\n"
    other = sandbox.spawn(ARGV, env=BASH.env, cwd="/repo", shell_loop=True)
    assert other.pid != 2
    other.close()
    assert eventually(lambda: len(pool) == 3)
    sandbox.close()


def test_a_sandbox_that_died_in_the_pool_is_not_handed_out(warm: NamespacesBackend, image: Image) -> None:
    (pool,) = warm._pools.values()
    for waiting in list(pool._ready):
        waiting.break_down("die")
    time.sleep(0.1)
    sandbox = warm.create(image, LIMITS)
    assert said(shell(sandbox, "echo whole")) == "whole"
    sandbox.close()


def test_other_limits_get_a_fresh_sandbox_and_a_pool_of_none_ends(warm: NamespacesBackend, image: Image) -> None:
    warm.create(image, Limits()).close()
    (pool,) = warm._pools.values()
    assert len(pool) == 3
    warm.warm(image, LIMITS, size=0)
    assert not warm._pools and len(pool) == 0 and not warm._alive
    warm.create(image, LIMITS).close()
