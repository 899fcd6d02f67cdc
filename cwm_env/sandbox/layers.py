"""Layers of an image: directories in the form that an overlay takes, and archives in the form that OCI images have.

In a directory a character device 0/0 stands for a name that is deleted, and the attribute ``user.overlay.opaque`` marks
one that hides all below it; in an archive files called ``.wh.NAME`` and ``.wh..wh..opq`` do.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tarfile
import threading
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import IO

from cwm_env.errors import SandboxError
from cwm_env.sandbox.namespaces import ids

_WHITEOUT, _OPAQUE_MARK = ".wh.", ".wh..wh..opq"
_OPAQUE = "user.overlay.opaque"
_ENTRY = "writable/upper"
_MOST_IDS, _NOBODY = 1 << 16, 65534


def unpack(archive: IO[bytes], directory: Path) -> None:
    """Unpack a layer's archive, without compression, into an empty directory.

    The archive is hostile data: it is unpacked inside a sandbox, by descriptors, and never by this process. Devices
    are left out, for a sandbox has its own; users with ids above 65,535 become nobody.

    Raises:
        SandboxError: it is damaged, holds what is refused, or no sandbox can be made here.
        DiskFull: no space is left.
    """
    from cwm_env.sandbox.namespaces.backend import NamespacesBackend

    backend = NamespacesBackend(spawners=1)
    reading, writing = os.pipe()
    failure: list[BaseException] = []

    def convert() -> None:
        try:
            with os.fdopen(writing, "wb", buffering=1 << 17) as out:
                _convert(archive, out)
        except BrokenPipeError:
            pass  # the other side says why
        except (tarfile.TarError, OSError, EOFError, ValueError) as error:
            failure.append(error)

    thread = threading.Thread(target=convert, name="cwm-env layer")
    thread.start()
    try:
        backend.fill(directory, reading)
    except SandboxError as error:
        os.close(reading)
        thread.join()
        raise SandboxError(f"a layer cannot be unpacked: {failure[0] if failure else error}") from error
    else:
        os.close(reading)
        thread.join()
        if failure:
            raise SandboxError(f"a layer cannot be unpacked: {failure[0]}") from failure[0]
    finally:
        backend.close()


def pack(directory: Path, out: IO[bytes]) -> None:
    """Write a layer's directory as an archive, whose bytes depend on the content only.

    Raises:
        OSError: it cannot be read, or ``out`` not be written.
    """
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
        seen: dict[tuple[int, int], str] = {}
        for path in _walk(directory):
            _pack_entry(archive, directory, path, seen)


def _convert(source: IO[bytes], out: IO[bytes]) -> None:
    """Rewrite an OCI layer as the archive that a new sandbox takes over (``take_over`` of ``native/filesystem.c``)."""
    directories: dict[str, tarfile.TarInfo] = {}
    with (
        tarfile.open(fileobj=source, mode="r|", errors="surrogateescape") as layer,
        tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive,
    ):
        for member in layer:
            name = _clean(member.name)
            parent, _, base = name.rpartition("/")
            if base == _OPAQUE_MARK:
                archive.addfile(_opaque(directories.get(parent), parent))
            elif base.startswith(_WHITEOUT):
                if not base.startswith(_WHITEOUT * 2):  # other marks of an old storage driver
                    archive.addfile(_whiteout(f"{parent}/{base.removeprefix(_WHITEOUT)}"))
            elif (entry := _entry(member, name)) is not None:
                archive.addfile(entry, layer.extractfile(member) if entry.isreg() else None)
                if entry.isdir():
                    directories[name] = entry


def _clean(name: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"a name in it leads out of the directory: {name!r}")
    return "/".join(parts)


def _placed(name: str) -> str:
    return f"{_ENTRY}/{name.lstrip('/')}".rstrip("/")


def _entry(member: tarfile.TarInfo, name: str) -> tarfile.TarInfo | None:
    if member.ischr() or member.isblk():
        return None
    entry = copy(member)
    entry.name, entry.pax_headers = _placed(name), {}
    entry.uid, entry.gid = (number if number < _MOST_IDS else _NOBODY for number in (member.uid, member.gid))
    entry.uname = entry.gname = ""
    if member.isreg():  # one with holes comes without them
        entry.type = tarfile.REGTYPE
    if member.islnk():
        entry.linkname = _placed(_clean(member.linkname))
    return entry


def _whiteout(name: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(_placed(name))
    entry.type = tarfile.CHRTYPE
    return entry


def _opaque(directory: tarfile.TarInfo | None, name: str) -> tarfile.TarInfo:
    entry = copy(directory) if directory else tarfile.TarInfo(_placed(name))
    if directory is None:
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    entry.pax_headers = {f"SCHILY.xattr.{_OPAQUE}": "y"}
    return entry


def _walk(directory: Path) -> Iterator[str]:
    """Paths below a directory, parents first, sorted."""
    for entry in sorted(os.scandir(directory), key=lambda entry: os.fsencode(entry.name)):
        yield entry.path
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))


def _pack_entry(archive: tarfile.TarFile, top: Path, path: str, seen: dict[tuple[int, int], str]) -> None:
    name = os.path.relpath(path, top)
    status = os.lstat(path)
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
        parent, base = os.path.split(name)
        archive.addfile(_mark(os.path.join(parent, _WHITEOUT + base)))  # noqa: PTH118
        return
    entry = archive.gettarinfo(path, arcname=name)
    if entry is None or stat.S_ISSOCK(status.st_mode):
        return
    entry.uname = entry.gname = ""
    entry.mtime = int(status.st_mtime)
    if not ids.privileged():  # all files are this user's, who is root in its sandboxes
        entry.uid = entry.gid = 0
    if entry.isdir():
        archive.addfile(entry)
        if _is_opaque(path):
            archive.addfile(_mark(f"{name}/{_OPAQUE_MARK}"))
        return
    first = seen.setdefault((status.st_dev, status.st_ino), name) if status.st_nlink > 1 else name
    entry.type = tarfile.LNKTYPE if first != name else tarfile.REGTYPE if stat.S_ISREG(status.st_mode) else entry.type
    if first != name:
        entry.linkname, entry.size = first, 0
        archive.addfile(entry)
    elif entry.isreg():
        entry.size = status.st_size
        with open(path, "rb") as file:  # noqa: PTH123
            archive.addfile(entry, file)
    else:
        archive.addfile(entry)


def _mark(name: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode = 0o600
    return entry


def _is_opaque(path: str) -> bool:
    with contextlib.suppress(OSError):
        return os.getxattr(path, _OPAQUE, follow_symlinks=False) == b"y"
    return False
