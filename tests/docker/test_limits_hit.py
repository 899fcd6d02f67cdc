"""A result says which limits its command has hit on the Docker engine too."""

from __future__ import annotations

import contextlib

import pytest

from cwm_env.sandbox.docker.backend import DockerBackend
from cwm_env.session import BashSession
from cwm_env.types import Image, Limits

pytestmark = pytest.mark.alone

TIGHT = Limits(cpus=0.5, memory=64 << 20, processes=24, disk=16 << 20)
COMMANDS = {
    "memory": "bash -c 'x=$(head -c 300000000 /dev/zero | tr \"\\0\" x)'",
    "processes": "for i in {1..40}; do sleep 5 & done; wait",
    "disk": "head -c 100000000 /dev/zero > /tmp/fill",
    "files": "bash -c 'ulimit -n 40; for i in {3..60}; do eval \"exec $i</dev/null\" || exit; done'",
    "output": "head -c 200000 /dev/zero | tr '\\0' x",
    "command_timeout": "sleep 30",
}


@pytest.mark.parametrize("limit", COMMANDS)
def test_a_limit_is_told_by_the_command_that_hit_it(docker_backend: DockerBackend, small: Image, limit: str) -> None:
    with contextlib.closing(docker_backend.create(small, TIGHT)) as sandbox, BashSession(sandbox) as bash:
        usage = sandbox.usage()
        if {"memory": usage.memory_kills, "processes": usage.processes_refused}.get(limit, 0) is None:
            pytest.skip("control groups cannot be read in this container")
        result = bash.run(COMMANDS[limit], timeout=1 if limit == "command_timeout" else 8)
        assert limit in result.limits_hit, result
