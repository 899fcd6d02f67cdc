"""How a layer is filled: programs of those below it run in a sandbox without network; what they write is the layer."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from cwm_env.errors import DiskFull, ImageError, SandboxError
from cwm_env.images.disk import says_full
from cwm_env.sandbox.base import Sandbox
from cwm_env.sandbox.run import run
from cwm_env.types import Image, Limits

VENV = "/opt/venv"
INPUTS = "/cwm-env-inputs"
"""Where a build finds what was brought for it; a layer of its own, which the image does not have."""

COMMIT_ENV = {
    "GIT_AUTHOR_NAME": "cwm-env",
    "GIT_AUTHOR_EMAIL": "cwm-env@localhost",
    "GIT_AUTHOR_DATE": "2000-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "cwm-env",
    "GIT_COMMITTER_EMAIL": "cwm-env@localhost",
    "GIT_COMMITTER_DATE": "2000-01-01T00:00:00Z",
    "HOME": "/nonexistent",
}
# Without the second, pip hands projects without a pyproject.toml to a setuptools command that wants the network.
SETUP_ENV = {
    "PIP_NO_INDEX": "1",
    "PIP_USE_PEP517": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
MAKE_VENV = f"""
test -e {VENV}/bin/python || "$1" -m venv --without-pip {VENV}
shift
pip=({INPUTS}/pip-*.whl)
if [ -e "${{pip[0]}}" ]; then export PYTHONPATH=${{pip[0]}}; fi
{VENV}/bin/python -m pip install --quiet --no-index --no-deps --no-cache-dir --disable-pip-version-check \\
    --root-user-action=ignore --find-links={INPUTS} "$@"
unset PYTHONPATH
{VENV}/bin/python -m pip check --disable-pip-version-check
"""
# Archives with files that only their packer could read exist, and hidden tests run as another user.
_READABLE = r"\( -type d ! -perm -755 -o -type f ! -perm -644 \) -exec chmod u+rwX,go+rX {} +"
UNPACK = f"""
mkdir -p "$2"
tar --extract --gzip --file="$1" --directory="$2" --strip-components=1 --no-same-owner --no-same-permissions
find "$2" {_READABLE}
"""
EXCLUDED = (
    "__pycache__/\n*.py[cod]\n*.so\n*.egg-info/\n/build/\n.eggs/\n.pytest_cache/\n.hypothesis/\n.tox/\n.coverage\n"
)
# Everything that was unpacked is committed, whatever the project's own .gitignore says, byte for byte as it is.
COMMIT = f"""
find . -name .git -prune -exec rm -rf {{}} +
find . {_READABLE}
git init --quiet --template= --initial-branch=main .
mkdir .git/info
printf '{EXCLUDED.replace(chr(10), chr(92) + "n")}' > .git/info/exclude
echo '* -text -eol -ident -filter -working-tree-encoding' > .git/info/attributes
git ls-files -z --others --exclude-from=.git/info/exclude | git update-index --add -z --stdin
git -c core.logAllRefUpdates=false commit --quiet --allow-empty --no-verify --message 'Initial commit'
git gc --quiet --prune=now
rm -rf .git/logs .git/COMMIT_EDITMSG
read -r _ _ ids < /proc/self/uid_map
if [ "$ids" -gt 1 ]; then chown -R "$1" .; fi
"""
GITCONFIG = """\
[safe]
\tdirectory = *
[user]
\tname = agent
\temail = agent@localhost
[init]
\tdefaultBranch = main
"""
_LIMITS = Limits(memory=8 << 30, processes=4096, disk=8 << 30)
_SECONDS = 1800.0
_LINES = 25


class Builder:
    """A sandbox over an image, whose changes become a layer."""

    def __init__(self, sandbox: Sandbox, image: Image) -> None:
        self._sandbox = sandbox
        self._image = image

    def bash(
        self, script: str, *arguments: str, what: str, cwd: str = "/", env: Mapping[str, str] | None = None
    ) -> None:
        """Run a script as root; it ends at the first command that fails.

        Raises:
            ImageError: it failed; the message says ``what`` did, and ends with the last lines printed.
            DiskFull: it failed because no space was left.
        """
        # From a file that no layer keeps: commands of the script may read standard input, and find it empty.
        brought = run(self._sandbox, ["sh", "-c", "cat > /run/script"], input=script.encode(), timeout=_SECONDS)
        command = ["bash", "-c", 'exec 2>&1 && exec bash -eo pipefail /run/script "$@"', "script", *arguments]
        whole = {"HOME": "/root", **self._image.env, **(env or {})}
        try:
            done = brought if brought.exit_code else run(self._sandbox, command, env=whole, cwd=cwd, timeout=_SECONDS)
        except TimeoutError:
            raise ImageError(f"{what} did not end within {_SECONDS:.0f} seconds") from None
        if done.exit_code:
            tail = "\n".join(done.stdout.decode("utf-8", "replace").strip().splitlines()[-_LINES:])
            if says_full(tail):
                raise DiskFull(f"no space is left where images are kept: {what} ended with:\n{tail}")
            raise ImageError(f"{what} failed with exit code {done.exit_code}; the last that it printed:\n{tail}")

    def read(self, path: str) -> bytes:
        """A file's content.

        Raises:
            ImageError: there is none.
        """
        done = run(self._sandbox, ["cat", path], timeout=_SECONDS)
        if done.exit_code:
            raise ImageError(f"{path} cannot be read: {done.stderr.decode('utf-8', 'replace').strip()}")
        return done.stdout

    def check_user(self, user: str, workdir: str) -> None:
        """See that the image's user exists, and finds a clean repository.

        Raises:
            ImageError: not so.
        """
        command = ["git", "status", "--porcelain"]
        try:
            done = run(self._sandbox, command, env=self._image.env, cwd=workdir, user=user, timeout=_SECONDS)
        except SandboxError as error:
            raise ImageError(f"user {user!r} cannot be used: {error}") from None
        if done.exit_code or done.stdout:
            said = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
            raise ImageError(f"git does not see a clean repository in {workdir} as user {user!r}: {said}")


@contextlib.contextmanager
def building(
    below: Image, target: Path, inputs: Mapping[str, Path] | None = None, *, allow: tuple[str, ...] = ()
) -> Iterator[Builder]:
    """A sandbox over ``below`` whose changes are in the empty directory ``target`` once it is closed.

    Args:
        inputs: files on the host that appear in ``INPUTS`` under these names.
        allow: what of the network it reaches, as ``Limits.allow``.
    """
    # Imported here: most images are there already, and need no sandbox to be found.
    from cwm_env.sandbox.namespaces.backend import NamespacesBackend

    image = below
    if inputs:
        image = replace(below, layers=(*below.layers, _input_layer(target.with_name("inputs"), inputs)))
    backend = NamespacesBackend()  # of its own: a spawner costs little beside a build, and ends with it
    try:
        limits = replace(_LIMITS, network="allow", allow=allow) if allow else _LIMITS
        sandbox = backend.create(image, limits, upper=target)
        try:
            yield Builder(sandbox, below)
        finally:
            sandbox.close()
    finally:
        backend.close()


def _input_layer(directory: Path, inputs: Mapping[str, Path]) -> Path:
    """A layer that holds ``inputs`` under other names, without copying them where that can be avoided."""
    inside = directory / INPUTS.strip("/")
    inside.mkdir(parents=True)
    for made in (directory, inside):
        made.chmod(0o755)
    for name, path in inputs.items():
        try:
            os.link(path, inside / name)
        except OSError:
            shutil.copyfile(path, inside / name)
    return directory
