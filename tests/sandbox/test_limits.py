"""Each limit holds, and is told when it was hit."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cwm_env.sandbox import cgroups
from cwm_env.sandbox.base import Sandbox
from cwm_env.sandbox.cgroups import Cgroups, crowd_of
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.types import Image, Limits
from tests.sandbox.test_lifecycle import eventually
from tests.sandbox.tools import needs_python, python, said, shell

pytestmark = pytest.mark.alone

SMALL = Limits(cpus=0.5, memory=96 << 20, processes=24, disk=8 << 20)
HOG = "import os\nkept = []\nwhile True: kept.append(os.urandom(1 << 20))"


@pytest.fixture(params=["found", "none"])
def limited(request: pytest.FixtureRequest, backend: NamespacesBackend) -> Iterator[NamespacesBackend]:
    """A backend with the control groups of this machine, and one that has to do without."""
    if request.param == "found":
        if not backend.cgroups.homes:
            pytest.skip("no control groups can be used here")
        yield backend
    else:
        without = NamespacesBackend(cgroups=Cgroups("none"))
        yield without
        without.close()


@pytest.fixture
def small(limited: NamespacesBackend, image: Image) -> Iterator[Sandbox]:
    """A sandbox with tight limits."""
    made = limited.create(image, SMALL)
    yield made
    made.close()


@needs_python
def test_a_memory_hog_is_stopped_and_the_shell_that_started_it_goes_on(small: Sandbox) -> None:
    before = small.usage()
    done = shell(small, f"/usr/bin/python3 -c '{HOG}' 2>/dev/null; echo $?; echo alive")
    code, alive = said(done).split("\n")
    assert alive == "alive"
    after = small.usage()
    if after.memory_kills is None:
        assert code == "1"  # it met MemoryError
    else:
        assert code == "137" and "memory" in after.hit_since(before)
        assert after.memory_peak and after.memory_peak > SMALL.memory


@needs_python
def test_no_more_processes_than_allowed_are_alive(small: Sandbox) -> None:
    script = """
import os, time
alive = 0
try:
    while True:
        if os.fork() == 0: time.sleep(60)
        alive += 1
except OSError as error: print(error.errno, alive)
"""
    before = small.usage()
    code, alive = said(python(small, script)).split()
    assert code == "11" and SMALL.processes - 4 <= int(alive) <= SMALL.processes
    after = small.usage()
    if after.processes_refused is not None:
        assert "processes" in after.hit_since(before)
    assert small.kill_processes() >= int(alive)
    assert said(shell(small, "echo room again")) == "room again"


def test_a_full_disk_is_noticed_inside_and_told(small: Sandbox) -> None:
    done = shell(small, "head -c 100M /dev/zero > /tmp/a; head -c 100M /dev/zero > /dev/shm/b; stat -c %s /tmp/a")
    assert done.stderr.count(b"No space left on device") == 2
    assert int(done.stdout) <= SMALL.disk
    usage = small.usage()
    assert "disk" in usage.hit_since(usage) and usage.disk_used <= SMALL.disk
    shell(small, "rm /tmp/a")
    usage = small.usage()
    assert "disk" not in usage.hit_since(usage)


def test_inodes_run_out_inside_only(small: Sandbox) -> None:
    done = shell(small, "cd /tmp; i=0; while : > f$((++i)); do :; done 2>&1 | tail -1; ls | wc -l")
    assert b"No space left on device" in done.stdout
    usage = small.usage()
    assert usage.inodes_free == 0 and "inodes" in usage.hit_since(usage)


def test_open_files_run_out_inside_only(small: Sandbox, backend: NamespacesBackend, image: Image) -> None:
    done = shell(small, 'ulimit -n 64; for i in {10..80}; do eval "exec $i</dev/null" || break; done; echo $i')
    assert b"Too many open files" in done.stderr or b"Bad file descriptor" in done.stderr
    assert said(shell(small, "echo fine")) == "fine"


def test_cpu_time_is_counted(small: Sandbox) -> None:
    before = small.usage()
    shell(small, "for ((i = 0; i < 200000; i++)); do :; done")
    after = small.usage()
    assert after.cpu_seconds is not None and before.cpu_seconds is not None
    assert after.cpu_seconds - before.cpu_seconds > 0.05


def test_the_cpu_quota_holds_and_is_told(backend: NamespacesBackend, image: Image) -> None:
    if "cpu" not in backend.cgroups.homes:
        pytest.skip("no control group limits the CPU here")
    sandbox = backend.create(image, replace(SMALL, cpus=0.25))
    try:
        before, started = sandbox.usage(), time.monotonic()
        shell(sandbox, "timeout 1 bash -c 'while :; do :; done' & timeout 1 bash -c 'while :; do :; done'; wait")
        after, seconds = sandbox.usage(), time.monotonic() - started
        assert "cpus" in after.hit_since(before)
        assert after.cpu_seconds is not None and before.cpu_seconds is not None
        assert after.cpu_seconds - before.cpu_seconds < 0.5 * seconds  # of two that each want all of a core
    finally:
        sandbox.close()


def test_info_says_what_is_enforced_and_what_is_not(backend: NamespacesBackend) -> None:
    without = NamespacesBackend(cgroups=Cgroups("none"))
    assert without.info()["cpus"] == "not enforced"
    assert "each process" in without.info()["memory"]
    assert set(without.info()) == set(backend.info())
    for limit, controller in (("memory", "memory"), ("cpus", "cpu"), ("processes", "pids")):
        assert backend.info()[limit].startswith("cgroup") == (controller in backend.cgroups.homes)


def test_nothing_was_hit_by_a_sandbox_that_did_nothing(small: Sandbox) -> None:
    before = small.usage()
    assert said(shell(small, "true; echo done")) == "done"
    hit = small.usage().hit_since(before)
    assert set(hit) <= {"cpus"}


def test_a_sandbox_is_born_in_its_v2_group_and_the_group_is_removed(image: Image) -> None:
    home = next((path for path in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")) if is_v2(path)), None)
    if home is None:
        pytest.skip("no cgroup v2 that this user may write to")
    backend = NamespacesBackend(cgroups=Cgroups("v2", {"none of the limited": home}))
    sandbox = backend.create(image, SMALL)
    sandbox.spawn(["sleep", "60"]).close()
    group = home / sandbox.id
    assert len((group / "cgroup.procs").read_text().split()) == 2
    assert said(shell(sandbox, "grep ^0: /proc/self/cgroup")) == "0::/"
    sandbox.close()
    assert eventually(lambda: not group.exists())
    backend.close()


def is_v2(path: Path) -> bool:
    return (path / "cgroup.controllers").is_file() and os.access(path, os.W_OK)


def members(group: Path) -> set[str]:
    return {pid for file in group.rglob("cgroup.procs") for pid in file.read_text().split()}


def test_a_crowd_shares_the_processors_and_nothing_else(image: Image) -> None:
    found = cgroups.find()
    if not {"cpu", "memory", "pids"} <= set(found.homes):
        pytest.skip("no control group limits the CPU here")
    backend = NamespacesBackend(spawners=1, cgroups=found.crowded())
    try:
        assert backend.info()["cpus"] == "not enforced"
        sandboxes = [backend.create(image, SMALL) for _ in range(2)]
        crowd = found.homes["cpu"] / crowd_of(sandboxes[0].id)
        for sandbox in sandboxes:
            sandbox.spawn(["sleep", "60"]).close()
            assert not (found.homes["cpu"] / sandbox.id).exists()
            assert not list(crowd.rglob(f"{sandbox.id}/cpu.max"))
            place = crowd if found.version == "v2" else found.homes["memory"]
            assert len(members(place / sandbox.id)) == 2 and members(place / sandbox.id) < members(crowd)
            before = sandbox.usage()
            shell(sandbox, "for i in {1..40}; do sleep 1 & done 2>/dev/null; wait")
            assert "processes" in sandbox.usage().hit_since(before)
    finally:
        backend.close()
    assert not crowd.exists()


def test_in_a_crowd_nothing_is_seen_of_the_others_and_a_hog_cannot_shut_them_out(image: Image) -> None:
    backend = NamespacesBackend(spawners=1, cgroups=cgroups.find().crowded())
    try:
        hog, other = (backend.create(image, SMALL) for _ in range(2))
        seen = said(shell(hog, "cat /proc/self/cgroup")).splitlines()
        assert seen and all(line.endswith(":/") for line in seen)  # not the crowd's name, nor a way out of it
        for kind in ("cgroup -o cpu", "cgroup2"):
            assert shell(hog, f"mkdir -p /tmp/c; mount -t {kind} none /tmp/c").exit_code != 0
        assert shell(hog, "echo 1 > /sys/fs/cgroup/cpu/cpu.shares").exit_code != 0
        hog.spawn(["bash", "-c", "for i in {1..20}; do while :; do :; done & done 2>/dev/null; wait"]).close()
        assert said(shell(other, "echo still served")) == "still served"
    finally:
        backend.close()


def test_where_the_groups_of_a_crowd_lie() -> None:
    v1 = Cgroups("v1", {"memory": Path("/m"), "cpu": Path("/c"), "pids": Path("/p")}).crowded()
    v2 = Cgroups("v2", dict.fromkeys(("cpu", "memory", "pids"), Path("/u"))).crowded()
    without = Cgroups("v1", {"memory": Path("/m")})
    assert v1.places("cwm-x-0") == [Path("/m"), Path("/p")]
    assert v2.places("cwm-x-0") == [Path("/u/cwm-x-0")]
    assert without.crowded() == without
    assert not [setting for setting in (*v1.settings(SMALL, True), *v2.settings(SMALL, True)) if "cpu" in setting[1]]


def test_settings_name_the_files_of_each_version() -> None:
    v1 = Cgroups("v1", {"memory": Path("/m"), "cpu": Path("/c"), "pids": Path("/p")})
    v2 = Cgroups("v2", dict.fromkeys(("cpu", "memory", "pids"), Path("/u")))
    memory = SMALL.memory + SMALL.disk + (16 << 20)
    assert ("set", f"0/memory.limit_in_bytes={memory}") in v1.settings(SMALL, in_memory=True)
    assert ("set", "1/cpu.cfs_quota_us=50000") in v1.settings(SMALL, in_memory=True)
    assert v2.settings(SMALL, in_memory=False) == [
        ("set", f"0/memory.max={memory - SMALL.disk}"),
        ("try", "0/memory.swap.max=0"),
        ("set", "0/cpu.max=50000 100000"),
        ("set", f"0/pids.max={SMALL.processes + 1}"),
    ]


def test_a_quota_of_all_the_machine_is_none() -> None:
    whole = replace(SMALL, cpus=float(os.cpu_count() or 1))
    assert ("set", "0/cpu.cfs_quota_us=-1") in Cgroups("v1", {"cpu": Path("/c")}).settings(whole, in_memory=True)
    assert ("set", "0/cpu.max=max 100000") in Cgroups("v2", {"cpu": Path("/u")}).settings(whole, in_memory=True)


def test_counters_of_v2_are_read(tmp_path: Path) -> None:
    group = tmp_path / "x"
    group.mkdir()
    (group / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\nthrottled_usec 250000\n")
    (group / "memory.peak").write_text("4096\n")
    (group / "memory.events").write_text("low 0\noom 2\noom_kill 1\n")
    (group / "pids.events").write_text("max 3\n")
    counted = Cgroups("v2", dict.fromkeys(("cpu", "memory", "pids"), tmp_path)).read("x")
    assert (counted.cpu_seconds, counted.throttled_seconds, counted.memory_peak) == (1.5, 0.25, 4096)
    assert (counted.memory_kills, counted.processes_refused) == (1, 3)


@needs_python
def test_users_of_one_sandbox_are_counted_together_even_without_groups(image: Image) -> None:
    if os.geteuid() != 0:
        pytest.skip("there is one user in the sandbox of an ordinary user")
    script = """
import os, time
alive = 0
for uid in range(1, 60):
    try:
        while True:
            if os.fork() == 0:
                os.setresuid(uid, uid, uid)
                try:
                    while os.fork(): pass
                except OSError: pass
                time.sleep(60)
            alive += 1
            break
    except OSError: break
time.sleep(1)
print(sum(name.isdigit() for name in os.listdir("/proc")))
"""
    with contextlib.closing(NamespacesBackend(cgroups=Cgroups("none"))) as backend:
        sandbox = backend.create(image, SMALL)
        if said(shell(sandbox, "cat /proc/sys/kernel/pid_max")) == Path("/proc/sys/kernel/pid_max").read_text().strip():
            pytest.skip("this kernel has one count of process ids for all")
        assert int(said(python(sandbox, script, timeout=60))) < SMALL.processes + 301
