"""Rows 1 to 4, 12, 20 and 21: what a sandbox does to its own resources stays its own business."""

from __future__ import annotations

import statistics
import threading
import time

import pytest

from cwm_env.errors import SandboxError
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.sandbox.namespaces.sandbox import NamespaceSandbox
from cwm_env.session import BashSession
from cwm_env.types import Image, Limits
from tests.adversarial.attacks import BOMB, HOG, PRELUDE, Neighbour, let_loose, slowdowns
from tests.adversarial.conftest import TIGHT
from tests.sandbox.tools import needs_python, python, said, shell

pytestmark = pytest.mark.alone

SLACK = 0.02
"""Seconds of a step that the machine itself may add: two cores are shared by everything that is tested."""


def test_a_fork_bomb_meets_its_cap_and_is_gone_in_a_second(cell: NamespaceSandbox, neighbour: Neighbour) -> None:
    calm = neighbour.median()
    cell.spawn(["bash", "-c", BOMB]).close()
    time.sleep(0.3)
    assert neighbour.median() < 2 * calm + SLACK
    started = time.monotonic()
    cell.close()
    assert time.monotonic() - started < 1


def test_a_fork_bomb_is_outrun_also_where_a_shell_is_spared(cell: NamespaceSandbox) -> None:
    kept = cell.spawn(["sleep", "60"])
    bomb = cell.spawn(["bash", "-c", BOMB])
    time.sleep(0.2)
    assert cell.kill_processes(keep=[kept.pid]) > 0
    assert bomb.wait(5) is not None and kept.wait(0) is None
    assert cell.kill_processes(keep=[kept.pid]) == 0
    assert said(shell(cell, "echo on")) == "on"


@needs_python
def test_a_memory_hog_dies_and_the_neighbour_does_not(cell: NamespaceSandbox, neighbour: Neighbour) -> None:
    done = python(cell, HOG, timeout=60)
    assert done.exit_code in (1, 137)
    assert said(shell(cell, "echo on")) == "on"
    neighbour.median(5)


@pytest.mark.parametrize("place", ["/tmp", "/repo", "/dev/shm", "/run", "/root"])
def test_a_disk_filler_meets_enospc_before_the_memory_limit(cell: NamespaceSandbox, place: str) -> None:
    before = cell.usage()
    done = shell(cell, f"cat /dev/zero > {place}/fill; echo on")
    assert b"No space left on device" in done.stderr and done.stdout == b"on\n"
    after = cell.usage()
    assert after.disk_used <= TIGHT.disk and after.memory_kills == before.memory_kills


@needs_python
def test_descriptors_run_out_inside_only(cell: NamespaceSandbox, neighbour: Neighbour) -> None:
    script = """
import os, resource, socket
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
kept = []
try:
    while True: kept += socket.socketpair()
except OSError as error: print(error.errno in (23, 24))
"""
    assert said(python(cell, script)) == "True"
    neighbour.median(5)


def test_pid_1_survives_whatever_its_own_sandbox_sends_it(cell: NamespaceSandbox) -> None:
    shell(cell, "kill -9 1; kill -STOP 1; kill -9 -1; for s in {1..64}; do kill -$s 1; done 2>/dev/null")
    shell(cell, "for i in {1..3000}; do kill -CHLD 1; done")
    assert said(shell(cell, "cat /proc/1/comm; echo on")) == "cwm-env\non"


def test_the_death_of_a_shell_is_reported(cell: NamespaceSandbox) -> None:
    victim = cell.spawn(["sleep", "60"])
    shell(cell, "kill -9 -1")
    assert victim.wait(5) == 137


def test_a_storm_of_creations_leaves_no_half_made_sandbox(backend: NamespacesBackend, image: Image) -> None:
    made: list[NamespaceSandbox] = []
    failed: list[SandboxError] = []

    def storm() -> None:
        for _ in range(8):
            try:
                made.append(backend.create(image, TIGHT))
            except SandboxError as error:
                failed.append(error)

    threads = [threading.Thread(target=storm) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [] and len({sandbox.id for sandbox in made}) == 128
    assert all(shell(sandbox, "true").exit_code == 0 for sandbox in made[::8])
    for sandbox in made:
        sandbox.close()


AHEAD = f"""{PRELUDE}
import resource, struct
kept = []
def packed(shape, *values):
    kept.append(ctypes.create_string_buffer(struct.pack(shape, *values)))
    return ctypes.addressof(kept[-1])
def schedule(*values):
    return call(274 if ARM else 314, 0, packed("IIQiIQQQ", 48, *values), 0)
WAYS = (
    lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(99)),
    lambda: os.sched_setscheduler(os.getppid(), os.SCHED_FIFO, os.sched_param(1)),
    lambda: os.nice(-1),
    *(lambda which=which: os.setpriority(which, 0, -5) for which in (os.PRIO_PROCESS, os.PRIO_PGRP, os.PRIO_USER)),
    lambda: os.write(os.open("/proc/self/autogroup", os.O_WRONLY), b"-5"),
)
for way in WAYS:
    try: way()
    except OSError as error: print(errno.errorcode[error.errno])
    else: print("went through")
for policy in (1, 2): print(call(119 if ARM else 144, 0, policy, packed("i", 1)))
for policy in (1, 2): print(schedule(policy, 0, 0, 1, 0, 0, 0))
print(schedule(3, 0, -5, 0, 0, 0, 0))
print(schedule(6, 0, 0, 0, 10**7, 10**8, 10**8))
print(call(30 if ARM else 251, 1, 0, 1 << 13))
for limit in (resource.RLIMIT_NICE, resource.RLIMIT_RTPRIO):
    try: resource.setrlimit(limit, (40, 40))
    except (ValueError, OSError): print("EPERM")
    print(*resource.getrlimit(limit))
"""
"""Real-time policies, a niceness below zero, and a realtime class for disks, each by every call that sets it."""


@needs_python
@pytest.mark.parametrize("user", ["root", "agent"])
def test_no_program_gets_ahead_of_others_by_priority(cell: NamespaceSandbox, user: str) -> None:
    said_so = said(python(cell, AHEAD, user=user)).split("\n")
    assert len(said_so) == 19 and said_so[-4:] == ["EPERM", "0 0"] * 2, said_so
    assert set(said_so[:-4]) <= {"EPERM", "EACCES"}, said_so  # EACCES is what setpriority says


def test_spinning_sandboxes_get_fair_shares(backend: NamespacesBackend, image: Image) -> None:
    if "cpu" not in backend.cgroups.homes:
        pytest.skip("no control group shares the CPU here")
    few, many = backend.create(image, Limits()), backend.create(image, Limits())
    spin = "timeout 2 bash -c 'while :; do :; done'"
    processes = [few.spawn(["bash", "-c", f"{spin} & {spin} & wait"])]
    processes.append(many.spawn(["bash", "-c", f"for i in {{1..16}}; do {spin} & done; wait"]))
    for process in processes:
        assert process.wait(20) is not None
        process.close()
    one, other = few.usage().cpu_seconds, many.usage().cpu_seconds
    assert one and other and one > other / 3  # by process it would be an eighth
    few.close()
    many.close()


@needs_python
@pytest.mark.parametrize("command", ["echo on", "/bin/true"])
def test_fifty_neighbours_steps_at_most_double_while_one_does_its_worst(
    backend: NamespacesBackend, image: Image, command: str
) -> None:
    if "cpu" not in backend.cgroups.homes:
        pytest.skip("no control group shares the CPU here")
    made = [backend.create(image, Limits()) for _ in range(50)]
    sessions = [BashSession(sandbox) for sandbox in made]
    monster = backend.create(image, TIGHT)
    let_loose(monster)
    before = monster.usage().cpu_seconds or 0.0
    assert statistics.median(slowdowns(monster, sessions, 9, command)) <= 2
    assert (monster.usage().cpu_seconds or 0.0) > before + 0.2, "it did not do its worst"
    started = time.monotonic()
    monster.close()
    assert time.monotonic() - started < 2
    for session, sandbox in zip(sessions, made, strict=True):
        session.close()
        sandbox.close()
