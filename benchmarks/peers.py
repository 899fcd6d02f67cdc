"""Other projects to measure against, each in a virtual environment of its own under the cache directory."""

from __future__ import annotations

import hashlib
import json
import select
import subprocess
import sys
import venv
from pathlib import Path
from typing import IO, Any

from cwm_env.paths import cache_dir

SHELL_PEERS = {"SWE-ReX": ("swe-rex", "aiohttp"), "mini-swe-agent": ("mini-swe-agent",)}
"""Name to what pip installs. SWE-ReX needs aiohttp to speak with its servers, and does not ask for it."""
SHELL_SCRIPT = Path(__file__).with_name("peer_shell.py")


class PeerUnavailable(Exception):
    """A peer cannot be installed or started here; says why."""


def python_of(requirements: tuple[str, ...], *, install: bool = True) -> Path:
    """The interpreter of an environment that holds ``requirements``, made the first time where ``install`` allows it.

    Raises:
        PeerUnavailable: they cannot be installed.
    """
    name = hashlib.sha256(" ".join((sys.version, *requirements)).encode()).hexdigest()[:12]
    place = cache_dir() / "peers" / name
    ready, python = place / "ready", place / "bin" / "python"
    if not ready.is_file():
        if not install:
            raise PeerUnavailable("not installed: run it once without --quick")
        venv.create(place, clear=True, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
        done = subprocess.run(pip, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
            raise PeerUnavailable(f"not installed: {last}")
        ready.touch()
    return python


class ShellPeer:
    """A peer's shell, asked over two pipes in lines of JSON; see ``peer_shell``."""

    def __init__(self, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self._stdin, self._stdout = stdin, stdout

    def ask(self, *, within: float = 60.0, **request: Any) -> dict[str, Any]:
        """One request and its answer.

        Args:
            within: seconds that it may take to answer.

        Raises:
            PeerUnavailable: it has ended, or does not answer.
        """
        try:
            self._stdin.write(json.dumps(request).encode() + b"\n")
            self._stdin.flush()
            if not select.select([self._stdout], [], [], within)[0]:
                raise PeerUnavailable(f"no answer within {within:g} seconds")
            line = self._stdout.readline()
        except OSError as error:
            raise PeerUnavailable(f"it ended: {error}") from error
        if not line:
            raise PeerUnavailable("it ended")
        answer: dict[str, Any] = json.loads(line)
        return answer
