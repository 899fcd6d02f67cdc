"""One commit, checked out once for an instance: packed for sandboxes, and read by name."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from packaging.version import InvalidVersion, Version

from cwm_env.errors import ImageError
from cwm_env.images.checkout import checkout

_SECONDS = 600.0
_FROM_TAGS = re.compile(r"setuptools[-_]scm|hatch[-_]vcs|vcs_versioning|flit[-_]scm|pdm-backend|\bpbr\b|dunamai")
_BUILD_FILES = ("pyproject.toml", "setup.py", "setup.cfg")
_ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class Checkout:
    """A commit's files."""

    archive: Path
    """The files, and a ``.git`` that holds this commit alone, as a tar archive."""
    tree: Path
    source: str
    commit: str

    def read(self, path: str) -> str | None:
        """The text of a file of the commit; None where there is none. Links are not followed."""
        said = _git(self.tree, "cat-file", "blob", f"{self.commit}:{path}")
        return said.decode("utf-8", "replace") if said is not None else None

    def date(self) -> datetime:
        """When the commit was made."""
        said = _git(self.tree, "show", "--no-patch", "--format=%ct", self.commit) or b"0"
        return datetime.fromtimestamp(int(said), UTC)

    def version(self, fallback: str) -> str:
        """The version that the project's build reads from git's tags, which are not fetched; empty where it does not.

        Args:
            fallback: where the mirror has no tag below the commit, or is no directory: such as ``7.2``.
        """
        if not any(_FROM_TAGS.search(self.read(name) or "") for name in _BUILD_FILES):
            return ""
        place = Path(self.source)
        said = _git(place, "describe", "--tags", "--long", "--match=*[0-9]*", self.commit) if place.is_dir() else None
        match = re.fullmatch(r"(?:.*?[-_/])?v?(\d.*)-(\d+)-g[0-9a-f]+", said.decode().strip()) if said else None
        try:
            return _next(Version(match[1]), int(match[2])) if match else f"{Version(fallback or '0')}.dev0"
        except InvalidVersion:
            return "0.dev0"


def make(source: str, commit: str, directory: Path) -> Checkout:
    """Check a commit out in a directory that is not there yet.

    Raises:
        ImageError: it cannot be fetched.
    """
    tree = directory / "tree"
    tree.mkdir(parents=True)
    checkout(source, commit, tree)
    archive = directory / "checkout.tar"
    command = ["tar", "--create", f"--file={archive}", f"--directory={tree}", "."]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)
    except subprocess.SubprocessError as error:
        raise ImageError(f"the checkout of {commit} could not be packed: {error}") from None
    archive.chmod(0o644)
    return Checkout(archive, tree, source, commit)


def _next(tag: Version, distance: int) -> str:
    """The version of a commit so many after a tag, as setuptools-scm counts it by default."""
    if not distance:
        return str(tag)
    numbers = list(tag.release)
    if not tag.is_prerelease and not tag.is_devrelease:
        numbers[-1] += 1
    return f"{'.'.join(map(str, numbers))}.dev{distance}"


def _git(directory: Path, *arguments: str) -> bytes | None:
    command = ["git", "-c", "safe.directory=*", "-c", "core.hooksPath=/dev/null", *arguments]
    try:
        done = subprocess.run(
            command, cwd=directory, env=_ENV, capture_output=True, stdin=subprocess.DEVNULL, timeout=_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
