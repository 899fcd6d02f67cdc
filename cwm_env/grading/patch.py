"""What the agent changed, as a patch in git's format, made by code and a git that the agent never touched.

The stopped episode's tree is read as data (``Sandbox.changes``). What counts is laid over a fresh clone of the
image, and the clone's own git, with an index of its own, writes the difference.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from cwm_env.errors import GradingError
from cwm_env.grading import archive, git, plain
from cwm_env.grading.pristine import Pristine, inspect
from cwm_env.grading.protect import Rules, text
from cwm_env.sandbox.base import Change, Sandbox
from cwm_env.types import HiddenTests, Image

SKIPPED = frozenset({b".git", b"__pycache__"})
"""Names that never count, wherever they stand: the agent's own repository, and compiled files."""
LARGEST = 64 << 20
"""Bytes of changed content that a patch may hold."""
MOST = 20_000
"""Changed paths that a patch may hold."""

# The lists hold paths that end in NUL: `before` are tracked and change, `gone` must not be there, `known` are tracked
# and stay, `new` are not tracked. The patch is relative to the tree as the image has it: its commit, if that is clean.
_TAKE = f"""
set -e
{git.PRELUDE}
lists=$HOME/take
mkdir "$lists" && tar -xf - -C "$lists"
export GIT_INDEX_FILE=$lists/index
git read-tree HEAD
base=HEAD
if [ "$3" = dirty ]; then
    git update-index --remove -z --stdin < "$lists/before"
    base=$(git write-tree)
fi
xargs -0 -r rm -rf -- < "$lists/gone"
tar -xf "$lists/tree" --no-same-owner
wanted=$lists/new
if [ -s "$lists/new" ] && [ "$2" = listed ]; then
    wanted=$lists/wanted
    xargs -0 git ls-files -z --others --exclude-standard -- < "$lists/new" > "$wanted"
    xargs -0 git ls-files -z --others --ignored --exclude-standard -- < "$lists/new" > "$lists/ignored"
fi
[ ! -s "$lists/removed" ] || git update-index --force-remove -z --stdin < "$lists/removed"
cat "$lists/known" "$wanted" | git update-index --add --replace -z --stdin
git diff-index --cached --binary --full-index --no-color --no-ext-diff --no-textconv --no-renames -p "$base"
[ ! -e "$lists/ignored" ] || cat "$lists/ignored" >&2
"""
_APPLY = f"set -e\n{git.PRELUDE}\ngit apply --binary --whitespace=nowarn -"


@dataclass(frozen=True, slots=True)
class Patch:
    """A change, ready to be applied to a pristine clone."""

    text: str
    """git's format; bytes that are not UTF-8 are surrogate escapes. Empty where nothing counts."""
    dropped: tuple[str, ...] = ()
    """Changed paths that do not count."""
    ignored: tuple[str, ...] = ()
    """Changed paths that do not count because the repository's ``.gitignore`` names them."""


def tree_of(image: Image, tests: HiddenTests) -> Image:
    """The image with the directory whose change is graded as its workdir: what everything here takes for an image."""
    return replace(image, workdir=tests.tree) if tests.tree else image


def take(stopped: Sandbox, fresh: Sandbox, image: Image, tests: HiddenTests) -> Patch:
    """The patch of a stopped episode, written in ``fresh``, a clone that nothing has touched and that is spent by it.

    Raises:
        ValueError: the change is too large, or git has no way to say it; the policy's doing.
        GradingError: the clone could not be used.
        SandboxError: the tree could not be read.
    """
    known = inspect(fresh, image)
    tree = known if known.repository else plain.Tree(fresh, image.workdir)
    plan = _plan(changes_of(stopped, image), tree, Rules(image, tests))
    dropped = tuple(sorted(map(text, plan.dropped)))
    if not plan.kept and not plan.gone:
        return Patch("", dropped)
    if isinstance(tree, plain.Tree):
        old = tree.read({*plan.gone, *plan.kept})
        return Patch(plain.difference(old.values(), plan.kept.values()), dropped)
    modes = ["all" if tests.ignored else "listed", "clean" if known.clean else "dirty"]
    argv = ["bash", "-c", _TAKE, "take", image.workdir, *modes]
    done = archive.program(fresh, argv, input=plan.archive(), output_limit=LARGEST * 2)
    if done.exit_code:
        raise GradingError(f"the patch could not be taken from image {image.name}: {text(done.stderr).strip()[-500:]}")
    if done.truncated:
        raise ValueError(f"the patch is larger than {LARGEST * 2} bytes")
    return Patch(text(done.stdout), dropped, tuple(sorted(map(text, filter(None, done.stderr.split(b"\0"))))))


def changes_of(stopped: Sandbox, image: Image) -> list[Change]:
    """What differs below the workdir.

    Raises:
        ValueError: it is too much.
        SandboxError: the tree could not be read.
    """
    found: list[Change] = []
    for change in stopped.changes(image.workdir, skip=SKIPPED, limit=LARGEST):
        found.append(change)
        if len(found) > MOST:
            raise ValueError(f"more than {MOST} paths were changed")
    return found


def apply(clone: Sandbox, image: Image, patch: str) -> str:
    """Apply a patch to a clone that nothing has touched. Returns git's complaint, empty where it applied."""
    if not patch:
        return ""
    if not inspect(clone, image).repository:
        return plain.apply(clone, image.workdir, patch)
    data = patch.encode("utf-8", "surrogateescape")
    done = archive.program(clone, ["bash", "-c", _APPLY, "apply", image.workdir], input=data)
    return "" if done.exit_code == 0 else text(done.stderr).strip() or f"git apply exited with {done.exit_code}"


@dataclass(slots=True)
class _Plan:
    """What the fresh clone is told."""

    kept: dict[bytes, Change] = field(default_factory=dict)
    gone: set[bytes] = field(default_factory=set)
    dropped: set[bytes] = field(default_factory=set)
    before: set[bytes] = field(default_factory=set)
    tracked: frozenset[bytes] = frozenset()

    def archive(self) -> bytes:
        """Lists and tree in one stream."""
        known = {path for path in self.kept if path in self.tracked}
        lists = {
            b"before": self.before,
            b"gone": self.gone | set(self.kept),
            b"removed": self.before - known,
            b"known": known,
            b"new": set(self.kept) - known,
        }
        files = [
            Change(name, "file", 0o600, b"".join(path + b"\0" for path in sorted(paths)))
            for name, paths in lists.items()
        ]
        return archive.pack([*files, Change(b"tree", "file", 0o600, archive.pack(self.kept.values()))])


def _plan(changes: Iterable[Change], known: Pristine | plain.Tree, rules: Rules) -> _Plan:
    """Split the changes into what counts and what does not, deletions down to single files."""
    plan = _Plan(tracked=known.tracked)
    for change in changes:
        if change.kind == "directory" and not known.holds(change.path):
            continue
        # One in the place of a file takes that away, and nothing else.
        below = {change.path} if change.kind == "directory" else set(known.below(change.path))
        protected = {path for path in below if rules.protects(path)}
        if change.kind == "deleted":
            plan.dropped |= protected
        elif change.kind != "directory":
            if protected or not rules.counts(change):
                plan.dropped.add(change.path)
                continue
            plan.kept[change.path] = change
        plan.gone |= below - protected
    # A directory that was made anew is first deleted, so that what it holds as before is no change.
    plan.before = {path for path in plan.gone | set(plan.kept) if path in known.tracked}
    plan.dropped -= {path for path in plan.dropped if path in plan.kept}
    return plan
