"""One commit of a git repository, and nothing else of it: no other commit is fetched, so that none can be read."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from cwm_env.errors import ImageError

_SECONDS = 1800.0


def checkout(url: str, commit: str, target: Path) -> None:
    """Fetch ``commit`` alone into the empty directory ``target``, as a repository with its files checked out.

    Args:
        url: what git fetches from: a URL, or the path of a mirror, which is read and never shared with.
        commit: 40 hexadecimal digits.

    Raises:
        ImageError: the commit is no full id, or cannot be had from there.
    """
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise ImageError(f"{commit!r} is no commit: write its 40 hexadecimal digits")
    place = Path(url)
    source = f"file://{place.resolve()}" if place.is_dir() else url  # by path alone, git would ignore the depth
    _git(target, "init", "--quiet", "--template=", "--initial-branch=main", ".")
    serve = ("--upload-pack", "git -c uploadpack.allowAnySHA1InWant=true upload-pack") if place.is_dir() else ()
    _git(target, "fetch", "--quiet", "--depth=1", "--no-tags", *serve, source, commit)
    _git(target, "-c", "core.logAllRefUpdates=false", "reset", "--quiet", "--hard", commit)
    (target / ".git" / "FETCH_HEAD").unlink(missing_ok=True)


def _git(directory: Path, *arguments: str) -> None:
    # Without filters and hooks: nothing of the repository runs here.
    command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "safe.directory=*", *arguments]
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            command, cwd=directory, env=env, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise ImageError(f"git {arguments[0]} did not end within {_SECONDS:.0f} seconds") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ImageError(f"the commit cannot be fetched: {last}")
