"""Files go in and out as they are, whatever their names and contents; nothing is followed out of the sandbox."""

from __future__ import annotations

import errno
import io
import os
import tarfile
import time
from collections.abc import Iterator

import pytest

from cwm_env.errors import SandboxError
from cwm_env.sandbox.base import Sandbox
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.types import Image, Limits
from tests.sandbox.tools import said, shell

ODD = os.fsdecode(b"a\nb\xff \"'$(x) -rf")


def untar(archive: Iterator[bytes]) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(archive)), errors="surrogateescape") as tar:
        return {member.name: member for member in tar}


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 3, b"\0" * 100_001])
def test_what_was_written_is_read(sandbox: Sandbox, data: bytes) -> None:
    path = f"/repo/{ODD}"
    sandbox.write_file(path, data, mode=0o640)
    assert sandbox.read_file(path) == data
    (entry,) = sandbox.list_files("/repo")
    assert (entry.name, entry.kind, entry.mode, entry.size) == (os.fsencode(ODD), "file", 0o640, len(data))


def test_a_large_file_is_streamed(backend: NamespacesBackend, image: Image) -> None:
    sandbox = backend.create(image, Limits(disk=300 << 20))
    block = os.urandom(1 << 20)
    sandbox.write_file("/repo/large", (block for _ in range(200)))
    pieces = sandbox.archive("/repo/large")
    longest = total = 0
    for piece in pieces:
        longest, total = max(longest, len(piece)), total + len(piece)
    assert total >= 200 << 20 and longest <= 1 << 17
    with pytest.raises(OSError) as caught:
        sandbox.read_file("/repo/large", limit=1 << 20)
    assert caught.value.errno == errno.EFBIG
    sandbox.close()


def test_files_belong_to_the_user_who_was_named(sandbox: Sandbox) -> None:
    shell(sandbox, "chmod 1777 /repo")
    sandbox.write_file("/repo/mine", b"x", user="agent")
    if os.geteuid() == 0:  # with one id on the machine there is nobody else to own anything
        assert said(shell(sandbox, "stat -c %u /repo/mine")) == "1000"
    else:
        assert said(shell(sandbox, "cat /repo/mine")) == "x"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/repo/none", FileNotFoundError),
        ("/repo", IsADirectoryError),
        ("/repo/pipe", OSError),
        ("/dev/zero", OSError),
        ("/repo/loop", OSError),
    ],
)
def test_only_regular_files_are_read(sandbox: Sandbox, path: str, expected: type[OSError]) -> None:
    shell(sandbox, "mkfifo /repo/pipe; ln -s loop /repo/loop")
    with pytest.raises(expected):
        sandbox.read_file(path)
    with pytest.raises(OSError):
        sandbox.write_file(path if path != "/repo/none" else "/repo/none/x", b"x")


def test_links_are_followed_inside_the_sandbox(sandbox: Sandbox) -> None:
    shell(
        sandbox,
        "echo inside > /etc/hostname; ln -s /etc/hostname /repo/link; ln -s /proc/1/root/etc/shadow /repo/magic",
    )
    assert sandbox.read_file("/repo/link") == b"inside\n"
    with pytest.raises(OSError):
        sandbox.read_file("/repo/magic")
    with pytest.raises(OSError):
        sandbox.read_file("/proc/1/environ")


def test_a_listing_names_every_kind(sandbox: Sandbox) -> None:
    shell(sandbox, "cd /repo; mkdir d; echo abc > f; ln -s 'to nowhere' l; mkfifo p; touch -d @1000 f; chmod 4755 f")
    found = {entry.name: entry for entry in sandbox.list_files("/repo")}
    assert {name: entry.kind for name, entry in found.items()} == {
        b"d": "directory",
        b"f": "file",
        b"l": "link",
        b"p": "other",
    }
    assert (found[b"f"].size, found[b"f"].modified, found[b"f"].mode) == (4, 1000.0, 0o4755)
    assert found[b"l"].target == b"to nowhere"
    with pytest.raises(NotADirectoryError):
        sandbox.list_files("/repo/f")
    assert sandbox.list_files("/repo/d") == []


def test_an_archive_is_one_that_others_read(sandbox: Sandbox) -> None:
    long = "n" * 200
    shell(
        sandbox, f"cd /repo; mkdir -p deep/{long}; echo x > deep/{long}/{long}; ln deep/{long}/{long} hard; ln -s a l"
    )
    shell(sandbox, "cd /repo; truncate -s 1G sparse; printf end >> sparse; mkfifo p")
    started = time.monotonic()
    data = b"".join(sandbox.archive("/repo/"))
    assert len(data) < 1 << 20 and time.monotonic() - started < 10
    found = untar(iter([data]))
    assert found[f"repo/deep/{long}/{long}"].size == 2 or found["repo/hard"].size == 2
    assert found["repo/sparse"].size == (1 << 30) + 3
    assert found["repo/l"].linkname == "a" and found["repo/p"].isfifo()
    with pytest.raises(FileNotFoundError):
        list(sandbox.archive("/repo/none"))


def test_an_archive_goes_in_as_it_came_out(sandbox: Sandbox, backend: NamespacesBackend, image: Image) -> None:
    shell(
        sandbox, "cd /repo; mkdir -p a/b; head -c 70000 /dev/urandom > a/b/c; ln a/b/c a/d; ln -s b/c a/e; chmod 711 a"
    )
    shell(sandbox, "cd /repo; truncate -s 64M hole; printf x >> hole; touch 'odd\nname'")
    other = backend.create(image, Limits())
    other.extract(sandbox.archive("/repo"), "/tmp")
    look = "cd $0 && find . -printf '%p %y %m %s %l\\n' | sort; find . -type f -print0 | sort -z | xargs -0 sha256sum"
    mine, theirs = shell(sandbox, look.replace("$0", "/repo")), shell(other, look.replace("$0", "/tmp/repo"))
    assert mine.stdout == theirs.stdout and b"hole" in mine.stdout
    assert said(shell(other, "test a -ef a; [ /tmp/repo/a/d -ef /tmp/repo/a/b/c ] && echo same")) == "same"
    assert int(said(shell(other, "stat -c %b /tmp/repo/hole"))) < 1000
    other.close()


def test_a_process_that_kills_the_tool_is_an_error_with_a_name(sandbox: Sandbox) -> None:
    sandbox.spawn(["bash", "-c", "while :; do kill -9 -1; done 2>/dev/null"]).close()

    def slowly() -> Iterator[bytes]:
        for _ in range(500):
            time.sleep(0.01)
            yield b"x"

    with pytest.raises(SandboxError):
        sandbox.write_file("/repo/x", slowly())
    sandbox.kill_processes()
    sandbox.write_file("/repo/x", b"fine")
    assert sandbox.read_file("/repo/x") == b"fine"


def test_a_dead_sandbox_gives_no_files(backend: NamespacesBackend, image: Image) -> None:
    sandbox = backend.create(image, Limits())
    sandbox.stop()
    with pytest.raises(SandboxError):
        sandbox.read_file("/etc/passwd")
    sandbox.close()
