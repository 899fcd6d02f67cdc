"""What there is to know of an image's repository, found out once: its files, and which of them git tracks."""

from __future__ import annotations

import bisect
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cwm_env.errors import GradingError
from cwm_env.grading import archive, git
from cwm_env.sandbox.base import Change, Sandbox
from cwm_env.types import Image

LARGEST = 256 << 20
"""Bytes of what is read out of a clone at once."""

# `others` without exclusions lists ignored files too; a nested repository is listed as a directory, and stays whole.
# The image's own index, unless it hides something, knows what each file was when it was looked at last (time, size,
# inode), without which every file would be read. Times of change are others in a clone; the index's own time says which
# files are too young to trust.
_LIST = f"""
{git.PRELUDE}
git rev-parse -q --verify HEAD >/dev/null 2>&1 || exit 3
own=$(git rev-parse --git-path index)
export GIT_INDEX_FILE=$HOME/inspect.index
[ ! -f "$own" ] || GIT_INDEX_FILE=$own git ls-files -v | grep -qv '^H' || cp -p "$own" "$GIT_INDEX_FILE"
git read-tree -m HEAD 2>/dev/null || {{ rm -f "$GIT_INDEX_FILE"; git read-tree HEAD; }} || exit 1
git -c core.trustctime=false update-index --really-refresh >&2 &&
    printf 'clean\\0' || printf 'dirty\\0'
git ls-files -z --cached && printf '\\0' && git ls-files -z --others
"""
_KEPT = 64


@dataclass(slots=True)
class Pristine:
    """The repository of an image, as data."""

    files: Sequence[bytes]
    """Everything but directories, relative to the workdir, sorted."""
    tracked: frozenset[bytes]
    """Those of them that are in its commit."""
    clean: bool
    """Whether they are as the commit has them."""
    repository: bool = True
    """False where the workdir is none, or the image has no git: nothing else is known then (``plain``)."""
    contents: dict[str, bytes] = field(default_factory=dict)
    """What was read of it so far, by absolute path."""
    overlays: dict[str, tuple[Change, ...]] = field(default_factory=dict)
    """What hidden patches make of it, by their text."""

    def holds(self, path: bytes) -> bool:
        """Whether there is something at the path that is not a directory."""
        index = bisect.bisect_left(self.files, path)
        return index < len(self.files) and self.files[index] == path

    def below(self, path: bytes) -> Iterator[bytes]:
        """The path itself if it is a file, and every file in the directory ``path``; all for an empty path."""
        if not path:
            yield from self.files
            return
        if self.holds(path):
            yield path
        prefix = path + b"/"
        for index in range(bisect.bisect_left(self.files, prefix), len(self.files)):
            if not self.files[index].startswith(prefix):
                return
            yield self.files[index]


_lock = threading.Lock()
_known: OrderedDict[tuple[object, ...], Pristine] = OrderedDict()


def inspect(clone: Sandbox, image: Image) -> Pristine:
    """What is known of the image; ``clone``, which nothing has touched yet, is asked the first time.

    Raises:
        GradingError: its repository cannot be read.
        SandboxError: the clone failed.
    """
    key = (image.digest, image.layers, image.workdir)
    with _lock:
        if key in _known:
            _known.move_to_end(key)
            return _known[key]
    found = _read(clone, image)
    with _lock:
        _known[key] = found
        while len(_known) > _KEPT:
            _known.popitem(last=False)
    return found


def contents(clone: Sandbox, known: Pristine, paths: Sequence[str]) -> Mapping[str, bytes]:
    """The content of the image's files at absolute ``paths``; those that are not there are left out."""
    missing = [path for path in paths if path not in known.contents]
    if missing:
        known.contents.update(archive.read_files(clone, missing, LARGEST))
    return {path: known.contents[path] for path in paths if path in known.contents}


def _read(clone: Sandbox, image: Image) -> Pristine:
    done = archive.program(clone, ["bash", "-c", _LIST, "list", image.workdir], output_limit=LARGEST)
    if done.exit_code == 3:
        return Pristine((), frozenset(), clean=True, repository=False)
    if done.exit_code or done.truncated:
        raise GradingError(f"image {image.name} cannot be graded: {done.stderr.decode(errors='replace').strip()}")
    state, _, rest = done.stdout.partition(b"\0")
    cached, _, others = (b"\0" + rest).partition(b"\0\0")
    tracked = frozenset(cached.split(b"\0")) - {b""}
    return Pristine(sorted(tracked.union(others.split(b"\0")) - {b""}), tracked, state == b"clean")
