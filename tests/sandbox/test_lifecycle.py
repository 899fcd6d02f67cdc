"""Pausing, forking, snapshots; and nothing is left behind by what was killed."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cwm_env import sandbox as sandboxes
from cwm_env.sandbox import leases
from cwm_env.sandbox.base import Sandbox
from cwm_env.sandbox.cgroups import crowd_of
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.types import Image, Limits
from tests.sandbox.tools import needs_python, said, shell


@pytest.fixture(autouse=True)
def own_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases of these tests only."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def own(own_leases: None) -> Iterator[NamespacesBackend]:
    """A backend that a test may hurt."""
    made = NamespacesBackend()
    yield made
    made.close()


def eventually(happens: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not (good := happens()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return good


def groups(backend: NamespacesBackend, name: str) -> list[Path]:
    return [home / name for home in backend.cgroups.directories if (home / name).exists()]


def test_programs_ignore_nothing_where_we_were_started_by_nohup_or_in_the_background(image: Image) -> None:
    ignored = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
    }
    backend = NamespacesBackend()
    try:
        sandbox = backend.create(image, Limits())
        assert said(shell(sandbox, "grep SigIgn /proc/self/status")).split() == ["SigIgn:", "0" * 16]
        assert shell(sandbox, "bash -c 'kill -INT $$; echo survived'; exit $?").exit_code == 128 + signal.SIGINT
        shell(sandbox, "for s in {1..64}; do kill -$s 1; done 2>/dev/null")  # the first process has no handlers now
        assert said(shell(sandbox, "trap '' CHLD PIPE; bash -c 'echo alive; exit 3' | cat")) == "alive"
    finally:
        backend.close()
        for number, handler in ignored.items():
            signal.signal(number, handler)


def test_a_paused_sandbox_does_nothing_until_it_is_resumed(sandbox: Sandbox) -> None:
    ticker = sandbox.spawn(["bash", "-c", "while :; do echo x >> /tmp/ticks; sleep 0.005; done"])
    stopped = sandbox.spawn(["bash", "-c", "kill -STOP $$; echo woken > /tmp/woken"])
    assert eventually(lambda: bool(shell(sandbox, "test -s /tmp/ticks").exit_code == 0))
    sandbox.pause()
    sandbox.pause()
    first = sandbox.read_file("/tmp/ticks")
    time.sleep(0.1)
    assert sandbox.read_file("/tmp/ticks") == first
    sandbox.resume()
    sandbox.resume()
    assert eventually(lambda: len(sandbox.read_file("/tmp/ticks")) > len(first))
    assert shell(sandbox, "test -e /tmp/woken").exit_code == 1  # it was stopped before, and still is
    assert sandbox.kill_processes() >= 2
    ticker.close()
    stopped.close()


def test_even_a_fork_bomb_is_paused(own: NamespacesBackend, image: Image) -> None:
    sandbox = own.create(image, Limits(processes=64))
    sandbox.spawn(["bash", "-c", "f() { f & f & }; f; while :; do f; done 2>/dev/null"]).close()
    time.sleep(0.2)
    sandbox.pause()
    sandbox.resume()
    assert sandbox.kill_processes() > 0
    assert said(shell(sandbox, "echo alive")) == "alive"
    sandbox.close()


LOOK = """cd /repo && find . -printf '%p %y %m %s %l %u %T@\\n' | sort
cat f /tmp/t /run/r /dev/shm/s
[ a -ef hard ] && echo linked; ls /etc; stat -c %b sparse; getcap capable 2>/dev/null || true"""


def test_a_fork_has_the_same_files_and_goes_its_own_way(own: NamespacesBackend, image: Image) -> None:
    layer = image.layers[0]
    upper = replace(image, layers=(layer,))
    sandbox = own.create(upper, Limits())
    shell(sandbox, "cd /repo; echo f > f; echo a > a; ln a hard; ln -s f l; mkfifo p; mkdir d; touch d/x; chmod 4711 f")
    shell(sandbox, "echo t > /tmp/t; echo r > /run/r; echo s > /dev/shm/s; truncate -s 1G /repo/sparse")
    shell(sandbox, "rm /etc/passwd; rm -r /root; mkdir /root; touch /root/new; chown 1000:1000 /repo/d 2>/dev/null")
    shell(sandbox, "cd /repo; touch capable; setcap cap_chown+ep capable; touch -d 1960-01-01T01:01:01.25 d/x")
    background = sandbox.spawn(["sleep", "60"])
    fork = own.fork(sandbox)
    assert shell(fork, LOOK).stdout == shell(sandbox, LOOK).stdout
    anew = said(shell(sandbox, "cd /root && ls"))  # before Linux 6.6 a directory that was removed cannot be made anew
    assert said(shell(fork, "cd /root && ls; test -e /etc/passwd || echo gone", user="0:0")) == f"{anew}\ngone".lstrip()
    assert background.wait(0) is None  # it goes on in the old one
    shell(fork, "echo fork > /repo/f; rm /repo/a")
    shell(sandbox, "echo origin > /repo/f")
    assert said(shell(fork, "cat /repo/f; ls /repo")).startswith("fork")
    assert said(shell(sandbox, "cat /repo/f /repo/a")) == "origin\na"
    again = own.fork(fork)
    sandbox.close()
    fork.close()
    assert said(shell(again, "cat /repo/f; cd /root && ls")) == f"fork\n{anew}".rstrip()
    background.close()


ACCESS_LIST = """import os, struct
entries = (1, 6, -1), (2, 4, 0), (4, 4, -1), (16, 4, -1), (32, 0, -1)
value = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
os.setxattr("/repo/listed", "system.posix_acl_access", value)"""


@needs_python
def test_a_fork_keeps_access_lists(own: NamespacesBackend, image: Image) -> None:
    sandbox = own.create(image, Limits())
    made = shell(sandbox, f"touch /repo/listed; python3 -c '{ACCESS_LIST}'")
    assert made.exit_code == 0, made.stderr
    look = """python3 -c 'import os; print(os.getxattr("/repo/listed", "system.posix_acl_access").hex())'"""
    fork = own.fork(sandbox)
    assert shell(fork, look).stdout == shell(sandbox, look).stdout != b""
    sandbox.close()
    fork.close()


def test_a_fork_gives_the_same_changes(own: NamespacesBackend, image: Image) -> None:
    sandbox = own.create(image, Limits())
    shell(sandbox, "cd /repo; mkdir a; echo x > a/b; ln -s b a/c; rm -r /etc; mkdir /etc; echo n > /etc/n")
    fork = own.fork(sandbox)
    sandbox.stop()
    fork.stop()
    for path in ("/repo", "/etc", "/"):
        assert list(fork.changes(path, skip=[b"usr"])) == list(sandbox.changes(path, skip=[b"usr"]))
    sandbox.close()
    fork.close()


def test_a_snapshot_is_an_image_from_which_others_begin(own: NamespacesBackend, image: Image, tmp_path: Path) -> None:
    sandbox = own.create(image, Limits())
    shell(sandbox, "echo one > /repo/x; rm -r /root; echo not kept > /tmp/t")
    first = own.snapshot(sandbox, tmp_path / "first")
    shell(sandbox, "echo two > /repo/x")
    assert said(shell(sandbox, "cat /tmp/t")) == "not kept"
    restored = own.create(first, Limits())
    assert said(shell(restored, "cat /repo/x; ls /tmp; test -e /root || echo gone")) == "one\ngone"
    shell(restored, "mkdir /root; echo three > /repo/y")
    second = own.snapshot(restored, tmp_path / "second")
    last = own.create(second, Limits())
    assert said(shell(last, "cat /repo/x /repo/y; ls -d /root")) == "one\nthree\n/root"
    assert (tmp_path / "first" / "repo" / "x").stat().st_uid == os.geteuid()


CLIENT = """
import sys, time
from pathlib import Path
from cwm_env.sandbox import cgroups
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.types import Image, Limits
backend = NamespacesBackend(spawners=1, cgroups=cgroups.find().crowded() if "crowded" in sys.argv else None)
image = Image("x", "sha256:0", (Path(sys.argv[1]),), host_mounts=("/usr",))
upper = Path(sys.argv[2]); upper.mkdir()
made = [backend.create(image, Limits()), backend.create(image, Limits(), upper=upper)]
run = [sandbox.spawn(["setsid", "sleep", "1234567"]) for sandbox in made]
made[1].spawn(["bash", "-c", "echo kept > /repo/kept"]).wait()
print(backend.spawner_pids()[0], *(sandbox.id for sandbox in made), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("how", ["each its own", "crowded"])
@pytest.mark.parametrize("victims", [["client"], ["spawner"], ["spawner", "client"], ["client", "spawner"]])
def test_nothing_survives_a_client_and_a_spawner_that_were_killed(
    own: NamespacesBackend, image: Image, tmp_path: Path, victims: list[str], how: str
) -> None:
    command = [sys.executable, "-c", CLIENT, str(image.layers[0]), str(tmp_path / "upper"), how]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert client.stdout
    spawner, *names = client.stdout.readline().split()
    names.append(crowd_of(names[0]))
    assert groups(own, names[-1 if how == "crowded" else 0]) or not own.cgroups.directories
    pids = {"client": client.pid, "spawner": int(spawner)}
    for victim in victims:
        os.kill(pids[victim], signal.SIGKILL)
    if "client" not in victims:
        client.kill()
    client.wait()
    client.stdout.close()

    def cleared() -> bool:
        sandboxes.prune()
        return not any(groups(own, name) for name in names) and not (tmp_path / "upper.work").exists()

    assert eventually(cleared)
    assert eventually(lambda: not subprocess.run(["pgrep", "-f", "sleep 1234567"], stdout=subprocess.PIPE).stdout)
    assert (tmp_path / "upper" / "repo" / "kept").read_text() == "kept\n"
    assert not list(leases.runtime_dir().glob(f"leases/{names[0].split('-')[1]}"))


def test_a_lease_that_could_not_be_taken_out_leaves_nothing(own_leases: None) -> None:
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open("/", os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, usual[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            leases.Lease()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
    assert not any((leases.runtime_dir() / "leases").iterdir())


def test_prune_leaves_what_is_alive_alone(own: NamespacesBackend, image: Image) -> None:
    sandbox = own.create(image, Limits())
    assert sandboxes.prune() == leases.Pruned()
    assert said(shell(sandbox, "echo alive")) == "alive"


def test_the_command_line_clears_up_too(own_leases: None) -> None:
    command = [sys.executable, "-m", "cwm_env", "prune", "--json"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert json.loads(done.stdout) == {"leases": 0, "processes": 0, "cgroups": 0, "directories": 0}, done.stderr


def test_a_sandbox_that_was_closed_leaves_no_group(own: NamespacesBackend, image: Image) -> None:
    sandbox = own.create(image, Limits())
    assert len(groups(own, sandbox.id)) == len(own.cgroups.directories)
    sandbox.close()
    assert eventually(lambda: not groups(own, sandbox.id))
    own.close()
    assert not list(leases.runtime_dir().glob("leases/*"))
