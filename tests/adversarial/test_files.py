"""Rows 15, 16 and 18: hostile trees, archives and images."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cwm_env.errors import SandboxError
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.sandbox.namespaces.sandbox import NamespaceSandbox
from cwm_env.sandbox.run import run
from cwm_env.types import Image, Limits
from tests.conftest import make_image
from tests.sandbox.tools import said, shell

HARD = tarfile.LNKTYPE


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size
    return made


def archive(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for entry in members:
            tar.addfile(entry, io.BytesIO(b"x" * entry.size))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("upwards", archive(member("../out", size=1))),
        ("upwards inside", archive(member("a/../../out", size=1))),
        ("absolute", archive(member("/out", size=1))),
        ("through a link", archive(member("l", tarfile.SYMTYPE, "/etc"), member("l/out", size=1))),
        ("through a link upwards", archive(member("l", tarfile.SYMTYPE, ".."), member("l/out", size=1))),
        ("hard link outwards", archive(member("h", tarfile.LNKTYPE, "../etc/passwd"))),
        ("hard link absolute", archive(member("h", tarfile.LNKTYPE, "/etc/passwd"))),
        ("hard link through a link", archive(member("l", tarfile.SYMTYPE, "/etc"), member("h", HARD, "l/passwd"))),
        ("block device", archive(member("d", tarfile.BLKTYPE))),
        ("character device", archive(member("d", tarfile.CHRTYPE))),
        ("cut short", archive(member("a", size=100_000))[:5000]),
        ("not an archive", os.urandom(2048)),
        ("too large", archive(member("a", size=3 << 20))),
        ("too many", archive(*(member(str(number)) for number in range(200)))),
    ],
)  # fmt: skip
def test_an_archive_that_reaches_out_is_refused(cell: NamespaceSandbox, name: str, data: bytes) -> None:
    shell(cell, "mkdir /repo/in")
    with pytest.raises(OSError, match="refused"):
        cell.extract(data, "/repo/in", max_bytes=2 << 20, max_entries=100)
    assert said(shell(cell, "ls / /etc /repo | grep -c '^out$'")) == "0"
    assert said(shell(cell, "stat -c %h /etc/passwd")) == "1"
    assert said(shell(cell, "echo on")) == "on"


def test_a_sparse_bomb_is_refused_before_it_unfolds(cell: NamespaceSandbox) -> None:
    shell(cell, "truncate -s 1T /repo/bomb")
    bomb = b"".join(cell.archive("/repo/bomb"))
    assert len(bomb) < 100_000
    with pytest.raises(OSError, match="more than is allowed"):
        cell.extract(bomb, "/tmp")


def test_a_file_in_place_of_a_link_does_not_write_through_it(cell: NamespaceSandbox) -> None:
    shell(cell, "ln -s /etc/passwd /repo/a")
    cell.extract(archive(member("a", size=3)), "/repo")
    assert said(shell(cell, "cat /repo/a; test -L /repo/a || echo file; head -c 4 /etc/passwd")) == "xxxfile\nroot"


def test_an_upload_gets_no_setuid_bit_and_no_foreign_owner(cell: NamespaceSandbox) -> None:
    entry = member("a", size=1)
    entry.mode, entry.uid, entry.gid = 0o6755, 1234, 1234
    cell.extract(archive(entry), "/repo")
    assert said(shell(cell, "stat -c '%a %u' /repo/a")) == "755 0"


def spoil_proc(layer: Path) -> None:
    (layer / "proc").rmdir()
    (layer / "proc").symlink_to("etc")


def spoil_dev(layer: Path) -> None:
    (layer / "dev").rmdir()
    (layer / "dev").write_text("")


def spoil_tmp(layer: Path) -> None:
    (layer / "tmp").rmdir()
    (layer / "tmp").symlink_to("/")


@pytest.mark.parametrize("spoil", [spoil_proc, spoil_dev, spoil_tmp])
def test_an_image_with_a_trap_where_we_mount_is_refused(
    backend: NamespacesBackend, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    image = make_image(tmp_path / "layer")
    spoil(tmp_path / "layer")
    with pytest.raises(SandboxError, match="cannot be used"):
        backend.create(image, Limits())


def test_users_of_a_hostile_image_are_only_names(backend: NamespacesBackend, image: Image, tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    (layer / "etc").mkdir(parents=True)
    lines = ["root:x:4294967295:0::/:/bin/sh", "big:x:99999999999999999999:0::/:", "a" * 100_000, ":::::::", "x:y"]
    (layer / "etc" / "passwd").write_text("\n".join(lines))
    cell = backend.create(replace(image, layers=(*image.layers, layer)), Limits())
    assert said(shell(cell, "id -u")) == "0"
    with pytest.raises(SandboxError, match="no such user"):
        cell.spawn(["true"], user="big")
    shell(cell, "rm /etc/passwd; mkfifo /etc/passwd")
    assert run(cell, ["echo", "on"], timeout=10).stdout == b"on\n"  # bash itself would wait for a writer
    cell.close()


def test_what_an_episode_changed_is_read_without_following_anything(backend: NamespacesBackend, image: Image) -> None:
    cell = backend.create(image, Limits())
    shell(cell, "cd /repo; ln -s /etc/shadow link; mkfifo pipe; mkdir -p a/b; ln -s ../../.. a/b/up; touch 'n\nl'")
    shell(
        cell, "cd /repo; p=.; for i in {1..200}; do p=$p/d; done; mkdir -p $p; setfattr -n user.overlay.opaque -v y a"
    )
    cell.stop()
    found = {change.path: change for change in cell.changes("/repo", skip=[b"d"])}
    assert found[b"link"].kind == "link" and found[b"link"].data == b"/etc/shadow"
    assert found[b"pipe"].kind == "other" and found[b"a/b/up"].data == b"../../.." and b"n\nl" in found
    cell.close()
