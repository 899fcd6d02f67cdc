"""Runs hidden tests in a fresh clone, and brings back what came out of band."""

from __future__ import annotations

import json
import math
import posixpath
import secrets
from dataclasses import dataclass

from cwm_env.grading import canaries, reports
from cwm_env.grading.hidden import HOME, Hidden
from cwm_env.sandbox.base import Sandbox
from cwm_env.sandbox.run import Completed, run
from cwm_env.types import OUT_OF_BAND, HiddenTests, Image

NOBODY = "65534:65534"
"""Who hidden tests run as: no file of the image belongs to it."""

_RESULTS = 16 << 20
_PRINTED = 64 << 10
_READ_SECONDS = 30.0

# Results travel on what is standard error outside; inside, standard error joins standard output.
_LAUNCH = 'exec 9>&2 2>&1; cd "$1"; shift; exec python "$@"'
# A test harness of another language: its results are its standard output or the files that it writes; what it says
# besides is on standard error.
_HARNESS = "mkdir -p -m 1777 /logs/results"
_SCRIPT = "exec 2>&1; mkdir -p /logs/verifier; exec bash /tests/test.sh"
# Only regular files, and no more than the limit, whatever was left in their place.
_READ = (
    'for file in "$@"; do [ -f "$file" ] && [ ! -L "$file" ] && head -c {limit} -- "$file" && printf "\\0"; done; true'
)


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of the hidden tests."""

    report: reports.Report
    exit_code: int
    """As the parent saw it."""
    output: str
    """The tail of what was printed."""
    timed_out: bool = False
    overflowed: bool = False
    """Whether it said more than is read."""
    reward: float | None = None
    """What Harbor's reward file says; None where it says nothing, and for other runners."""
    canaries: tuple[str, ...] = ()
    """Names of the canaries that were in it."""


def run_tests(clone: Sandbox, image: Image, tests: HiddenTests, hidden: Hidden) -> Ran:
    """Run the hidden tests that ``hidden`` has brought into the clone.

    Raises:
        SandboxError: the clone died.
    """
    try:
        if tests.runner in OUT_OF_BAND:
            return _run_launcher(clone, image, tests, hidden)
        return _run_script(clone, image, tests) if tests.runner == "script" else _run_harness(clone, image, tests)
    except TimeoutError:
        return Ran(reports.Report({}), 124, "", timed_out=True)


def run_bash(clone: Sandbox, image: Image, commands: str, timeout: float, *, user: str = "root") -> tuple[int, str]:
    """Run commands in the workdir of a clone. Returns the exit code, and the tail of what was printed.

    Raises:
        SandboxError: the clone died.
    """
    argv = ["bash", "-e", "-c", f"exec 2>&1\n{commands}"]
    env = {**environment(image), "HOME": "/root"}
    try:
        done = run(clone, argv, env=env, cwd=image.workdir, user=user, timeout=timeout, output_limit=_PRINTED)
    except TimeoutError as error:
        return 124, str(error)
    return done.exit_code, _tail(done.stdout)


def environment(image: Image) -> dict[str, str]:
    """The whole environment of a test run: the image's own, and nothing that an episode could have set."""
    own = {name: value for name, value in image.env.items() if name not in ("PYTHONPATH", "PYTHONSTARTUP")}
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        **own,
        "HOME": "/tmp/home",  # noqa: S108 - a path in the grading sandbox
        "TMPDIR": "/tmp",  # noqa: S108
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }


def _run_launcher(clone: Sandbox, image: Image, tests: HiddenTests, hidden: Hidden) -> Ran:
    """Run pytest or unittest as an unprivileged user; one status per test."""
    if tests.own_settings and not any(posixpath.dirname(path) == image.workdir for path in tests.paths):
        # Written for root, who may leave files where it stands; the sticky bit keeps what is there. Beside a hidden
        # test nobody may: a package or a compiled cache of its name would be loaded in its place.
        run(clone, ["chmod", "1777", image.workdir], env=environment(image), timeout=_READ_SECONDS)
    nonce = secrets.token_hex(16)
    command = [f"{HOME}/launcher.py", tests.runner, image.workdir, image.env.get("PYTHONPATH", "")]
    if tests.runner == "pytest":
        command += [*_settings(tests), "--tb=native", "-p", "no:cacheprovider", *tests.args, *tests.paths]
    elif tests.runner == "functions":
        command += [*tests.args, *tests.paths]
    else:
        command += tests.args or tests.paths
    done = run(
        clone,
        ["bash", "-c", _LAUNCH, tests.runner, image.workdir, *command],
        env=_plugins(environment(image), tests),
        user=NOBODY,
        input=f"{nonce}\n".encode(),
        timeout=tests.timeout,
        output_limit=_PRINTED,
        error_limit=_RESULTS,
    )
    report = reports.read_channel(done.stderr, nonce)
    overflowed = len(done.stderr) >= _RESULTS
    output = canaries.hide(_tail(done.stdout), hidden.canaries)
    return Ran(report, done.exit_code, output, overflowed=overflowed, canaries=hidden.canaries)


def _settings(tests: HiddenTests) -> list[str]:
    if tests.own_settings:
        return []
    own = (tests.directory / "pytest.ini").is_file()
    return ["-c", "/tests/pytest.ini" if own else f"{HOME}/empty.ini", "--rootdir=/", "--import-mode=importlib"]


def _plugins(env: dict[str, str], tests: HiddenTests) -> dict[str, str]:
    if tests.own_settings:
        del env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"]
    return env


def _run_harness(clone: Sandbox, image: Image, tests: HiddenTests) -> Ran:
    """Run ``tests/run.sh`` as an unprivileged user: JUnit's files in ``$RESULTS``, TAP as output, or an exit code."""
    env = {**environment(image), "RESULTS": "/logs/results"}
    run(clone, ["bash", "-c", _HARNESS], env=env, timeout=_READ_SECONDS)
    argv = ["bash", "/tests/run.sh"]
    limit = _RESULTS if tests.runner == "tap" else _PRINTED
    done = run(
        clone,
        argv,
        env=env,
        cwd=image.workdir,
        user=NOBODY,
        timeout=tests.timeout,
        output_limit=limit,
        error_limit=_PRINTED,
    )
    clone.kill_processes()
    output = _tail(done.stdout + done.stderr)
    if tests.runner == "exit":
        return Ran(
            reports.Report({"exit": "FAILED" if done.exit_code else "PASSED"}, done.exit_code), done.exit_code, output
        )
    if tests.runner == "tap":
        overflowed = len(done.stdout) >= _RESULTS
        return Ran(
            reports.read_tap(done.stdout.decode("utf-8", "replace")), done.exit_code, output, overflowed=overflowed
        )
    script = f"shopt -s nullglob; set -- /logs/results/*.xml; {_READ.format(limit=_RESULTS)}"
    read = run(clone, ["bash", "-c", script], env=env, timeout=_READ_SECONDS, output_limit=_RESULTS)
    documents = [] if read.truncated else read.stdout.split(b"\0")
    return Ran(reports.read_junit(documents), done.exit_code, output, overflowed=read.truncated)


def _run_script(clone: Sandbox, image: Image, tests: HiddenTests) -> Ran:
    """Run Harbor's ``tests/test.sh`` as root of the clone, and read the reward that it wrote.

    Such a script decides by itself; unlike our own runner it cannot tell a forged pass from a real one.
    """
    env = {**environment(image), "HOME": "/root"}
    argv = ["bash", "-c", _SCRIPT]
    done = run(clone, argv, env=env, cwd=image.workdir, timeout=tests.timeout, output_limit=_PRINTED)
    clone.kill_processes()
    script = _READ.format(limit=4096)
    argv = ["bash", "-c", script, "read", "/logs/verifier/reward.json", "/logs/verifier/reward.txt"]
    read = run(clone, argv, env=env, timeout=_READ_SECONDS)
    return Ran(reports.Report({}, done.exit_code), done.exit_code, _tail(done.stdout), reward=_reward(read))


def _reward(read: Completed) -> float | None:
    """What the first file says, as Harbor reads it; None unless it is one number, and lies in 0 to 1.

    A JSON file may hold several: ``reward`` is the one, or the only one.
    """
    for text in filter(None, read.stdout.split(b"\0")):
        try:
            value = json.loads(text)
            if isinstance(value, dict):
                value = value["reward"] if "reward" in value or len(value) != 1 else next(iter(value.values()))
            number = float(value)
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        if math.isfinite(number) and 0.0 <= number <= 1.0:
            return number
    return None


def _tail(output: bytes) -> str:
    return output[-_PRINTED:].decode("utf-8", "replace")
