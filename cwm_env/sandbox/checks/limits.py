"""Limits, network and isolation."""

from __future__ import annotations

import errno
import socket
import time
from dataclasses import replace
from functools import partial

from cwm_env.sandbox.checks.bench import MIB, Bench, alive, fails, out, sh


def process_limit(bench: Bench) -> None:
    sandbox = bench.fresh(replace(bench.limits, processes=20))
    done = sh(sandbox, "for i in {1..10}; do timeout 91 sleep 91 & done; sleep 1; true", timeout=60)
    assert b"fork" in done.stdout + done.stderr, "nothing was refused"
    sandbox.kill_processes()
    assert out(sandbox, "echo on") == "on"


def fork_bomb_is_ended(bench: Bench) -> None:
    sandbox = bench.fresh()
    process = sandbox.spawn(["bash", "-c", "b() { b | b & }; b; sleep 90"])
    time.sleep(1)
    sandbox.kill_processes()
    assert alive(sandbox, "b") == 0
    process.close()


def memory_limit_kills_the_hog_alone(bench: Bench) -> None:
    sandbox = bench.fresh(replace(bench.limits, memory=64 * MIB, disk=16 * MIB))
    waiting = sandbox.spawn(["sleep", "89"])
    done = sh(sandbox, "head -c 400000000 /dev/zero | tail -c 390000000 | wc -c; exit ${PIPESTATUS[1]}", timeout=120)
    assert done.exit_code != 0, "it got the memory"
    assert waiting.wait(0) is None and out(sandbox, "echo on") == "on"
    waiting.close()


def memory_kill_is_counted(bench: Bench) -> None:
    sandbox = bench.fresh(replace(bench.limits, memory=64 * MIB, disk=16 * MIB))
    before = sandbox.usage()
    sh(sandbox, "head -c 400000000 /dev/zero | tail -c 390000000 | wc -c", timeout=120)
    assert "memory" in sandbox.usage().hit_since(before)


def full_disk_is_an_error_inside(bench: Bench) -> None:
    for directory in ("/tmp", "/dev/shm"):
        sandbox = bench.fresh()
        done = sh(sandbox, f"head -c 200000000 /dev/zero > {directory}/fill; echo $?", timeout=60)
        assert b"No space left" in done.stderr, done
        if directory == "/tmp":
            assert "disk" in sandbox.usage().hit_since(sandbox.usage())
        fails(partial(sandbox.write_file, f"{directory}/more", b"x" * MIB), errno.ENOSPC)
        assert out(sandbox, "echo on") == "on"


def whole_disk_is_limited(bench: Bench) -> None:
    sandbox = bench.fresh()
    done = sh(sandbox, "for i in {1..4}; do head -c 40000000 /dev/zero > /root/fill$i || exit 1; done", timeout=60)
    assert done.exit_code == 1 and b"No space left" in done.stderr, "160 MB were written, of 64 MiB"


def open_files_are_limited(bench: Bench) -> None:
    done = sh(bench.shared, 'ulimit -n; for i in {10..70000}; do eval "exec $i>/dev/null" || exit 9; done', timeout=60)
    assert done.exit_code != 0


def cpu_time_is_counted(bench: Bench) -> None:
    before = bench.shared.usage().cpu_seconds or 0.0
    out(bench.shared, "for ((i = 0; i < 300000; i++)); do :; done")
    assert (bench.shared.usage().cpu_seconds or 0.0) > before


def network_is_loopback_only(bench: Bench) -> None:
    assert {row.split(":")[0].strip() for row in out(bench.shared, "tail -n +3 /proc/net/dev").splitlines()} == {"lo"}
    for address in ("10.0.0.1/80", "169.254.169.254/80", "8.8.8.8/53"):
        assert sh(bench.shared, f"timeout 3 bash -c 'exec 3<>/dev/tcp/{address}'").exit_code != 0


def ports_are_each_sandbox_s_own(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = sh(bench.shared, f"timeout 3 bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}'")
        assert done.exit_code != 0, "a port of this machine was reached"


def only_allowed_names_are_reached(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        sandbox = bench.fresh(replace(bench.limits, network="allow", allow=(f"127.0.0.1:{port}",)))
        for wanted, answer in ((port, " 200 "), (port ^ 1, " 403 ")):
            ask = f"printf 'CONNECT 127.0.0.1:{wanted} HTTP/1.1\\r\\n\\r\\n' >&3; read -r said <&3; echo \"$said\""
            said = out(sandbox, f"exec 3<>/dev/tcp/127.0.0.1/3128; {ask}")
            assert answer in said, f"port {wanted}: {said}"
        assert sh(sandbox, f"timeout 3 bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}'").exit_code != 0


def sandboxes_see_nothing_of_each_other(bench: Bench) -> None:
    other = bench.fresh()
    process = other.spawn(["sleep", "88"])
    out(other, "echo secret | tee /tmp/secret /repo/secret /dev/shm/secret /run/secret > /dev/null")
    assert sh(bench.shared, "cat /tmp/secret /repo/secret /dev/shm/secret /run/secret").stdout == b""
    assert alive(bench.shared, "88") == 0
    process.close()


def image_is_never_written(bench: Bench) -> None:
    out(bench.fresh(), "echo changed > /repo/kept; rm -r /repo/old; echo x > /usr/bin/true")
    assert out(bench.fresh(), "cat /repo/kept /repo/old/file") == "kept\nold"


def kernel_s_levers_are_out_of_reach(bench: Bench) -> None:
    for lever in (
        "mount -t tmpfs none /mnt",
        "umount /proc",
        "chroot / true",
        "unshare -r true",
        "mknod /tmp/d b 8 0 && head -c 1 /tmp/d",
        "echo 1 > /proc/sys/kernel/core_pattern",
        "echo b > /proc/sysrq-trigger",
        "hostname other",
    ):
        assert sh(bench.shared, lever).exit_code != 0, f"{lever} succeeded"


def pid_1_survives(bench: Bench) -> None:
    sandbox = bench.fresh()
    sh(sandbox, "kill -9 1; kill -TERM 1; kill -9 -1")
    assert out(sandbox, "echo on") == "on"


def pid_1_cannot_be_looked_into(bench: Bench) -> None:
    for look in ("cat /proc/1/environ", "readlink /proc/1/fd/0", "echo x > /proc/1/fd/1", "head -c 1 /proc/1/mem"):
        assert sh(bench.shared, look).exit_code != 0, f"{look} succeeded"


def nothing_of_ours_is_inherited(bench: Bench) -> None:
    assert (
        out(bench.shared, "echo /proc/self/fd/*") == "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3"
    )


def no_new_privileges(bench: Bench) -> None:
    out(bench.shared, "cp /usr/bin/id /tmp/id; chown 0 /tmp/id; chmod 4755 /tmp/id")
    assert out(bench.shared, "/tmp/id -u", user="agent") == "1000"
