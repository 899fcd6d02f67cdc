"""What an image must not hold: later commits, the fix, or the hidden tests."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Collection, Mapping

from cwm_env.grading import archive, git
from cwm_env.sandbox.base import Backend, Sandbox
from cwm_env.types import Image, Task

_MOST = 200
_BYTES = 64 << 20

_GIT = f"""
{git.PRELUDE}
check() {{
count=$(git cat-file --batch-all-objects --batch-check='%(objecttype)' | grep -c '^commit$')
[ "$count" = 1 ] || echo "its .git holds $count commits, not one"
[ -z "$(git remote)" ] || echo "its .git names remotes: $(git remote | tr '\\n' ' ')"
count=$(git for-each-ref | wc -l)
[ "$count" -le 1 ] || echo "its .git holds $count refs, not one"
[ "$(cat .git/logs/HEAD 2>/dev/null | wc -l)" -le 1 ] || echo "its .git holds a reflog"
[ ! -s .git/objects/info/alternates ] || echo "its .git borrows objects from another repository"
}}
[ ! -e .git ] || check
for path in /tests /solution; do [ ! -e "$path" ] || echo "it holds $path"; done
"""
# Without what is not on a disk. What a file must hold is a line on standard input; an empty one is in every file.
_FIND = """
cat > "$HOME.line" && echo >> "$HOME.line"
find / \\( -path /proc -o -path /sys -o -path /dev \\) -prune -o -type f -size -4096k \\( "$@" \\) -print0 2>/dev/null |
    xargs -0 -r grep -lZF -f "$HOME.line" -- 2>/dev/null
true
"""


def leaks(backend: Backend, image: Image, task: Task, gold: str) -> list[str]:
    """What should not be in the image of a task, a sentence each.

    Args:
        gold: the gold patch; empty where there is none.

    Raises:
        SandboxError: a sandbox failed.
        GradingError: the image could not be looked through.
    """
    clone = backend.create(image, task.limits)
    try:
        told = archive.program(clone, ["bash", "-c", _GIT, "git", image.workdir]).stdout.decode(errors="replace")
        found = [f"the image of {task.id} leaks: {line}" for line in told.splitlines()]
        return [*found, *_hidden_tests(clone, task), *_fix(clone, image, gold), *_releases(clone, task)]
    finally:
        clone.close()


def _hidden_tests(clone: Sandbox, task: Task) -> list[str]:
    files = [path for path in task.tests.directory.rglob("*") if path.is_file() and path.stat().st_size > 32]
    hidden = {hashlib.sha256(path.read_bytes()).digest(): path for path in files}
    inside = archive.read_files(clone, _find(clone, {path.name for path in files}), _BYTES)
    return [
        f"the hidden test {hidden[digest].name} can be read at {path}"
        for path, content in inside.items()
        if (digest := hashlib.sha256(content).digest()) in hidden
    ]


def _fix(clone: Sandbox, image: Image, gold: str) -> list[str]:
    """Other copies of the files that the gold patch changes, which hold all that it adds."""
    added = _added(gold)
    found = []
    for name, lines in added.items():
        places = _find(clone, {posixpath.basename(name)}, containing=max(lines, key=len))
        copies = archive.read_files(clone, [path for path in places if not _is_changed(path, image, added)], _BYTES)
        found += [
            f"the fix of {name} can be read at {path}" for path, content in copies.items() if lines <= _lines(content)
        ]
    return found


def _is_changed(path: str, image: Image, added: Mapping[str, object]) -> bool:
    return posixpath.relpath(path, image.workdir) in added


def _added(patch: str) -> dict[str, frozenset[bytes]]:
    """The lines that a patch adds to each file; files that it only takes from are left out."""
    found: dict[str, frozenset[bytes]] = {}
    for section in re.split(r"^diff --git ", patch, flags=re.MULTILINE)[1:]:
        name = re.search(r"^\+\+\+ b/(.*)$", section, re.MULTILINE)
        new = "\n".join(
            line[1:] for line in section.splitlines() if line.startswith("+") and not line.startswith("+++ ")
        )
        lines = _lines(new.encode("utf-8", "surrogateescape"))
        if name and lines:
            found[name[1]] = lines
    return found


def _lines(content: bytes) -> frozenset[bytes]:
    return frozenset(line.strip() for line in content.splitlines()) - {b""}


def _releases(clone: Sandbox, task: Task) -> list[str]:
    """Archives of the package that the task is about."""
    words = str(task.metadata.get("package", "")).split()
    if not words:
        return []
    name = re.sub(r"[-_.]+", "[-_.]", re.sub(r"[^\w.-]", "", words[0]))
    patterns = {f"{name}-*{ending}" for ending in (".whl", ".tar.gz", ".tar.bz2", ".zip", ".egg")}
    return [f"the image holds a release of {words[0]}: {path}" for path in _find(clone, patterns)]


def _find(clone: Sandbox, names: Collection[str], *, containing: bytes = b"") -> list[str]:
    """Absolute paths of the regular files of those names that hold a line, anywhere."""
    if not names:
        return []
    tests = " -o ".join(["-iname %s"] * len(names)).split()
    given = iter(sorted(names))
    argv = [next(given) if word == "%s" else word for word in tests]
    done = archive.program(clone, ["bash", "-c", _FIND, "find", *argv], input=containing, output_limit=1 << 20)
    return [path.decode("utf-8", "surrogateescape") for path in done.stdout.split(b"\0") if path][:_MOST]
