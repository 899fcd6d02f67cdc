"""A result says which limits its command has hit."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Iterator

import pytest

from cwm_env import wire
from cwm_env.sandbox.base import Sandbox
from cwm_env.sandbox.cgroups import Cgroups
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.session import AsyncBashSession, BashSession, TerminalSession
from cwm_env.types import CommandResult, Image, Limits
from tests.sandbox.tools import needs_python

pytestmark = pytest.mark.alone

TIGHT = Limits(cpus=0.5, memory=96 << 20, processes=24, disk=8 << 20)
PYTHON = "/usr/bin/python3 -c"
FORKS = f"""{PYTHON} 'import os, time
while True:
    if os.fork() == 0: time.sleep(2); os._exit(0)' """
COMMANDS = {
    "memory": f"{PYTHON} 'k = [bytes([1]) * (1 << 30)]'",
    "cpus": "timeout 3 bash -c 'while :; do :; done & while :; do :; done'",
    "processes": FORKS,
    "disk": "head -c 20M /dev/zero > /tmp/fill",
    "inodes": "cd /tmp; mkdir many; i=0; while : > many/$((++i)); do :; done; false",
    "files": f"{PYTHON} 'k = [open(\"/dev/null\") for _ in range(1 << 17)]'",
    "output": "head -c 200000 /dev/zero | tr '\\0' x",
}


@pytest.fixture
def tight(backend: NamespacesBackend, image: Image) -> Iterator[Sandbox]:
    made = backend.create(image, TIGHT)
    yield made
    made.close()


def counted(sandbox: Sandbox, limit: str) -> bool:
    usage = sandbox.usage()
    known = {"memory": usage.memory_kills, "cpus": usage.cpu_throttled, "processes": usage.processes_refused}
    return known.get(limit, 0) is not None


@needs_python
@pytest.mark.parametrize("limit", COMMANDS)
def test_a_limit_is_told_by_the_command_that_hit_it(tight: Sandbox, limit: str) -> None:
    if not counted(tight, limit):
        pytest.skip("this machine does not count it")
    with BashSession(tight) as bash:
        hit = bash.run(COMMANDS[limit]).limits_hit
        assert limit in hit and set(hit) <= {limit, "cpus", "processes"}
        assert set(bash.run("true").limits_hit) <= {"cpus", "processes"}


@needs_python
@pytest.mark.parametrize("limit", COMMANDS)
def test_the_asyncio_driver_tells_it_too(tight: Sandbox, limit: str) -> None:
    if not counted(tight, limit):
        pytest.skip("this machine does not count it")

    async def hit() -> tuple[str, ...]:
        async with await AsyncBashSession.open(tight) as bash:
            return (await bash.run(COMMANDS[limit])).limits_hit

    assert limit in asyncio.run(hit())


@needs_python
@pytest.mark.parametrize("limit", ["memory", "disk", "files"])
def test_a_terminal_tells_it_too(tight: Sandbox, limit: str) -> None:
    if not counted(tight, limit):
        pytest.skip("this machine does not count it")
    with contextlib.closing(TerminalSession(tight)) as terminal:
        assert limit in terminal.run(COMMANDS[limit] + "<Enter>", timeout=30).limits_hit


def test_the_time_limit_is_told_with_what_was_full_when_it_came(tight: Sandbox) -> None:
    full = 'ulimit -n 40; for i in {3..39}; do eval "exec $i</dev/null"; done; while :; do sleep 0.1; done'
    with BashSession(tight) as bash:
        hit = bash.run(f"bash -c '{full}'", timeout=1).limits_hit
        assert "command_timeout" in hit
        assert "files" in hit or tight.usage().files_full is None


@needs_python
def test_without_control_groups_what_a_failed_command_says_is_the_sign(image: Image) -> None:
    without = NamespacesBackend(cgroups=Cgroups("none"))
    with contextlib.closing(without.create(image, TIGHT)) as sandbox, BashSession(sandbox) as bash:
        assert bash.run(COMMANDS["memory"]).limits_hit == ("memory",)
        assert bash.run("(exit 3)").limits_hit == ()
        assert bash.run("echo too many open files").limits_hit == ()
        assert bash.run(COMMANDS["disk"]).limits_hit == ("disk",)
    without.close()


def test_what_a_job_in_the_background_hits_is_not_lost(tight: Sandbox) -> None:
    if not counted(tight, "memory"):
        pytest.skip("this machine does not count it")
    with BashSession(tight) as bash:
        bash.run("(sleep 0.2; head -c 500M /dev/zero | tail -c 400M) & true")
        hit = [bash.run("true").limits_hit]
        while "memory" not in hit[-1] and len(hit) < 200:
            hit.append(bash.run("sleep 0.1").limits_hit)
        assert len(hit) < 200
        assert "memory" not in bash.run("sleep 0.2").limits_hit


def test_limits_hit_cross_the_network() -> None:
    result = CommandResult("", 1, "/", 0.1, limits_hit=("memory", "disk"))
    info = wire.decode_info(wire.encode_info({"result": result}))
    assert info["result"].limits_hit == ("memory", "disk")
    assert dataclasses.asdict(info["result"]) == dataclasses.asdict(result)
