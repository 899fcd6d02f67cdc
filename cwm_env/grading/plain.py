"""Patches of images whose workdir is no repository, or that have no git: Harbor's, mostly.

What differs from the image is known without a commit. The patch is written, and read again, by this machine's git, in
an empty repository of its own: it sees names and contents as data, and never makes a file of them. No program of the
image takes part, so a tree of any shape in an image of any kind can be graded.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from cwm_env.errors import GradingError
from cwm_env.grading import archive
from cwm_env.grading.protect import text
from cwm_env.sandbox.base import Change, FileInfo, Sandbox

_SECONDS = 120.0
_LARGEST = 64 << 20
_OLD, _NEW = "refs/old", "refs/new"
_KINDS = {b"100644": ("file", 0o644), b"100755": ("file", 0o755), b"120000": ("link", 0o777)}
_DIFF = ["--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames"]


class Tree:
    """The tree of a clone that nothing has touched, looked at as far as somebody asks."""

    tracked: frozenset[bytes] = frozenset()

    def __init__(self, clone: Sandbox, root: str) -> None:
        """Nothing is read yet.

        Args:
            root: absolute path in the sandbox; all others are relative to it.
        """
        self._clone, self._root = clone, root
        self._listed: dict[bytes, dict[bytes, FileInfo]] = {}

    def holds(self, path: bytes) -> bool:
        """Whether there is something at the path that is not a directory."""
        found = self._info(path)
        return found is not None and found.kind != "directory"

    def below(self, path: bytes) -> Iterator[bytes]:
        """The path itself if it is a file, and every file in the directory ``path``; all for an empty path."""
        if path and self.holds(path):
            yield path
            return
        for name in self._entries(path):
            yield from self.below(path + b"/" + name if path else name)

    def read(self, paths: Iterable[bytes]) -> dict[bytes, Change]:
        """Files and links at the paths; those that are not there, and all else, are left out.

        Raises:
            ValueError: they hold too much.
        """
        found: dict[bytes, Change] = {}
        left = _LARGEST
        for path in sorted(set(paths)):
            info = self._info(path)
            if info is None or info.kind not in ("file", "link"):
                continue
            data = info.target if info.kind == "link" else self._content(path, left)
            left -= len(data)
            found[path] = Change(path, info.kind, info.mode, data)
        return found

    def _content(self, path: bytes, limit: int) -> bytes:
        try:
            return self._clone.read_file(posixpath.join(self._root, text(path)), limit=limit)
        except OSError as error:
            raise ValueError(f"{text(path)} of the image cannot be compared with: {error.strerror}") from error

    def _info(self, path: bytes) -> FileInfo | None:
        parent, _, name = path.rpartition(b"/")
        return self._entries(parent).get(name)

    def _entries(self, path: bytes) -> dict[bytes, FileInfo]:
        """What a directory holds; nothing where there is none, or a link to one."""
        if path not in self._listed:
            self._listed[path] = {}
            above = self._info(path) if path else None
            if not path or (above is not None and above.kind == "directory"):
                place = posixpath.join(self._root, text(path)) if path else self._root
                try:
                    self._listed[path] = {info.name: info for info in self._clone.list_files(place)}
                except OSError as error:
                    raise GradingError(f"{place} of the image cannot be read: {error.strerror}") from error
        return self._listed[path]


def difference(old: Iterable[Change], new: Iterable[Change]) -> str:
    """The patch that turns the files and links of ``old`` into those of ``new``.

    Raises:
        GradingError: git failed.
    """
    with _Git() as git:
        git.commit(_OLD, old)
        git.commit(_NEW, new)
        return text(git("diff-tree", "-r", "-p", *_DIFF, _OLD, _NEW))


def apply(clone: Sandbox, root: str, patch: str) -> str:
    """Apply a patch to the tree of a clone that nothing has touched. Returns git's complaint, empty where it applied.

    Raises:
        GradingError: git failed, or the tree could not be written.
        SandboxError: the clone failed.
    """
    data = patch.encode("utf-8", "surrogateescape")
    with _Git() as git:
        try:
            named = [*git("apply", "--numstat", "-z", "-", input=data).split(b"\0")]
            named += git("apply", "--numstat", "-z", "-R", "-", input=data).split(b"\0")
            paths = {row.split(b"\t", 2)[2] for row in named if row.count(b"\t") >= 2}
            git.commit(_OLD, Tree(clone, root).read(paths).values())
            git("read-tree", _OLD)
            git("apply", "--cached", "--binary", "--whitespace=nowarn", "-", input=data)
        except (GradingError, ValueError) as error:
            return str(error)
        changed = git.changed()
    for path in changed:
        if b".." in path.split(b"/"):
            return f"{text(path)} leads out of the tree"
    archive.remove(clone, root, changed)
    try:
        clone.extract(archive.pack(change for change in changed.values() if change), root)
    except OSError as error:
        return f"it cannot be written: {error}"
    return ""


class _Git:
    """An empty repository on this machine, and its git without any configuration."""

    def __init__(self) -> None:
        program = shutil.which("git")
        if program is None:
            raise GradingError("images without a repository are graded with this machine's git: install it")
        self._program = program

    def __enter__(self) -> _Git:
        self._room = tempfile.TemporaryDirectory(prefix="cwm-env-git-")
        self._env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": self._room.name,
            "GIT_DIR": str(Path(self._room.name) / "git"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "LC_ALL": "C.UTF-8",
        }
        self("init", "--quiet", "--bare", "--template=", self._env["GIT_DIR"])
        return self

    def __exit__(self, *_: object) -> None:
        self._room.cleanup()

    def __call__(self, *arguments: str, input: bytes = b"") -> bytes:
        """What a command prints.

        Raises:
            GradingError: it failed; the message is what it said.
        """
        options = ["-c", "core.quotePath=true", "-c", "core.protectNTFS=false", "-c", "core.protectHFS=false"]
        command = [self._program, *options, *arguments]
        try:
            done = subprocess.run(
                command, input=input, capture_output=True, cwd=self._room.name, env=self._env, timeout=_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise GradingError(f"git {arguments[0]} did not end within {_SECONDS:.0f} seconds") from error
        if done.returncode:
            raise GradingError(text(done.stderr).strip()[-500:] or f"git {arguments[0]} exited with {done.returncode}")
        return done.stdout

    def commit(self, reference: str, entries: Iterable[Change]) -> None:
        """Make ``entries`` the whole tree of a commit."""
        parts = [f"commit {reference}\ncommitter x <x> 0 +0000\ndata 0\ndeleteall\n".encode()]
        for entry in entries:
            mode = b"120000" if entry.kind == "link" else b"100755" if entry.mode & 0o100 else b"100644"
            head = b"M %b inline %b\ndata %d\n" % (mode, _quoted(entry.path), len(entry.data))
            parts += [head, entry.data, b"\n"]
        self("fast-import", "--quiet", "--force", input=b"".join(parts))

    def changed(self) -> Mapping[bytes, Change | None]:
        """What the index holds that the old commit does not, by path; None for what is gone."""
        fields = self("diff-index", "--cached", "--raw", "-z", "--no-renames", "--no-abbrev", _OLD).split(b"\0")
        rows = {path: head.split(b" ") for head, path in zip(fields[:-1:2], fields[1::2], strict=True)}
        blobs = [row[3] for row in rows.values() if row[4] != b"D"]
        contents = self._contents(blobs)
        found: dict[bytes, Change | None] = {}
        for path, (_, mode, _, _, status) in rows.items():
            if status == b"D":
                found[path] = None
            elif mode not in _KINDS:
                raise GradingError(f"{text(path)}: is neither a file nor a link")
            else:
                kind, bits = _KINDS[mode]
                found[path] = Change(path, kind, bits, next(contents))  # type: ignore[arg-type]
        return found

    def _contents(self, blobs: list[bytes]) -> Iterator[bytes]:
        said = self("cat-file", "--batch", input=b"".join(blob + b"\n" for blob in blobs))
        start = 0
        for _ in blobs:
            head, _, _ = said[start : start + 100].partition(b"\n")
            size = int(head.split(b" ")[2])
            start += len(head) + 1
            yield said[start : start + size]
            start += size + 1


def _quoted(path: bytes) -> bytes:
    """A path as fast-import reads it, whatever bytes it is made of."""
    return b'"' + b"".join(b"\\%03o" % byte for byte in path) + b'"'
