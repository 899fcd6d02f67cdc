"""What the agent changed, as a patch in git's format, made by code and a git that the agent never touched.

The stopped episode's tree is read as data (``Sandbox.changes``). What may count is laid over a fresh clone of the
image, and the clone's own git, with its own index and configuration, writes the difference to its one commit.
"""

from __future__ import annotations

import io
import os
import posixpath
import tarfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from cwm_env.errors import GradingError
from cwm_env.sandbox.base import Change, Sandbox
from cwm_env.sandbox.run import run
from cwm_env.types import Image

SKIPPED = frozenset({b".git", b"__pycache__"})
"""Names that never count, wherever they stand: the agent's own repository, and compiled files."""

PROTECTED = (
    "*/conftest.py",
    "*/sitecustomize.py",
    "*/usercustomize.py",
    "*.pth",
    "*.pyc",
    "*.egg-info/*",
    "*.dist-info/*",
)
"""Paths that steer the interpreter or the runner; ``*`` crosses slashes, a leading ``*/`` matches the root too."""

LARGEST = 64 << 20
"""Bytes of changed content that a patch may hold."""

GIT_ENV = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}
_SAFE = "-c safe.directory=* -c core.hooksPath=/dev/null -c core.fsmonitor=false -c core.autocrlf=false"
# Attributes of the repository's own files can ask for conversions; this file has the last word (gitattributes(5)).
_TAKE = f"""
set -e
cd "$1"
git() {{ command git {_SAFE} "$@"; }}
if ! git rev-parse -q --verify HEAD >/dev/null 2>&1; then
    echo "there is no commit in $1 to compare with" >&2
    exit 3
fi
mkdir -p .git/info
echo '* -text -eol -ident -filter -working-tree-encoding' > .git/info/attributes
git add --all >/dev/null
git diff --cached --binary --full-index --no-color --no-ext-diff --no-textconv --no-renames HEAD
"""
_APPLY = f'cd "$1" && git {_SAFE} apply --binary --whitespace=nowarn -'
_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Patch:
    """A change, ready to be applied to a pristine clone."""

    text: str
    """git's format; bytes that are not UTF-8 are surrogate escapes. Empty where nothing counts."""
    dropped: tuple[str, ...] = ()
    """Changed paths that do not count."""


def is_protected(path: str, patterns: Iterable[str]) -> bool:
    """Whether a path relative to the workdir matches one of the patterns."""
    return any(fnmatchcase(path, pattern) or fnmatchcase("/" + path, pattern) for pattern in patterns)


def take(stopped: Sandbox, pristine: Sandbox, image: Image, protected: Collection[str]) -> Patch:
    """The patch of a stopped episode, written in ``pristine``, a fresh clone that is spent by it.

    Raises:
        ValueError: the change is too large; the policy's doing.
        GradingError: the clone could not be used.
        SandboxError: the tree could not be read.
    """
    kept: list[Change] = []
    dropped: list[str] = []
    for change in stopped.changes(image.workdir, skip=SKIPPED, limit=LARGEST):
        if _counts(change, (*PROTECTED, *protected)):
            kept.append(change)
        else:
            dropped.append(_text(change.path))
    if not kept:
        return Patch("", tuple(dropped))
    _lay_over(pristine, image.workdir, kept)
    done = run(
        pristine, ["bash", "-c", _TAKE, "take", image.workdir], env=GIT_ENV, timeout=_SECONDS, output_limit=LARGEST * 2
    )
    if done.exit_code:
        raise GradingError(f"the patch could not be taken from image {image.name}: {_text(done.stderr).strip()}")
    return Patch(_text(done.stdout), tuple(dropped))


def apply(pristine: Sandbox, image: Image, patch: str) -> str:
    """Apply a patch to a fresh clone. Returns git's complaint, empty where it applied."""
    if not patch:
        return ""
    data = os.fsencode(patch)
    done = run(pristine, ["bash", "-c", _APPLY, "apply", image.workdir], env=GIT_ENV, input=data, timeout=_SECONDS)
    return "" if done.exit_code == 0 else _text(done.stderr).strip() or f"git apply exited with {done.exit_code}"


def _counts(change: Change, protected: Iterable[str]) -> bool:
    """Only regular files, directories and links inside the tree cross, and none that is protected."""
    if change.kind == "directory":
        return True
    if change.kind == "other" or is_protected(_text(change.path), protected):
        return False
    if change.kind == "link":
        target = posixpath.normpath(posixpath.join(posixpath.dirname(change.path), change.data))
        return not target.startswith((b"/", b".."))
    return True


def _lay_over(pristine: Sandbox, workdir: str, changes: Collection[Change]) -> None:
    """Make the clone's tree look like the episode's."""
    gone = [posixpath.join(os.fsencode(workdir), c.path) for c in changes if c.kind != "directory"]
    if gone:
        done = run(pristine, ["xargs", "-0", "rm", "-rf", "--"], env=GIT_ENV, input=b"\0".join(gone), timeout=_SECONDS)
        if done.exit_code:
            raise GradingError(f"deletions could not be applied: {_text(done.stderr).strip()}")
    archive = pack(change for change in changes if change.kind != "deleted")
    unpack(pristine, archive, workdir)


def pack(entries: Iterable[Change]) -> bytes:
    """A tar archive of files, links and directories, all owned by root."""
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        for entry in entries:
            info = tarfile.TarInfo(_text(entry.path))
            info.mode = entry.mode & 0o777
            if entry.kind == "directory":
                info.type = tarfile.DIRTYPE
                info.mode |= 0o700
                tar.addfile(info)
            elif entry.kind == "link":
                info.type, info.linkname = tarfile.SYMTYPE, _text(entry.data)
                tar.addfile(info)
            else:
                info.size = len(entry.data)
                tar.addfile(info, io.BytesIO(entry.data))
    return buffer.getvalue()


def unpack(sandbox: Sandbox, archive: bytes, directory: str) -> None:
    """Unpack a tar archive inside a sandbox, as its root.

    Raises:
        GradingError: tar complained.
    """
    argv = ["tar", "--extract", "--file=-", f"--directory={directory}", "--no-same-owner"]
    done = run(sandbox, argv, env=GIT_ENV, input=archive, timeout=_SECONDS)
    if done.exit_code:
        raise GradingError(f"files could not be unpacked in {directory}: {_text(done.stderr).strip()}")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
