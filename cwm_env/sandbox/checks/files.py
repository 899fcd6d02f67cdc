"""Files in and out, and what an episode changed."""

from __future__ import annotations

import errno
import io
import os
import tarfile
from functools import partial

from cwm_env.errors import SandboxError
from cwm_env.sandbox.base import Change
from cwm_env.sandbox.checks.bench import ANY_BYTES, Bench, fails, out

_NAME = b"n\xff \n\xc3\xa4"


def file_of_any_bytes_under_any_name(bench: Bench) -> None:
    path = "/tmp/" + os.fsdecode(_NAME)
    bench.shared.write_file(path, ANY_BYTES, mode=0o640, user="agent")
    assert bench.shared.read_file(path) == ANY_BYTES
    entry = next(entry for entry in bench.shared.list_files("/tmp") if entry.name == _NAME)
    assert (entry.kind, entry.mode, entry.size) == ("file", 0o640, len(ANY_BYTES))
    assert out(bench.shared, "stat -c %u /tmp/n*") == "1000"


def every_user_may_write_to_scratch_space(bench: Bench) -> None:
    for place in ("/tmp", "/run", "/dev/shm"):
        assert out(bench.shared, f"stat -c %a {place}; : > {place}/$UID; stat -c %u {place}/$UID", user="agent") == (
            "1777\n1000"
        )


def large_file_in_pieces(bench: Bench) -> None:
    piece = os.urandom(1 << 20)
    bench.shared.write_file("/tmp/large", (piece for _ in range(12)))
    assert bench.shared.read_file("/tmp/large") == piece * 12
    out(bench.shared, "rm /tmp/large")


def reading_has_errors_of_the_system(bench: Bench) -> None:
    fails(lambda: bench.shared.read_file("/nowhere"), errno.ENOENT)
    fails(lambda: bench.shared.read_file("/repo"), errno.EISDIR)
    fails(lambda: bench.shared.read_file("/repo/kept", limit=2), errno.EFBIG)
    fails(lambda: bench.shared.list_files("/repo/kept"), errno.ENOTDIR)
    fails(lambda: bench.shared.write_file("/nowhere/file", b""), errno.ENOENT)


def pipes_and_devices_are_not_read(bench: Bench) -> None:
    out(bench.shared, "mkfifo /tmp/pipe")
    fails(lambda: bench.shared.read_file("/tmp/pipe"))
    fails(lambda: bench.shared.read_file("/dev/zero"))


def links_lead_only_within_the_sandbox(bench: Bench) -> None:
    out(bench.shared, "ln -sf /etc/passwd /tmp/link; ln -sf /proc/self/root/etc/passwd /tmp/magic")
    assert bench.shared.read_file("/tmp/link") == bench.shared.read_file("/etc/passwd")
    assert bench.shared.read_file("/tmp/magic") == bench.shared.read_file("/etc/passwd")


def archive_and_extract(bench: Bench) -> None:
    out(bench.shared, "mkdir -p /tmp/from/sub; echo 1 > /tmp/from/a; ln -s a /tmp/from/sub/l; chmod 750 /tmp/from/sub")
    out(bench.shared, "mkdir /tmp/to; chown 1000 /tmp/to")
    data = b"".join(bench.shared.archive("/tmp/from"))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = {member.name for member in archive}
    assert names == {"from", "from/a", "from/sub", "from/sub/l"}, names
    bench.shared.extract(data, "/tmp/to", user="agent")
    assert (
        out(bench.shared, "cat /tmp/to/from/a; readlink /tmp/to/from/sub/l; stat -c '%a %u' /tmp/to/from/sub")
        == "1\na\n750 1000"
    )


def hostile_archives_are_refused(bench: Bench) -> None:
    out(bench.shared, "mkdir -p /tmp/safe")
    for name, kind, target in (
        ("../out", b"0", ""),
        ("/abs", b"0", ""),
        ("dev", b"3", ""),
        ("l", b"1", "../../etc/passwd"),
    ):
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as archive:
            archive.addfile(member)
        fails(partial(bench.shared.extract, made.getvalue(), "/tmp/safe"))


def changes_of_a_stopped_sandbox(bench: Bench) -> None:
    sandbox = bench.fresh()
    out(
        sandbox,
        "cd /repo; rm kept; rm -r old; mkdir old; echo n > old/new; ln -s x soft; printf '\\0\\377' > bin; "
        "chmod 600 bin; mkdir skipped; echo > skipped/f; echo e > $'odd\\377'; echo elsewhere > /root/x; ln bin hard",
    )
    process = sandbox.spawn(["sleep", "92"])
    sandbox.stop()
    sandbox.stop()
    found = list(sandbox.changes("/repo", skip={b"skipped"}))
    assert found == sorted(found, key=lambda change: change.path.split(b"/")), "parents do not come first"
    left = _applied({b"kept", b"old", b"old/file", b"link"}, found)
    assert left == {
        b"link": None,
        b"old": Change(b"old", "directory", 0o755),
        b"old/new": Change(b"old/new", "file", 0o644, b"n\n"),
        b"soft": Change(b"soft", "link", 0o777, b"x"),
        b"bin": Change(b"bin", "file", 0o600, b"\0\xff"),
        b"hard": Change(b"hard", "file", 0o600, b"\0\xff"),
        b"odd\xff": Change(b"odd\xff", "file", 0o644, b"e\n"),
    }, left
    assert list(sandbox.changes("/repo")) and not list(sandbox.changes("/etc"))
    try:
        sandbox.spawn(["true"])
    except SandboxError:
        process.close()
    else:
        raise AssertionError("a stopped sandbox started a process")


def pipe_is_a_change_of_another_kind(bench: Bench) -> None:
    sandbox = bench.fresh()
    out(sandbox, "mkfifo -m 640 /repo/pipe")
    sandbox.stop()
    assert list(sandbox.changes("/repo"))[-1:] == [Change(b"pipe", "other", 0o640)]


def changes_are_bounded(bench: Bench) -> None:
    sandbox = bench.fresh()
    out(sandbox, "head -c 100000 /dev/zero > /repo/zeros")
    sandbox.stop()
    try:
        list(sandbox.changes("/repo", limit=50000))
    except ValueError:
        return
    raise AssertionError("no limit was noticed")


def replaced_directory_is_deleted(bench: Bench) -> None:
    for replacement in ("echo > /repo", "ln -s /etc /repo", "true"):
        sandbox = bench.fresh()
        out(sandbox, f"rm -r /repo; {replacement}")
        sandbox.stop()
        assert list(sandbox.changes("/repo")) == [Change(b"", "deleted")], replacement


def _applied(before: set[bytes], changes: list[Change]) -> dict[bytes, Change | None]:
    """What is there after ``changes``; None for what was there before."""
    there: dict[bytes, Change | None] = dict.fromkeys(before)
    for change in changes:
        if change.kind == "deleted":
            there = {path: each for path, each in there.items() if not (path + b"/").startswith(change.path + b"/")}
        elif change.path:
            there[change.path] = change
    return there
