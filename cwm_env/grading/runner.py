"""Runs hidden tests in a fresh clone, and brings back what came out of band."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cwm_env.errors import GradingError
from cwm_env.grading import patch as patches
from cwm_env.grading import reports
from cwm_env.sandbox.base import Change, Sandbox
from cwm_env.sandbox.run import Completed, run
from cwm_env.types import HiddenTests, Image

NOBODY = "65534:65534"
"""Who hidden tests run as: no file of the image belongs to it."""

_HOME = "/run/cwm-env"
_LAUNCHER = Path(__file__).with_name("pytest_launcher.py")
_RESULTS = 64 << 20
_PRINTED = 64 << 10

# Results travel on what is standard error outside; inside, standard error joins standard output.
_PYTEST = 'exec 9>&2 2>&1; cd "$1"; shift; exec python "$@"'
_SCRIPT = "exec 2>&1; mkdir -p /logs/verifier; exec bash /tests/test.sh"


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of the hidden tests."""

    report: reports.Report
    exit_code: int
    """As the parent saw it."""
    output: str
    """The tail of what was printed."""
    timed_out: bool = False
    reward: float | None = None
    """What Harbor's reward file says; None for other runners."""


def bring_tests(clone: Sandbox, tests: HiddenTests) -> None:
    """Lay the hidden tests and the launcher into a clone, readable for everyone, writable for root only."""
    entries = [Change(b"tests", "directory", 0o755)]
    for path in sorted(tests.directory.rglob("*")):
        name = b"tests/" + os.fsencode(path.relative_to(tests.directory).as_posix())
        if "__pycache__" in path.parts:
            continue
        if path.is_dir():
            entries.append(Change(name, "directory", 0o755))
        elif path.is_file() and path.name != "expected.json":
            entries.append(Change(name, "file", 0o644 | (path.stat().st_mode & 0o111), path.read_bytes()))
    grading = _HOME.strip("/").encode()
    entries += [
        Change(grading, "directory", 0o755),
        Change(grading + b"/launcher.py", "file", 0o644, _LAUNCHER.read_bytes()),
        Change(grading + b"/empty.ini", "file", 0o644, b"[pytest]\n"),
    ]
    patches.unpack(clone, patches.pack(entries), "/")


def environment(image: Image) -> dict[str, str]:
    """The whole environment of a test run: the image's own, and nothing that an episode could have set."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        **image.env,
        "HOME": "/tmp/home",  # noqa: S108 - a path in the grading sandbox
        "TMPDIR": "/tmp",  # noqa: S108
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }


def run_pytest(clone: Sandbox, image: Image, tests: HiddenTests) -> Ran:
    """Run pytest on ``tests.paths``, as an unprivileged user; one status per test."""
    nonce = secrets.token_hex(16)
    own = (tests.directory / "pytest.ini").is_file()
    argv = [
        f"{_HOME}/launcher.py",
        "-c",
        "/tests/pytest.ini" if own else f"{_HOME}/empty.ini",
        "--rootdir=/",
        "--import-mode=importlib",
        "-p",
        "no:cacheprovider",
        *tests.args,
        *tests.paths,
    ]
    command = ["bash", "-c", _PYTEST, "pytest", image.workdir, *argv]
    try:
        done = run(
            clone,
            command,
            env=environment(image),
            user=NOBODY,
            input=f"{nonce}\n".encode(),
            timeout=tests.timeout,
            output_limit=_RESULTS,
        )
    except TimeoutError:
        return Ran(reports.Report({}, None), 124, "", timed_out=True)
    return Ran(reports.read(done.stderr, nonce), done.exit_code, _tail(done.stdout))


def run_script(clone: Sandbox, image: Image, tests: HiddenTests) -> Ran:
    """Run Harbor's ``tests/test.sh`` as root of the clone, and read the reward that it wrote.

    Such a script decides by itself; unlike our own runner it cannot tell a forged pass from a real one.

    Raises:
        GradingError: it wrote no reward that can be read, though it was not stopped.
    """
    env = {**environment(image), "HOME": "/root"}
    try:
        done = run(
            clone, ["bash", "-c", _SCRIPT], env=env, cwd=image.workdir, timeout=tests.timeout, output_limit=_PRINTED
        )
    except TimeoutError:
        return Ran(reports.Report({}, None), 124, "", timed_out=True)
    read = run(clone, ["cat", "/logs/verifier/reward.txt"], env=env, timeout=30.0)
    return Ran(reports.Report({}, done.exit_code), done.exit_code, _tail(done.stdout), reward=_reward(read, done))


def _reward(read: Completed, done: Completed) -> float:
    try:
        return float(read.stdout)
    except ValueError:
        raise GradingError(
            f"tests/test.sh exited with {done.exit_code} and left no number in /logs/verifier/reward.txt"
        ) from None


def _tail(output: bytes) -> str:
    return output[-_PRINTED:].decode("utf-8", "replace")
