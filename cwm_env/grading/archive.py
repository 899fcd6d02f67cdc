"""Files into and out of a sandbox, as tar archives that its own ``tar`` reads and writes."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping, Sequence

from cwm_env.errors import GradingError
from cwm_env.grading.protect import text
from cwm_env.sandbox.base import Change, Sandbox
from cwm_env.sandbox.run import Completed, run

_ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/run/cwm-env", "LC_ALL": "C.UTF-8"}
_SECONDS = 120.0
_TIME = 946_684_800  # the year 2000: ZIP, which some tests write, knows no files from before 1980


def program(sandbox: Sandbox, argv: Sequence[str], *, input: bytes = b"", output_limit: int = 1 << 20) -> Completed:
    """Run one of our own programs in a clone, as its root, in an environment of our own.

    Raises:
        GradingError: it took too long.
        SandboxError: the sandbox failed.
    """
    try:
        return run(sandbox, argv, env=_ENV, input=input, timeout=_SECONDS, output_limit=output_limit)
    except TimeoutError as error:
        raise GradingError(f"{argv[0]} in a fresh clone: {error}") from None


def pack(entries: Iterable[Change]) -> bytes:
    """A tar archive of the files, links and directories among ``entries``, all owned by root."""
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        for entry in entries:
            info = tarfile.TarInfo(text(entry.path))
            info.mode = entry.mode & 0o777
            info.mtime = _TIME
            if entry.kind == "directory":
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            elif entry.kind == "link":
                info.type, info.linkname = tarfile.SYMTYPE, text(entry.data)
                tar.addfile(info)
            elif entry.kind == "file":
                info.size = len(entry.data)
                tar.addfile(info, io.BytesIO(entry.data))
    return buffer.getvalue()


def unpack(
    sandbox: Sandbox, archive: bytes, directory: str, *, gone: Sequence[str] = (), places: Sequence[str] = ()
) -> None:
    """Unpack a tar archive inside a sandbox, as its root.

    Args:
        gone: absolute paths that are removed first.
        places: absolute paths of directories that files go into; what stands there and is none is removed first.

    Raises:
        GradingError: tar complained.
    """
    # Without -r, rm takes files and links (also to directories) and leaves directories alone.
    script = """directory=$1 count=$2; shift 2; rm -rf -- "${@:1:count}"
    [ $# = "$count" ] || rm -f -- "${@:count+1}" 2>/dev/null
    exec tar -xf - -C "$directory" --no-same-owner"""
    argv = ["bash", "-c", script, "unpack", directory, str(len(gone)), *gone, *places]
    done = program(sandbox, argv, input=archive)
    if done.exit_code:
        raise GradingError(f"files could not be unpacked in {directory}: {text(done.stderr).strip()}")


def remove(sandbox: Sandbox, directory: str, paths: Iterable[bytes]) -> None:
    """Remove what is at paths relative to a directory, whole trees too, and directories that become empty, as git does.

    Raises:
        GradingError: something could not be removed.
    """
    script = """cd "$1" && mapfile -d '' -t paths
    for ((at = 0; at < ${#paths[@]}; at += 500)); do rm -rf -- "${paths[@]:at:500}" || exit; done
    for path in "${paths[@]}"; do [ "$path" = "${path%/*}" ] || printf '%s\\0' "${path%/*}"; done | sort -zu |
        while IFS= read -r -d '' place; do rmdir -p -- "$place" 2>/dev/null || true; done"""
    done = program(sandbox, ["bash", "-c", script, "remove", directory], input=b"".join(path + b"\0" for path in paths))
    if done.exit_code:
        raise GradingError(f"files could not be removed from {directory}: {text(done.stderr).strip()}")


def read_files(sandbox: Sandbox, paths: Sequence[str], limit: int) -> Mapping[str, bytes]:
    """The content of regular files, by the absolute paths asked for; those that are not there are left out.

    Raises:
        GradingError: tar complained, or the files hold more than ``limit`` bytes.
    """
    if not paths:
        return {}
    names = b"\0".join(path.lstrip("/").encode("utf-8", "surrogateescape") for path in paths)
    argv = [
        "tar",
        "-cf",
        "-",
        "-C",
        "/",
        "--null",
        "--verbatim-files-from",
        "--no-recursion",
        "--ignore-failed-read",
        "-T",
        "-",
    ]
    done = program(sandbox, argv, input=names, output_limit=limit)
    if done.exit_code > 2 or done.truncated:
        raise GradingError(f"files could not be read from a fresh clone: {text(done.stderr).strip()}")
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(done.stdout), encoding="utf-8", errors="surrogateescape") as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            if file is not None:
                found["/" + member.name] = file.read()
    return found
