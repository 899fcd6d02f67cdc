"""Containers of a process that died are removed by the next one, and no others."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cwm_env.sandbox.docker.backend import DockerBackend
from cwm_env.sandbox.run import run
from cwm_env.types import Image, Limits
from tests.docker.conftest import docker

MANY = 50
HOLDER = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from cwm_env.sandbox.docker.backend import DockerBackend
from cwm_env.types import Image, Limits
backend = DockerBackend()
image = Image("small", sys.argv[1], (Path(sys.argv[2]),))
with ThreadPoolExecutor(8) as pool:
    kept = list(pool.map(lambda _: backend.create(image, Limits()), range(int(sys.argv[3]))))
print(*(sandbox.container for sandbox in kept), flush=True)
time.sleep(600)
"""


@pytest.mark.alone
def test_after_kill_9_the_next_start_reaps_all_containers_and_only_them(small: Image) -> None:
    alive = DockerBackend()
    own = alive.create(small, Limits())
    strange = docker("create", "--label", "somebody.else=1", own_image(small), "true")
    command = [sys.executable, "-c", HOLDER, small.digest, str(small.layers[0]), str(MANY)]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as holder:
            assert holder.stdout
            theirs = set(holder.stdout.readline().split())
            assert len(theirs) == MANY <= len(containers())
            holder.send_signal(signal.SIGKILL)
        wait_until_none_runs(theirs)
        following = DockerBackend()
        following.create(small, Limits()).close()
        left = containers()
        assert not theirs & left
        assert {own.container, strange} <= left
        assert run(own, ["bash", "-c", "echo on"], timeout=10).stdout == b"on\n"
        following.close()
    finally:
        docker("rm", "-f", strange)
        alive.close()


def containers() -> set[str]:
    return set(docker("ps", "--all", "--quiet", "--no-trunc").split())


def wait_until_none_runs(theirs: set[str]) -> None:
    """They end by themselves, because nobody holds their streams any more."""
    deadline = time.monotonic() + 60
    while theirs & set(docker("ps", "--quiet", "--no-trunc").split()):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def own_image(image: Image) -> str:
    from cwm_env.sandbox.docker.images import tag_of

    return tag_of(image)
