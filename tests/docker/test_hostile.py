"""What a policy that is root in its container tries against the program that speaks for it there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cwm_env.errors import SandboxError
from cwm_env.sandbox.base import Sandbox
from cwm_env.sandbox.docker.backend import DockerBackend
from cwm_env.sandbox.run import run
from cwm_env.session import BashSession
from cwm_env.types import Image, Limits
from tests.docker.conftest import docker

FORGED = r"x\x00\x00\x04\x00\x00\x00\x01\x00\x00\x00\x00"  # a frame: process 1 has ended, with 0
ON_PID_1 = {
    "its output": rf"printf '{FORGED}' > /proc/1/fd/1",
    "its input": rf"printf '{FORGED}' > /proc/1/fd/0",
    "its memory": "exec 3<>/proc/1/mem",
    "its environment": "cat /proc/1/environ",
    "its root": "ls /proc/1/root/",
    "its limits": "echo 'Max open files 0' > /proc/1/limits",
    "the order of who is killed for memory": "echo 1000 > /proc/1/oom_score_adj",
    "the same of its thread": "echo 1000 > /proc/1/task/1/oom_score_adj",
    "the same, as of old": "echo 15 > /proc/1/oom_adj",
}
"""Scripts that must fail."""


@pytest.fixture
def cell(docker_backend: DockerBackend, small: Image) -> Iterator[Sandbox]:
    made = docker_backend.create(small, Limits())
    yield made
    made.close()


@pytest.mark.parametrize("what", ON_PID_1)
def test_nothing_of_pid_1_can_be_read_or_written(cell: Sandbox, what: str) -> None:
    done = run(cell, ["bash", "-c", ON_PID_1[what]], timeout=10)
    assert done.exit_code != 0 and not done.stdout, done
    assert run(cell, ["true"], timeout=10).exit_code == 0


def test_pid_1_survives_a_memory_hog_that_bids_for_its_death(docker_backend: DockerBackend, small: Image) -> None:
    made = docker_backend.create(small, Limits(memory=64 << 20, disk=64 << 20))
    with contextlib.closing(made), BashSession(made) as bash:
        bash.run("for f in /proc/1/oom_score_adj /proc/1/task/*/oom_score_adj; do echo 1000 > $f; done")
        bash.run("echo -1000 > /proc/self/oom_score_adj; echo -1000 > /proc/$$/oom_score_adj")
        killed = bash.run("head -c 500M /dev/zero | tail -c 400M")
        assert killed.exit_code == 137 and killed.limits_hit == ("memory",)
        assert bash.run("echo on").output == "on\n"


FORGERIES = {
    "garbage": "head -c 1M /dev/urandom",
    "an exit status of no size": r"printf 'x\0\0\0\0\0\0\1'",
    "a credit of no size": r"printf 'c\0\0\0\0\0\0\1'",
    "an answer to nothing": r"printf 'd\0\0\4\0\0\0\0\0\0\0\0'",
    "an answer without an end": r"printf 'd\0\0\4\0\0\0\0\xff\xff\xff\xff'",
    "answers for ever": r"while printf 'd\0\0\6\0\0\0\0\0\0\0\2a='; do :; done",
    "connections for ever": r"while printf 'o\0\0\0\x80\0\0\1'; do :; done",
    "output for ever": r"while printf 'd\0\x40\0\0\0\0\1'; do head -c 16384 /dev/zero; done",
}
"""What is written where pid 1 speaks to us."""


@pytest.mark.parametrize("what", FORGERIES)
def test_who_speaks_in_pid_1_s_place_ends_only_its_own_container(
    gvisor_backend: DockerBackend, small: Image, what: str
) -> None:
    """Under gVisor the container's root may write there: it loses its episode, and nobody else notices."""
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    other, cell = gvisor_backend.create(small, Limits()), gvisor_backend.create(small, Limits())
    with contextlib.closing(other), BashSession(other) as neighbour:
        with contextlib.closing(cell):
            script = f"exec 2>/dev/null; {{ {FORGERIES[what]}; }} > /proc/1/fd/1; sleep 60"
            with pytest.raises(SandboxError):
                loud = cell.spawn(["bash", "-c", script])
                try:
                    for _ in range(50):
                        assert neighbour.run("echo on").output == "on\n"
                        run(cell, ["sleep", "0.1"], timeout=30)
                finally:
                    loud.close()
        assert neighbour.run("echo on").output == "on\n"
    # A few are the engine's connections, which are kept.
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors + 30


def test_who_runs_hidden_tests_cannot_speak_in_pid_1_s_place(gvisor_backend: DockerBackend, small: Image) -> None:
    with contextlib.closing(gvisor_backend.create(small, Limits())) as cell:
        done = run(cell, ["bash", "-c", "echo > /proc/1/fd/1; head -c1 /proc/1/fd/0"], user="nobody", timeout=10)
        assert done.stderr.count(b"Permission denied") == 2
        assert run(cell, ["true"], timeout=10).exit_code == 0


def test_signals_do_not_reach_pid_1(cell: Sandbox) -> None:
    with BashSession(cell) as bash:
        for name in ("KILL", "STOP", "TERM", "PIPE", "HUP", "USR1", "SEGV"):
            bash.run(f"kill -{name} 1; sleep 0.05")
            assert bash.run("echo on").output == "on\n", name


def test_without_the_program_on_disk_everything_goes_on(docker_backend: DockerBackend, cell: Sandbox) -> None:
    """Pid 1 was started from a file in the container, which its root may replace: nothing starts it again."""
    fake = "printf '#!/bin/sh\\nexit 0\\n' > /.cwm-env/init; chmod 755 /.cwm-env/init"
    with BashSession(cell) as bash:
        bash.run(f"rm -rf /.cwm-env; mkdir /.cwm-env; {fake}; (exit 3)")
        assert bash.run("(exit 4)").exit_code == 4
    cell.write_file("/tmp/mine", b"1")
    assert cell.read_file("/tmp/mine") == b"1"
    again = docker_backend.fork(cell)
    try:
        assert run(again, ["bash", "-c", "cat /tmp/mine; exit 5"], timeout=10).exit_code == 5
    finally:
        again.close()


def test_a_copy_is_started_from_our_program_wherever_its_place_leads(
    docker_backend: DockerBackend, cell: Sandbox
) -> None:
    """A link where the program lies, as an episode can leave it, sends nothing out of the container."""
    run(cell, ["bash", "-c", "rm -rf /.cwm-env; ln -s ../../../../../../tmp /.cwm-env"], timeout=10)
    try:
        again = docker_backend.fork(cell)
    except SandboxError:  # to refuse it is as good
        return
    try:
        assert run(again, ["bash", "-c", "exit 5"], timeout=10).exit_code == 5
    finally:
        again.close()


def test_a_fork_bomb_under_gvisor_ends_by_itself_when_we_hang_up(gvisor_backend: DockerBackend, small: Image) -> None:
    """To kill it through the engine took up to 90 seconds, one for each process that ended meanwhile."""
    made = gvisor_backend.create(small, Limits(memory=256 << 20, processes=60))
    made.spawn(["bash", "-c", "b() { b | b & }; b; sleep 90"])
    time.sleep(1)
    began = time.time()
    made.close()
    seen = docker(
        "events", "--since", f"{began:.3f}", "--until", f"{time.time():.3f}", "--format", "{{.Action}} {{.Actor.ID}}"
    )
    assert [row.split()[0] for row in seen.splitlines() if row.endswith(made.container)] == ["die", "destroy"]


HOLDS = {
    "stops it": "kill -STOP 1",
    "kills it": "kill -KILL 1",
    "keeps its input open": "sleep 300 < /proc/1/fd/0",
    "keeps its output open": "sleep 300 > /proc/1/fd/1",
    "is deaf": "trap '' HUP INT TERM; while :; do sleep 300; done",
}
"""What might keep a container from ending when we hang up."""


@pytest.mark.parametrize("what", HOLDS)
@pytest.mark.parametrize("runtime", ["runc", "runsc"])
def test_a_container_is_gone_after_close_whatever_holds_its_pid_1(what: str, runtime: str, small: Image) -> None:
    backend = DockerBackend(runtime)
    with contextlib.closing(backend):
        made = backend.create(small, Limits())
        made.spawn(["bash", "-c", HOLDS[what]])
        time.sleep(0.3)
        made.close()
        assert made.container not in docker("ps", "--all", "--quiet", "--no-trunc").split()
