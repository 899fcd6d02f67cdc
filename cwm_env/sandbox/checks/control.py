"""Signals, killing, pausing, copies, and the end."""

from __future__ import annotations

import select
import signal
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from cwm_env.errors import InfrastructureError, SandboxError
from cwm_env.sandbox.checks.bench import SECONDS, Bench, alive, drain, out, read_line, sh


def interrupt_reaches_the_group(bench: Bench) -> None:
    process = bench.shared.spawn(
        ["bash", "-c", "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.05; done"]
    )
    try:
        assert read_line(process.stdout) == b"ready\n"
        process.interrupt()
        assert process.wait(SECONDS) == 5
    finally:
        process.close()


def kill_ends_the_group_and_twice_is_no_error(bench: Bench) -> None:
    process = bench.shared.spawn(["bash", "-c", "sleep 98 & sleep 97"])
    try:
        process.kill()
        assert process.wait(SECONDS) == 128 + signal.SIGKILL
        process.kill()
        process.interrupt()
    finally:
        process.close()
    assert alive(bench.shared, "98") == 0


def wait_returns_none_while_it_runs(bench: Bench) -> None:
    process = bench.shared.spawn(["sleep", "96"])
    try:
        assert process.wait(0) is None and process.wait(0.05) is None
    finally:
        process.kill()
        process.close()


def kill_processes_finds_what_moved_away(bench: Bench) -> None:
    sandbox = bench.fresh()
    kept = sandbox.spawn(["sleep", "95"])
    sh(
        sandbox,
        "setsid bash -c 'setsid sleep 94 & disown; sleep 94' > /dev/null 2>&1 & nohup sleep 94 > /dev/null 2>&1 &",
    )
    time.sleep(0.3)
    assert sandbox.kill_processes(keep=(kept.pid,)) >= 3
    assert alive(sandbox, "94") == 0
    assert kept.wait(0) is None
    kept.close()


def kill_processes_spares_what_is_older(bench: Bench) -> None:
    sandbox = bench.fresh()
    old = sandbox.spawn(["sleep", "93"])
    time.sleep(0.1)
    moment = time.clock_gettime(time.CLOCK_BOOTTIME)
    time.sleep(0.1)
    young = sandbox.spawn(["sleep", "93"])
    assert sandbox.kill_processes(started_after=moment) == 1
    assert old.wait(0) is None and young.wait(SECONDS) == 128 + signal.SIGKILL
    old.close()
    young.close()


def pause_and_resume(bench: Bench) -> None:
    sandbox = bench.fresh()
    process = sandbox.spawn(["bash", "-c", "while :; do echo x; sleep 0.02; done"])
    read_line(process.stdout)
    sandbox.pause()
    sandbox.pause()
    time.sleep(0.1)
    drain(process)
    time.sleep(0.3)
    assert not drain(process), "it went on"
    sandbox.write_file("/tmp/while-paused", b"x")
    sandbox.resume()
    sandbox.resume()
    assert read_line(process.stdout) == b"x\n"
    process.close()


def fork_has_the_files_and_goes_its_own_way(bench: Bench) -> None:
    source = bench.fresh()
    process = source.spawn(["sleep", "87"])
    out(
        source,
        "echo a > /repo/a; rm /repo/kept; echo t > /tmp/t; chmod 700 /tmp/t; chown 1000 /repo/a; echo s > /dev/shm/s",
    )
    copy = bench.backend.fork(source)
    try:
        assert out(copy, "cat /repo/a /tmp/t /dev/shm/s; stat -c %a /tmp/t; stat -c %u /repo/a; ls /repo") == (
            "a\nt\ns\n700\n1000\na\nlink\nold"
        )
        assert alive(copy, "87") == 0 and process.wait(0) is None
        out(copy, "echo b > /repo/a")
        assert out(source, "cat /repo/a") == "a"
    finally:
        copy.close()
        process.close()


def snapshot_is_an_image(bench: Bench) -> None:
    source = bench.fresh()
    out(source, "echo a > /repo/a; rm /repo/kept; echo t > /tmp/t; chown 1000 /repo/a")
    with tempfile.TemporaryDirectory() as directory:
        image = bench.backend.snapshot(source, Path(directory) / "layer")
        made = bench.backend.create(image, bench.limits)
        try:
            assert (
                out(made, "cat /repo/a; stat -c %u /repo/a; ls /repo /tmp") == "a\n1000\n/repo:\na\nlink\nold\n\n/tmp:"
            )
        finally:
            made.close()


def closed_sandbox_is_gone(bench: Bench) -> None:
    sandbox = bench.fresh()
    process = sandbox.spawn(["sleep", "86"])
    sandbox.close()
    sandbox.close()
    assert select.select([process.exited], [], [], SECONDS)[0], "its process does not end"
    try:
        process.wait(SECONDS)
    except SandboxError:
        process.close()
    else:
        raise AssertionError("nobody can know how it ended")
    for use in (lambda: sandbox.spawn(["true"]), sandbox.usage, lambda: sandbox.read_file("/etc/passwd")):
        try:
            use()
        except SandboxError:
            continue
        raise AssertionError("a closed sandbox can be used")


def lost_layer_is_an_error(bench: Bench) -> None:
    try:
        bench.backend.create(
            replace(bench.image, layers=(Path("/nowhere"),), digest="sha256:none"), bench.limits
        ).close()
    except InfrastructureError as error:
        assert "layer" in str(error)
        return
    raise AssertionError("a sandbox was made of nothing")
