"""Interpreters that are installed on this machine: the running one, pyenv's, uv's, and those on ``PATH``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cwm_env.errors import ImageError

OLDEST, NEWEST = (3, 6), (3, 15)
_ASK = "import json, sys; print(json.dumps([sys.version_info[:3], sys.base_prefix, sys.version]))"
_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One of them, outside any virtual environment."""

    prefix: str
    """Where it is installed; a real path."""
    version: str
    """Such as ``3.9.18``."""
    build: str
    """What ``sys.version`` says of it."""

    @property
    def minor(self) -> str:
        """Such as ``3.9``."""
        return ".".join(self.version.split(".")[:2])

    @property
    def path(self) -> str:
        """The program."""
        return f"{self.prefix.rstrip('/')}/bin/python{self.minor}"


def running() -> Interpreter:
    """The one that runs us."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Interpreter(os.path.realpath(sys.base_prefix), version, sys.version)


def find(version: str) -> Interpreter:
    """The installed CPython of a version such as ``3.9``; the latest of its releases.

    Raises:
        ImageError: there is none; says how to get one.
    """
    minor = ".".join(version.split(".")[:2])
    if not re.fullmatch(r"3\.\d+", minor):
        raise ImageError(f"there is no way to make an environment for Python {version!r}: 3.{OLDEST[1]} is the oldest")
    asked = (_ask(path) for path in sorted(set(_candidates(minor))))
    found = [each for each in (running(), *asked) if each and each.minor == minor]
    if not found:
        raise ImageError(
            f"no Python {minor} is installed here: `uv python install {minor}` or `pyenv install {minor}` brings one"
        )
    return max(found, key=lambda each: [int(part) for part in each.version.split(".")])


def installed() -> list[str]:
    """The versions that ``find`` finds, the oldest first, such as ``3.9``."""
    found = []
    for minor in range(OLDEST[1], NEWEST[1] + 1):
        try:
            found.append(find(f"3.{minor}").minor)
        except ImageError:
            continue
    return found


def _candidates(minor: str) -> Iterator[str]:
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions"
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv/python")
    name = f"python{minor}"
    for place in (pyenv, uv):
        yield from (os.path.realpath(path) for path in place.glob(f"*/bin/{name}"))
    for directory in os.get_exec_path():
        if "/shims" not in directory and (Path(directory) / name).is_file():
            yield os.path.realpath(Path(directory) / name)


@cache
def _ask(path: str) -> Interpreter | None:
    """What an interpreter says of itself; None where it does not run."""
    try:
        done = subprocess.run(
            [path, "-I", "-S", "-c", _ASK], stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=True
        )
        numbers, prefix, build = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    found = Interpreter(os.path.realpath(prefix), ".".join(map(str, numbers)), build)
    return found if Path(found.path).is_file() else None
