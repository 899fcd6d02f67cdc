"""OpenEnv's own package, in an environment of its own: it pulls in a hundred others, and is a peer, no dependency."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import venv
from pathlib import Path

from cwm_env.paths import cache_dir

REQUIREMENT = "openenv==0.10.*"


def python() -> Path | str:
    """The Python of the environment, made on first use; or, as text, why there is none."""
    home = cache_dir() / "venvs" / "openenv"
    program = home / "bin" / "python"
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            venv.create(home, with_pip=True, clear=True)
            pip = [str(program), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", REQUIREMENT]
            done = subprocess.run(pip, capture_output=True, text=True)
            if done.returncode:
                return f"{REQUIREMENT} cannot be installed: {done.stderr.strip().splitlines()[-1:]}"
            (home / "complete").touch()
    return program


if __name__ == "__main__":
    print(python())
    sys.exit(0)
