"""Which paths of the agent's tree count: a protected one, with all below it, stays as the image has it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from fnmatch import translate

from cwm_env.sandbox.base import Change
from cwm_env.types import HiddenTests, Image

PROTECTED = (
    # tests, and what they are made of
    "*/tests/*",
    "*/test_*.py",
    "*/*_test.py",
    "*/conftest.*",  # a compiled extension too
    "*/conftest/*",
    # configuration of runners, and of the tools that build what they run
    "*/pytest.ini",
    "*/.pytest.ini",
    "*/pytest.toml",
    "*/.pytest.toml",
    "*/tox.ini",
    "*/setup.cfg",
    "*/pyproject.toml",
    "*/setup.py",
    # what an interpreter runs by itself when it starts, as a file, a package or a compiled extension
    "*/sitecustomize",
    "*/sitecustomize.*",
    "*/sitecustomize/*",
    "*/usercustomize",
    "*/usercustomize.*",
    "*/usercustomize/*",
    "*.pth",
    "*.egg-link",
    "*/pyvenv.cfg",
    "*/.python-version",
    # compiled caches, metadata of installed packages, and the places that those lie in
    "*.pyc",
    "*.pyo",
    "*/__pycache__/*",
    "*.egg-info",
    "*.egg-info/*",
    "*.dist-info/*",
    "*/site-packages/*",
    "*/dist-packages/*",
    "*/.venv/*",
    # the repository's own; lower or upper case, which git holds for the same
    "*/.[gG][iI][tT]",
    "*/.[gG][iI][tT]/*",
)
"""Protected in every task; ``*`` crosses slashes, and a leading ``*/`` matches the root too."""

LONGEST = 2000
"""Bytes of a path. Longer ones do not count: the kernel opens no path of more than 4,096."""


class Rules:
    """What of a change counts in one task."""

    def __init__(self, image: Image, tests: HiddenTests) -> None:
        """The protected paths of every task, the task's own, and where its visible tests lie, less what it opens."""
        self._root = image.workdir
        modules = {"/" + name.partition("::")[0] for name in (*tests.fail_to_pass, *tests.pass_to_pass) if "::" in name}
        visible = [posixpath.relpath(path, self._root) for path in (*tests.paths, *modules)]
        self._exact = frozenset(path for path in visible if not path.startswith(".."))
        self._modules = frozenset(path.removesuffix(".py") for path in self._exact if path.endswith(".py"))
        self._protected = _compile((*PROTECTED, *tests.protected))
        self._open = _compile(tests.unprotected)

    def protects(self, path: bytes) -> bool:
        """Whether the path, or a directory that it lies in, is protected, and the task opens not the path itself."""
        whole = text(path)
        if self._open(f"/{whole}"):
            return False
        parts = whole.split("/")
        return any(self._is_protected("/".join(parts[: end + 1])) for end in range(len(parts)))

    def restores(self, path: str) -> bool:
        """Whether the file at an absolute path is the image's own in every grading."""
        below = posixpath.relpath(path, self._root)
        return below.startswith("..") or self.protects(below.encode("utf-8", "surrogateescape"))

    def counts(self, change: Change) -> bool:
        """Whether a changed path may cross: a regular file, or a link that stays inside, that is not protected."""
        if change.kind == "other" or len(change.path) > LONGEST or self.protects(change.path):
            return False
        return change.kind != "link" or _stays_inside(change)

    def _is_protected(self, path: str) -> bool:
        # With a slash at its end, `tests` is matched by `tests/*`: what replaces a directory hides what is in it.
        # A package or a compiled extension of a test module's name would be imported in its place.
        module = posixpath.join(posixpath.dirname(path), posixpath.basename(path).partition(".")[0])
        exact = path in self._exact or module in self._modules
        return exact or any(map(self._protected, (f"/{path}", f"/{path}/")))


def text(path: bytes) -> str:
    """A path as text; bytes that are not UTF-8 are surrogate escapes."""
    return path.decode("utf-8", "surrogateescape")


def _compile(patterns: Iterable[str]) -> Callable[[str], object]:
    """A function that matches any of the patterns with a path that begins with a slash."""
    anchored = (pattern if pattern.startswith("*") else f"/{pattern}" for pattern in patterns)
    whole = "|".join(map(translate, anchored))
    return re.compile(whole).match if whole else lambda _: None


def _stays_inside(link: Change) -> bool:
    """Whether a link leads to a place inside the tree, whatever other links of the change it passes through.

    Leading ``..`` are counted from a real directory, so their count is exact; one that comes after a name might follow
    another link, and is refused.
    """
    parts = [part for part in link.data.split(b"/") if part not in (b"", b".")]
    ups = next((index for index, part in enumerate(parts) if part != b".."), len(parts))
    if link.data.startswith(b"/") or b".." in parts[ups:] or len(link.data) > LONGEST:
        return False
    if any(part.lower() == b".git" for part in parts):
        return False
    name = posixpath.basename(link.path).lower()
    return ups <= link.path.count(b"/") and name != b".gitmodules"  # git refuses a tree that has such a link
