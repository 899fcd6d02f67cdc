"""Sandboxes are made as asked, processes in them do as asked, and what goes wrong has a name."""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cwm_env.errors import DiskFull, SandboxError
from cwm_env.sandbox.base import Sandbox
from cwm_env.sandbox.namespaces import wire
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.sandbox.run import run
from cwm_env.types import Image, Limits
from tests.conftest import make_image
from tests.sandbox.tools import said, shell


@pytest.fixture
def own(image: Image) -> Iterator[NamespacesBackend]:
    """A backend that a test may hurt."""
    made = NamespacesBackend()
    yield made
    made.close()


def test_environment_directory_and_user_are_as_asked(sandbox: Sandbox) -> None:
    env = {"PATH": "/usr/bin:/bin", "NAME": "two words = ü", "HOME": "/tmp"}
    script = 'echo "$NAME $HOME $PWD"; id -u; id -g'
    done = run(sandbox, ["bash", "-c", script], env=env, cwd="/usr", user="agent", timeout=10)
    assert done.stdout.decode().splitlines() == ["two words = ü /tmp /usr", "1000", "1000"]
    assert run(sandbox, ["env"], env={"PATH": "/usr/bin"}, timeout=10).stdout == b"HOME=/root\nPATH=/usr/bin\n"
    assert run(sandbox, ["id", "-u"], user="65534:65534", timeout=10).stdout == b"65534\n"


def test_programs_do_not_drive_who_wakes_them_off_the_processor(sandbox: Sandbox) -> None:
    policy = run(sandbox, ["sh", "-c", "chrt -p $$"], timeout=10)
    assert policy.stdout.splitlines()[0].endswith(b"SCHED_BATCH"), policy


def test_arguments_of_any_bytes_arrive(sandbox: Sandbox) -> None:
    odd = os.fsdecode(bytes(range(1, 256)))
    assert run(sandbox, ["printf", "%s", odd], timeout=10).stdout == bytes(range(1, 256))
    large = "x" * 120_000
    assert run(sandbox, ["printf", "%s", large], timeout=10).stdout == large.encode()


@pytest.mark.parametrize(
    ("argv", "exit_code", "complaint"),
    [
        (["no-such-program"], 127, b"no-such-program: No such file or directory\n"),
        (["/etc/passwd"], 126, b"/etc/passwd: Permission denied\n"),
        ([""], 127, b"exec: no program was named\n"),
        (["sh", "-c", "exit 7"], 7, b""),
        (["sh", "-c", "kill -9 $$"], 137, b""),
    ],
)
def test_exit_codes_are_a_shells(sandbox: Sandbox, argv: list[str], exit_code: int, complaint: bytes) -> None:
    done = run(sandbox, argv, timeout=10)
    assert (done.exit_code, done.stderr) == (exit_code, complaint)


def test_what_cannot_be_asked_for_is_refused_and_the_sandbox_goes_on(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match="no such user: ghost"):
        sandbox.spawn(["true"], user="ghost")
    with pytest.raises(ValueError, match="NUL"):
        sandbox.spawn(["echo", "a\0b"])
    with pytest.raises(ValueError, match="too long"):
        sandbox.spawn(["echo", "x" * (17 << 20)])
    assert run(sandbox, ["true"], cwd="/no/such/place", timeout=10).exit_code == 127
    assert said(shell(sandbox, "echo on")) == "on"


def test_what_is_written_to_disk_carries_the_images_own_ids(
    own: NamespacesBackend, image: Image, tmp_path: Path
) -> None:
    upper = tmp_path / "upper"
    upper.mkdir()
    sandbox = own.create(image, Limits(), upper=upper)
    assert said(shell(sandbox, "echo x > /repo/a; mkdir -p /repo/d; ln -s a /repo/l; rmdir /root")) == ""
    sandbox.close()
    assert (upper / "repo" / "a").read_text() == "x\n"
    assert (upper / "repo" / "a").stat().st_uid == os.geteuid()
    assert (upper / "repo" / "l").is_symlink() and not (tmp_path / "upper.work").exists()
    again = own.create(replace(image, layers=(*image.layers, upper)), Limits())
    assert said(shell(again, "cat /repo/l; test -e /root || echo gone")) == "x\ngone"
    again.close()


def test_layers_lie_over_each_other_in_order(own: NamespacesBackend, image: Image, tmp_path: Path) -> None:
    layers = []
    for number in range(40):
        layer = tmp_path / f"layer {number}, with:odd=characters"
        layer.mkdir(mode=0o755)
        (layer / "top").write_text(str(number))
        (layer / f"own{number}").write_text("")
        layers.append(layer)
    sandbox = own.create(replace(image, layers=(*image.layers, *layers)), Limits())
    assert said(shell(sandbox, "cat /top; ls /own* | wc -l")) == "3940"
    sandbox.close()


def test_an_image_that_cannot_be_used_is_refused_with_the_reason(own: NamespacesBackend, tmp_path: Path) -> None:
    image = make_image(tmp_path / "layer")
    with pytest.raises(SandboxError, match="lost its layer"):
        own.create(replace(image, layers=(tmp_path / "none",)), Limits())
    with pytest.raises(SandboxError, match="more than 200 layers"):
        own.create(replace(image, layers=image.layers * 201), Limits())
    (tmp_path / "layer" / "proc").rmdir()
    (tmp_path / "layer" / "proc").symlink_to("/usr")
    with pytest.raises(SandboxError, match="/proc is not a directory"):
        own.create(image, Limits())


def test_a_bad_request_does_not_hurt_the_spawner(own: NamespacesBackend, image: Image) -> None:
    own.create(image, Limits()).close()
    own.create(image, Limits()).close()
    before = own.spawner_pids()
    spawner = own._spawners.choose(own.cgroups)
    for field in ("id", "network"):
        with pytest.raises(OSError, match="without id and network"):
            spawner.create(wire.encode([(field, "none")]))
    for _ in before:
        own.create(image, Limits()).close()
    assert own.spawner_pids() == before


def test_a_spawner_that_was_killed_is_replaced_and_its_sandboxes_are_dead(own: NamespacesBackend, image: Image) -> None:
    sandbox = own.create(image, Limits())
    process = sandbox.spawn(["sleep", "60"])
    for pid in own.spawner_pids():
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(SandboxError):
        process.wait(10)
    with pytest.raises(SandboxError):
        sandbox.spawn(["true"])
    again = own.create(image, Limits())
    assert said(shell(again, "echo back")) == "back"
    process.close()
    sandbox.close()
    again.close()


def test_a_half_written_request_ends_the_sandbox_and_nothing_else(own: NamespacesBackend, image: Image) -> None:
    sandbox, neighbour = own.create(image, Limits()), own.create(image, Limits())
    sandbox._control.send(b"\0\0\1\0do=sp")
    sandbox._control.shutdown(1)
    with pytest.raises(SandboxError):
        sandbox.spawn(["true"])
    assert said(shell(neighbour, "echo well")) == "well"
    sandbox.close()
    neighbour.close()


def test_a_sandbox_that_does_not_answer_is_given_up_in_bounded_time(own: NamespacesBackend, image: Image) -> None:
    sandbox = own.create(image, Limits())
    sandbox._control.settimeout(0.2)
    signal.pidfd_send_signal(sandbox._exited, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(SandboxError):
        sandbox.spawn(["true"])
    sandbox.close()
    assert time.monotonic() - started < 5


def test_many_threads_get_sandboxes_of_their_own(own: NamespacesBackend, image: Image) -> None:
    heard: list[str] = []

    def one(number: int) -> None:
        sandbox = own.create(image, Limits())
        heard.append(said(shell(sandbox, f"echo {number} > /tmp/x; ls /tmp; cat /tmp/x")))
        sandbox.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(heard) == sorted(f"x\n{number}" for number in range(24))


def test_a_fork_of_the_client_has_spawners_of_its_own(own: NamespacesBackend, image: Image) -> None:
    sandbox = own.create(image, Limits())
    pid = os.fork()
    if pid == 0:
        try:
            mine = own.create(image, Limits())
            good = shell(mine, "true").exit_code == 0
            own.close()
            os._exit(0 if good else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert said(shell(sandbox, "echo alive")) == "alive"
    sandbox.close()


def test_a_disk_too_small_for_what_is_copied_is_a_full_disk(own: NamespacesBackend, image: Image) -> None:
    sandbox = own.create(image, Limits(disk=4 << 20))
    shell(sandbox, "head -c 3M /dev/urandom > /repo/a")
    sandbox.limits = Limits(disk=1 << 20)
    with pytest.raises(DiskFull):
        own.fork(sandbox)
    assert said(shell(sandbox, "echo alive")) == "alive"
    sandbox.close()


def test_started_after_spares_what_was_there_before(sandbox: Sandbox) -> None:
    old = sandbox.spawn(["sleep", "60"])
    time.sleep(0.05)
    moment = time.clock_gettime(time.CLOCK_BOOTTIME)
    time.sleep(0.05)
    new = [sandbox.spawn(["sleep", "60"]) for _ in range(3)]
    kept = sandbox.spawn(["sleep", "60"])
    assert sandbox.kill_processes(keep=[kept.pid], started_after=moment) == 3
    assert [process.wait(5) for process in new] == [137] * 3
    assert old.wait(0) is None and kept.wait(0) is None
    assert sandbox.kill_processes() == 2
    for process in (old, kept, *new):
        process.close()


def test_closing_is_idempotent_and_nothing_works_after_it(own: NamespacesBackend, image: Image) -> None:
    sandbox = own.create(image, Limits())
    process = sandbox.spawn(["sleep", "60"])
    sandbox.close()
    sandbox.close()
    with pytest.raises(SandboxError):
        process.wait(5)
    with pytest.raises(SandboxError):
        sandbox.usage()
    process.kill()
    process.interrupt()
    process.close()
    process.close()


def test_the_callers_memory_makes_no_difference(backend: NamespacesBackend, image: Image) -> None:
    def median() -> float:
        taken = []
        for _ in range(15):
            started = time.perf_counter()
            backend.create(image, Limits()).close()
            taken.append(time.perf_counter() - started)
        return statistics.median(taken)

    ratios = []
    for _ in range(5):
        small = median()
        ballast = b"x" * (512 << 20)  # a fork of this process would take twenty milliseconds
        ratios.append(median() / small)
        del ballast
    assert statistics.median(ratios) < 2
