"""What an episode changed, as the engine tells it of a container that is dead.

The engine says which paths differ from the image, and gives the content of a directory as an archive, which is read
here as data. Its list is JSON, where a name that is not UTF-8 has lost its bytes; the archive has them, so names are
compared as the list would show them.
"""

from __future__ import annotations

import contextlib
import re
import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from cwm_env.sandbox.base import Change
from cwm_env.sandbox.docker.engine import Engine
from cwm_env.sandbox.docker.request import PRIVATE
from cwm_env.sandbox.docker.tar import PieceReader, name_of

_DELETED = 2
_LOST = re.compile("\ufffd+")


def changes(engine: Engine, container: str, path: str, skip: Collection[bytes], limit: int) -> Iterator[Change]:
    """The changes below ``path``, parents before children, sorted.

    Args:
        path: absolute path in the sandbox.
        skip: names that are left out wherever they stand, with all below them.
        limit: bytes of content, in all.

    Raises:
        ValueError: more than ``limit`` bytes changed.
        SandboxError: the engine does not give them.
    """
    base = path.rstrip("/")
    with engine.doing("say what a container changed"):
        listed = {row["Path"]: row["Kind"] for row in engine.api.diff(container) or []}
    # By the path relative to `base`; a directory that was replaced is in the list as one that was deleted.
    kinds = {name[len(base) + 1 :]: kind for name, kind in listed.items() if (name + "/").startswith(base + "/")}
    if not base:
        kinds = {name: kind for name, kind in kinds.items() if name.partition("/")[0] != PRIVATE}
    if not kinds:
        return
    reader = _Reader({_shown(name) for name in kinds}, skip, limit)
    found = reader.read(engine, container, path) if base else reader.read_root(engine, container, kinds)
    if found is None or kinds.get("") == _DELETED:
        yield Change(b"", "deleted")
    present = {change.path: change for change in found or ()}
    deleted = [name.encode() for name, kind in kinds.items() if name and kind == _DELETED]
    gone = [Change(name, "deleted") for name in deleted if not reader.skipped(name)]
    gone = [] if found is None else [change for change in gone if _is_news(change.path, present)]
    yield from sorted([*gone, *present.values()], key=lambda change: change.path.split(b"/"))


@dataclass
class _Reader:
    """Reads what is there of the paths that differ."""

    listed: Collection[str]
    skip: Collection[bytes]
    left: int
    contents: dict[str, bytes] = field(default_factory=dict)
    """By the name in the archive: later names of the same file refer to it."""

    def read(self, engine: Engine, container: str, path: str) -> list[Change] | None:
        """None where ``path`` is no directory any more."""
        from docker.errors import NotFound

        with engine.doing("give the files of a container"):
            try:
                pieces, _ = engine.api.get_archive(container, path)
            except NotFound:
                return None
            with tarfile.open(fileobj=PieceReader(pieces), mode="r|", errors="surrogateescape") as archive:
                members = iter(archive)
                if not next(members).isdir():
                    return None
                return [change for member in members if (change := self._change(archive, member, 1))]

    def read_root(self, engine: Engine, container: str, kinds: Collection[str]) -> list[Change]:
        """The same for ``/``, where only what lies in a directory that has changes is read: the rest is a system."""
        from docker.errors import NotFound

        found: list[Change] = []
        for top in sorted({name.partition("/")[0] for name in kinds}):
            with engine.doing("give the files of a container"), contextlib.suppress(NotFound):
                pieces, _ = engine.api.get_archive(container, f"/{top}")
                with tarfile.open(fileobj=PieceReader(pieces), mode="r|", errors="surrogateescape") as archive:
                    found += [change for member in archive if (change := self._change(archive, member, 0))]
        return found

    def skipped(self, path: bytes) -> bool:
        """Whether the caller does not want to see it."""
        return any(part in self.skip for part in path.split(b"/"))

    def _change(self, archive: tarfile.TarFile, member: tarfile.TarInfo, top: int) -> Change | None:
        path = b"/".join(name_of(member.name).split(b"/")[top:])
        if not path or self.skipped(path) or _shown(path.decode("utf-8", "replace")) not in self.listed:
            return None
        mode = member.mode & 0o7777
        if member.issym():
            return Change(path, "link", 0o777, member.linkname.encode("utf-8", "surrogateescape"))
        if member.isdir():
            return Change(path, "directory", mode)
        if member.isreg():
            self._spend(member.size)
            file = archive.extractfile(member)
            assert file is not None
            data = self.contents[member.name] = file.read()
            return Change(path, "file", mode, data)
        if member.islnk() and member.linkname in self.contents:
            data = self.contents[member.linkname]
            self._spend(len(data))
            return Change(path, "file", mode, data)
        return Change(path, "other", mode)

    def _spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise ValueError("too many bytes were changed")


def _is_news(path: bytes, present: dict[bytes, Change]) -> bool:
    """Whether a deletion has to be told: not where a file took the place, which says it all."""
    return path not in present or present[path].kind == "directory"


def _shown(name: str) -> str:
    """A name as a list without its bytes shows it: how many replacement characters stand for them varies."""
    return _LOST.sub("\ufffd", name)
