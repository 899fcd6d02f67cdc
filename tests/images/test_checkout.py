"""A checkout holds one commit, and no other object of the repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cwm_env.errors import ImageError
from cwm_env.images.checkout import checkout


def git(directory: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@localhost", *arguments]
    return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A repository of three commits."""
    place = tmp_path / "mirror"
    place.mkdir()
    git(place, "init", "-q")
    for text in ("past", "now", "future"):
        (place / "file").write_text(text)
        git(place, "add", ".")
        git(place, "commit", "-qm", text)
    return place


def test_only_the_commit_itself_is_there(mirror: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    commit = git(mirror, "rev-parse", "HEAD~1")
    checkout(str(mirror), commit, target)
    assert (target / "file").read_text() == "now"
    assert git(target, "rev-parse", "HEAD") == commit
    objects = git(target, "cat-file", "--batch-all-objects", "--batch-check").splitlines()
    assert sorted(line.split()[1] for line in objects) == ["blob", "commit", "tree"]
    assert not git(target, "remote")
    assert not (target / ".git" / "objects" / "info" / "alternates").exists()


def test_a_commit_that_is_not_there_is_named_as_that(mirror: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be fetched"):
        checkout(str(mirror), "0" * 40, tmp_path)
    with pytest.raises(ImageError, match="40 hexadecimal"):
        checkout(str(mirror), "HEAD", tmp_path)
