"""Harbor itself, which needs Python 3.12, in an environment of its own beside ours."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from cwm_env.paths import cache_dir

REQUIREMENTS = ("harbor==0.26.*", "docker>=7.1", "zstandard", "pydantic", "rich", "click", "pypi-simple")
_VERSIONS = ("3.12", "3.13", "3.14")
_ENOUGH = "import sys; print(sys.executable if sys.version_info >= (3, 12) else '')"


def interpreter() -> Path | None:
    """A Python of 3.12 or later: ours, one in ``PATH``, pyenv's, or one that uv knows."""
    for candidate in _candidates():
        done = subprocess.run([candidate, "-c", _ENOUGH], capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip():
            return Path(done.stdout.strip())
    return None


def _candidates() -> Iterator[str]:
    yield sys.executable
    for version in _VERSIONS:
        if found := shutil.which(f"python{version}"):
            yield found
        yield from sorted(map(str, Path.home().glob(f".pyenv/versions/{version}*/bin/python")))
    if uv := shutil.which("uv"):
        command = [uv, "python", "find", "--no-python-downloads", ">=3.12"]
        yield from subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()


def python() -> Path | str:
    """The Python of the environment, made on first use; or, as text, why there is none."""
    own = interpreter()
    if own is None:
        return "harbor needs Python 3.12, and there is none: install python3.12, or one with pyenv or uv"
    home = cache_dir() / "venvs" / "harbor"
    program = home / "bin" / "python"
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = home / "complete"
        wanted = " ".join((str(own), *REQUIREMENTS))
        if not stamp.exists() or stamp.read_text() != wanted:
            commands = [
                [str(own), "-m", "venv", "--clear", str(home)],
                [str(program), "-m", "pip", "install", "--quiet", "uv"],  # five times as fast for a hundred packages
                [str(home / "bin/uv"), "pip", "install", "--native-tls", "--python", str(program), *REQUIREMENTS],
            ]
            for command in commands:
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    return f"harbor cannot be installed: {done.stderr.strip()[-300:]}"
            stamp.write_text(wanted)
    return program
