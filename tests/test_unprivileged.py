"""An ordinary user gets the same episode: images, sandbox, session and verdict, with one id and no privilege."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import episodes
from tests.envs.small import write_task

ROOT = Path(__file__).parent.parent
NAME = "cwm-env-tester"
PYTHON = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making a user needs root; the other tests run as an ordinary user"),
    pytest.mark.skipif(not Path(PYTHON).exists(), reason=f"no {PYTHON} that another user could run"),
]


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The home of a new user: the package in ``checkout``, and what it needs, mounted, in ``packages``."""
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", NAME], check=True)
    home = Path(pwd.getpwnam(NAME).pw_dir)
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    try:
        for name in ("cwm_env", "images", "tasks"):
            shutil.copytree(ROOT / name, home / "checkout" / name, ignore=shutil.ignore_patterns("__pycache__"))
        (home / "packages").mkdir()
        write_task(home)
        subprocess.run(["chown", "-R", f"{NAME}:", str(home)], check=True)
        subprocess.run(["mount", "--bind", packages, str(home / "packages")], check=True)
        yield home
    finally:
        subprocess.run(["umount", str(home / "packages")], check=True)
        subprocess.run(["userdel", "--remove", NAME], check=True, capture_output=True)


def as_user(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``cwm-env`` as that user, with nothing of root's environment but where packages are found."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name == "LANG"}
    environment = [f"{name}={value}" for name, value in kept.items()]
    environment += [f"HOME={home}", f"USER={NAME}", "PATH=/usr/bin:/bin", f"PYTHONPATH={home}/checkout:{home}/packages"]
    ids = [f"--reuid={NAME}", f"--regid={NAME}", "--clear-groups"]
    command = ["setpriv", *ids, "env", "-i", *environment, PYTHON, "-m", "cwm_env", *arguments]
    return subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(("policy", "reward"), [("gold", 1.0), ("noop", 0.0)])
def test_an_ordinary_user_gets_the_same_verdict(home: Path, policy: str, reward: float) -> None:
    done = as_user(home, "run", "./small", "--policy", policy, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (episode,) = episodes(done)
    assert episode["reward"] == reward


def test_an_ordinary_user_builds_and_removes_images(home: Path) -> None:
    (home / "tiny").mkdir(exist_ok=True)
    (home / "tiny" / "image.toml").write_text('base = "host"\nsetup = "mkdir -m 500 closed; echo x > file"')
    assert as_user(home, "images", "build", "./tiny").returncode == 0
    assert as_user(home, "images", "rm", f"{home}/tiny").returncode == 0
    assert "freed" in as_user(home, "images", "prune").stdout


def test_the_doctor_finds_an_ordinary_users_machine_well(home: Path) -> None:
    done = as_user(home, "doctor")
    assert done.returncode == 0, done.stdout
