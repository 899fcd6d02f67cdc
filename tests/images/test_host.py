"""Base ``host``: the machine's programs are there, and nothing of what is private on it."""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cwm_env.images import ImageStore, host
from cwm_env.images.interpreters import running
from cwm_env.paths import data_dir
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.types import Image, Limits
from tests.images.conftest import Inside, Write, text

PREFIX = os.path.realpath(sys.base_prefix)
PRIVATE = [
    *("/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/machine-id", "/etc/resolv.conf"),
    *("/etc/ssh", "/etc/apt", "/etc/ssl/private", "/root/.ssh", "/root/.bashrc"),
]


@pytest.fixture
def image(store: ImageStore, write: Write) -> Image:
    """The base, and nothing else."""
    return store.get(write('base = "host"'))


def test_the_root_holds_what_is_ours(image: Image, inside: Inside) -> None:
    own = "bin dev etc home lib lib32 lib64 libx32 mnt opt proc repo root run sbin srv tmp usr var"
    assert set(text(inside(image, "ls -A /")).split()) <= {*own.split(), PREFIX.split("/")[1]}


@pytest.mark.parametrize("directory", ["/home/agent", "/opt", "/srv", "/mnt", "/var/lib", "/var/log", "/usr/src"])
def test_directories_that_are_private_or_not_the_systems_are_empty(
    image: Image, inside: Inside, directory: str
) -> None:
    if PREFIX.startswith(directory):
        pytest.skip("the interpreter lies there")
    assert text(inside(image, f"ls -A {directory}")) == ""


def test_homes_hold_the_interpreter_at_most(image: Image, inside: Inside) -> None:
    found = text(inside(image, "find /root /home -mindepth 1 -not -path '/home/agent' -prune -print")).split()
    assert all(PREFIX.startswith(path) for path in found)
    if not PREFIX.startswith("/usr"):
        assert set(text(inside(image, f"ls -A {PREFIX}")).split()) <= {"bin", "include", "lib", "lib64"}


@pytest.mark.parametrize("path", PRIVATE)
def test_keys_and_settings_of_the_machine_are_absent(image: Image, inside: Inside, path: str) -> None:
    assert inside(image, f"test -e {path} || test -L {path}").exit_code == 1


def test_users_are_ours(image: Image, inside: Inside) -> None:
    assert text(inside(image, "cut -d: -f1,3 /etc/passwd")).split() == ["root:0", "agent:1000", "nobody:65534"]
    assert text(inside(image, "cut -d: -f1,3 /etc/group")).split() == ["root:0", "agent:1000", "nobody:65534"]


def test_neither_the_cache_nor_this_package_nor_its_tasks_are_there(
    store: ImageStore, image: Image, inside: Inside
) -> None:
    for path in (store.directory, data_dir("tasks"), data_dir("images"), Path(host.__file__).parents[1]):
        assert inside(image, f"test -e {path}").exit_code == 1
    everything = (
        "find / -xdev \\( -name proc -prune \\) -o \\( -name cwm_env -o -name 'cwm_env-*' -o -name cwm-env \\) -print"
    )
    assert text(inside(image, everything)) == ""
    assert inside(image, f"{host.interpreter()} -c 'import cwm_env'").exit_code == 1


def test_packages_of_the_machines_pythons_are_hidden(image: Image, inside: Inside) -> None:
    where = f"/usr/lib/python3* {PREFIX}/lib/python3*"
    assert text(inside(image, f"find {where} -maxdepth 1 -name '*-packages' -not -empty; ls -A /usr/src")) == ""
    assert text(inside(image, f"{host.interpreter()} -c 'import json, ssl, sqlite3, venv; print(1)'")) == "1\n"


def test_a_cache_below_what_is_mounted_is_hidden(image: Image, inside: Inside) -> None:
    cache = Path("/usr/share/doc")
    assert text(inside(image, f"ls {cache} | wc -l")) != "0\n"
    hidden = host.hidden(cache, running())
    assert str(cache) in hidden
    assert text(inside(replace(image, hidden=hidden), f"ls {cache} | wc -l")) == "0\n"


def test_what_is_hidden_covers_no_interpreter_and_nothing_twice() -> None:
    hidden = host.hidden(Path("/usr/local/share/cache"), running())
    for path in hidden:
        assert not f"{PREFIX}/".startswith(f"{path}/")
        assert not any(path.startswith(f"{other}/") for other in hidden)


def test_nothing_that_is_mounted_can_be_written_or_uncovered(image: Image, inside: Inside) -> None:
    for path in (*image.host_mounts, *image.hidden):
        done = inside(image, f"touch {path}/x; umount {path}; mount -o remount,rw {path}; touch {path}/x")
        assert done.exit_code
        assert not Path(path, "x").exists()


def test_the_files_of_the_machines_root_that_only_it_may_read_stay_unread(image: Image, inside: Inside) -> None:
    if os.geteuid():
        pytest.skip("an ordinary user has no such files")
    secret = Path("/usr/share", f"cwm-env-{secrets.token_hex(4)}")
    secret.touch(mode=0o600)
    try:
        secret.write_text("secret")
        done = inside(image, f"cat {secret}")
        assert done.exit_code == 1
        assert b"secret" not in done.stdout
    finally:
        secret.unlink()


def test_usual_programs_work(image: Image, inside: Inside) -> None:
    look = "awk 'BEGIN { print 1 }'; echo b | sed s/b/2/; getent hosts localhost >/dev/null && echo 3; date +%Z; echo ~"
    assert text(inside(image, look)).split() == ["1", "2", "3", "UTC", "/root"]


def test_a_started_sandbox_has_changed_nothing(image: Image, backend: NamespacesBackend) -> None:
    sandbox = backend.create(image, Limits())
    sandbox.stop()
    assert list(sandbox.changes("/")) == []
    sandbox.close()
