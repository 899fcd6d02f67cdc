"""The hidden tests of one run: copies of the test modules, with canaries, and what starts them.

They are put together on the host and brought into a clone after the patch, so that they replace whatever it did there.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from cwm_env.errors import GradingError, TaskError
from cwm_env.grading import archive, canaries, patch
from cwm_env.grading.pristine import Pristine, contents
from cwm_env.grading.protect import Rules, text
from cwm_env.sandbox.base import Backend, Change, Sandbox
from cwm_env.types import OUT_OF_BAND, HiddenTests, Image, Limits

HOME = "/run/cwm-env"
"""Where the launcher lies in a clone."""

_LAUNCHER = Path(__file__).with_name("launcher.py")
_WITHIN = (b"pytester", b"testdir")
"""Fixtures that run pytest within pytest: what they see changes with the tests that failed before, so a module that has
them gets no canaries, and its verdict is not trusted unseen."""
_NOT_BROUGHT = ("expected.json", "test.patch")


@dataclass(frozen=True, slots=True)
class Hidden:
    """What is brought into a clone."""

    entries: tuple[Change, ...]
    """Paths relative to the root."""
    replaced: tuple[str, ...]
    """Absolute paths in the repository that are removed first."""
    canaries: tuple[str, ...]
    """Names of the canaries among the tests."""

    def bring(self, clone: Sandbox) -> None:
        """Lay everything into a clone, readable for everyone, writable for root only.

        Raises:
            GradingError: it could not be unpacked.
        """
        places = {str(parent) for path in self.replaced for parent in PurePosixPath(path).parents} - {"/"}
        gone = ("/tests", HOME, *self.replaced)
        archive.unpack(clone, archive.pack(self.entries), "/", gone=gone, places=sorted(places))


def prepare(clone: Sandbox, known: Pristine, image: Image, tests: HiddenTests, overlay: tuple[Change, ...]) -> Hidden:
    """Copies of all test modules; those that hold expected tests get canaries.

    Args:
        clone: a clone that nothing has touched yet, to read the image's own test modules from.
        overlay: what ``tests.patch`` makes of the image's files, with paths relative to the root.

    Raises:
        TaskError: a hidden test cannot be read.
        SandboxError: the clone failed.
    """
    entries = {entry.path: entry for entry in (*_brought(tests.directory), *overlay) if entry.kind != "deleted"}
    modules = _modules(tests, entries)
    rules = Rules(image, tests)
    own = [path for path in modules if _relative(path) not in entries and rules.restores(path)]
    for path, data in contents(clone, known, own).items():
        entries[_relative(path)] = Change(_relative(path), "file", 0o644, data)
    taken = {canaries.last_part(name) for name in (*tests.fail_to_pass, *tests.pass_to_pass)}
    left_out = canaries.LeftOut.of(tests.args if tests.runner == "pytest" else ())
    names: list[str] = []
    for path, copied in modules.items():
        entry = entries.get(_relative(path))
        if entry is not None and entry.kind == "file" and not any(name in entry.data for name in _WITHIN):
            several = path.startswith("/tests/") or bool(copied)
            planted = canaries.plant(
                entry.data, runner=tests.runner, taken=taken, copied=copied, several=several, left_out=left_out
            )
            entries[entry.path] = replace(entry, data=planted.source)
            names += planted.names
    ours = (
        Change(_relative(f"{HOME}/launcher.py"), "file", 0o644, _LAUNCHER.read_bytes()),
        Change(_relative(f"{HOME}/empty.ini"), "file", 0o644, b"[pytest]\n"),
    )
    replaced = tuple("/" + text(entry.path) for entry in overlay)
    return Hidden((*entries.values(), *ours), replaced, tuple(names))


def overlay_of(
    backend: Backend, image: Image, limits: Limits, tests: HiddenTests, known: Pristine
) -> tuple[Change, ...]:
    """What ``tests.patch`` makes of the image's files: their whole content, or that they are gone. Found out once.

    Raises:
        GradingError: it does not apply to the image.
        SandboxError: a sandbox failed.
    """
    if not tests.patch or tests.patch in known.overlays:
        return known.overlays.get(tests.patch, ())
    clone = backend.create(image, limits)
    try:
        complaint = patch.apply(clone, image, tests.patch)
        if complaint:
            raise GradingError(f"the hidden tests' patch does not apply to image {image.name}: {complaint}")
        clone.stop()
        found = patch.changes_of(clone, image)
    finally:
        clone.close()
    root = os.fsencode(image.workdir.strip("/"))
    known.overlays[tests.patch] = tuple(
        Change(posixpath.join(root, change.path), change.kind, 0o644 | (change.mode & 0o111), change.data)
        for change in found
        if change.kind in ("file", "link", "deleted")
    )
    return known.overlays[tests.patch]


def _brought(directory: Path) -> list[Change]:
    """The files of the task's ``tests/``."""
    found = []
    try:
        for path in sorted(directory.rglob("*")):
            name = path.relative_to(directory)
            if "__pycache__" in name.parts or name.as_posix() in _NOT_BROUGHT or not path.is_file():
                continue
            mode = 0o644 | (path.stat().st_mode & 0o111)
            found.append(Change(b"tests/" + os.fsencode(name.as_posix()), "file", mode, path.read_bytes()))
    except OSError as error:
        raise TaskError(f"{error.filename}: cannot be read: {error.strerror}") from None
    return found


def _modules(tests: HiddenTests, entries: Mapping[bytes, Change]) -> dict[str, frozenset[str]]:
    """Absolute paths of the modules that get canaries, with the names of the tests in them that the fix makes pass."""
    expected = (*tests.fail_to_pass, *tests.pass_to_pass)
    if not expected or tests.runner not in OUT_OF_BAND:
        return {}
    if tests.runner == "unittest":
        # Ids are dotted there, and say nothing of files: every module that is brought and holds a test case.
        fixed = frozenset(map(canaries.last_part, tests.fail_to_pass))
        return {"/" + text(path): fixed for path, entry in entries.items() if _is_unittest(path, entry.data)}
    to_pass = frozenset(tests.fail_to_pass)
    found: dict[str, set[str]] = {}
    if tests.loose_names:  # bare ones say nothing of files
        bare = {canaries.last_part(name) for name in to_pass if "::" not in name}
        found = {path: set(bare) for path in tests.paths if path.endswith(".py")}
    for name in expected:
        path, _, rest = name.partition("::")
        if rest and path.endswith(".py"):
            found.setdefault("/" + path, set()).update({canaries.last_part(name)} if name in to_pass else ())
    return {path: frozenset(names) for path, names in found.items()}


def _relative(path: str) -> bytes:
    return path.lstrip("/").encode("utf-8", "surrogateescape")


def _is_unittest(path: bytes, source: bytes) -> bool:
    return path.endswith(b".py") and b"TestCase" in source and b"def test" in source and b"load_tests" not in source
