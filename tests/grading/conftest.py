"""A repository of one commit on the machine's own programs, and the ways of changing it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cwm_env.grading import patch as patches
from cwm_env.sandbox.base import Sandbox
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.sandbox.run import run
from cwm_env.types import HiddenTests, Image, Limits
from tests.conftest import make_image

FILES = {
    "pkg/__init__.py": "",
    "pkg/core.py": "def double(x):\n    return x + x + 1\n",
    "pkg/data.bin": "\0\1\2",
    "pkg/sub/deep.py": "x = 1\n",
    "tests/test_core.py": "def test_core(): pass\n",
    "tests/helpers.py": "y = 1\n",
    "conftest.py": "",
    "pyproject.toml": "[project]\nname = 'pkg'\n",
    "CHANGELOG.md": "# Changes\n",
    ".gitignore": "*.log\nbuild/\n",
    "win.bat": "echo\r\n",
    ".gitattributes": "*.bat text eol=crlf\n",
}
BYTES = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
"""An environment in which bash reads bytes, not characters."""
Take = Callable[..., patches.Patch]


def git(directory: Path, *arguments: str) -> None:
    """Run git as somebody."""
    names = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *names, *arguments], cwd=directory, check=True, capture_output=True)


@pytest.fixture(scope="session", params=["commit", "no commit"])
def repository(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """An image with a repository in ``/repo``, or with the same files and no repository."""
    image = make_image(tmp_path_factory.mktemp("repository") / "layer")
    root = image.layers[0] / "repo"
    for name, content in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())
    if request.param == "no commit":
        return image
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    return image


@pytest.fixture
def tests(tmp_path: Path) -> HiddenTests:
    """Hidden tests that say nothing in particular."""
    return HiddenTests(tmp_path, "pytest", paths=("/tests", "/repo/tests"))


@pytest.fixture
def take(backend: NamespacesBackend, repository: Image, tests: HiddenTests) -> Iterator[Take]:
    """Runs bash as an agent would, and takes the patch."""
    opened: list[Sandbox] = []

    def taken(commands: str, tests: HiddenTests = tests) -> patches.Patch:
        episode, fresh = backend.create(repository, Limits()), backend.create(repository, Limits())
        opened.extend((episode, fresh))
        done = run(episode, ["bash", "-c", commands], cwd="/repo", timeout=60)
        assert done.exit_code == 0, done.stderr
        episode.stop()
        return patches.take(episode, fresh, repository, tests)

    yield taken
    for sandbox in opened:
        sandbox.close()


@pytest.fixture
def tree_after(backend: NamespacesBackend, repository: Image) -> Callable[[str], dict[bytes, bytes]]:
    """The files of the repository after a patch was applied: kind and content by path."""

    def applied(patch: str) -> dict[bytes, bytes]:
        clone = backend.create(repository, Limits())
        try:
            assert patches.apply(clone, repository, patch) == ""
            return listing(clone)
        finally:
            clone.close()

    return applied


def listing(sandbox: Sandbox) -> dict[bytes, bytes]:
    """Files and links of ``/repo`` without ``.git``: executable bit and content, by path."""
    script = (
        r"cd /repo; find . -name .git -prune -o \( -type f -o -type l \) -print0 | while IFS= read -r -d '' f; do "
        r'if [ -L "$f" ]; then h="link $(readlink "$f"; echo x)"; '
        r'else h=$([ -x "$f" ] && echo x; sha256sum < "$f"); fi; printf "%s\0%s\0" "$f" "$h"; done'
    )
    parts = run(sandbox, ["bash", "-c", script], env=BYTES, timeout=60, output_limit=16 << 20).stdout.split(b"\0")
    return dict(zip(parts[::2], parts[1::2], strict=False))
