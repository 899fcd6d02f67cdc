"""A repository's tests under trace in its image, cut into function-level episodes."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from cwm_env.sandbox.run import run
from cwm_env.tracing.datasets.gathering import gather
from cwm_env.tracing.errors import TraceError
from cwm_env.tracing.rawlog import Ending, LogReader, RawTrace
from cwm_env.tracing.recording import TraceLimits
from cwm_env.tracing.stream import Place, feed
from cwm_env.tracing.traces import Trace

_NOT_ENTRIES = ("/test_", "/tests/", "/testing/", "_test.py", "/conftest.py", "/setup.py")
_EXCLUDE = ("/site-packages/", "/dist-packages/", "/.venv/", "/.tox/")


@dataclass(frozen=True, slots=True)
class Cut:
    """How a run is cut into episodes."""

    depth: int = 3
    """Calls within calls that an episode follows; deeper ones are stepped over."""
    step_in: float = 0.7
    """Probability that a call within an episode is followed. The same seed gives the same cuts."""
    seed: int = 0
    per_function: int = 3
    """Episodes that begin in any one function, of one run."""
    limits: TraceLimits = field(default_factory=lambda: TraceLimits(max_events=500_000))
    """Of one run. ``max_depth`` is ``depth`` here."""
    frames: int = 2000
    """A longer episode is dropped."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One call of one function, within one test."""

    trace: Trace
    function: str
    file: str
    test: str


def collect(place: Place, timeout: float = 120.0) -> list[str]:
    """The files of tests in the image's repository, as pytest collects them.

    Raises:
        TraceError: pytest does not run, or its collecting fails.
        SandboxError: the sandbox failed.
        TimeoutError: collecting took longer than ``timeout`` seconds.
    """
    argv = [place.python, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **place.image.env, **place.env}
    with contextlib.closing(place.backend.create(place.image, place.limits)) as sandbox:
        done = run(sandbox, argv, env=env, cwd=place.image.workdir, user=place.image.user, timeout=timeout)
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    files = sorted({line.partition("::")[0] for line in lines if "::" in line and not line.startswith(" ")})
    if not files and done.exit_code != 5:  # pytest's word for a repository without tests
        raise TraceError(
            f"pytest collects nothing: {(done.stderr or done.stdout).decode('utf-8', 'replace').strip()[-300:]}"
        )
    return files


def trace_tests(
    place: Place,
    tests: Sequence[str],
    take: Callable[[Episode], None],
    *,
    cut: Cut | None = None,
    args: Sequence[str] = (),
    trace: bool = True,
    timeout: float = 300.0,
    whole: bool = False,
) -> tuple[Ending, dict[str, int]]:
    """Run tests in a fresh sandbox of the place's image, and hand over every episode as it ends.

    Args:
        tests: files or ids, relative to the image's workdir.
        args: further arguments for pytest.
        trace: False runs the same without tracing, to compare with.
        timeout: seconds for the whole run.
        whole: record test functions too, as entries, at any depth, with nothing stepped over.

    Returns:
        What the run left (verdicts, output), and how many episodes were refused for which reason.

    Raises:
        SandboxError: the sandbox failed.
    """
    cut = cut or Cut()
    refused: dict[str, int] = {}

    def done(raw: RawTrace) -> None:
        reason = raw.status or ("length" if len(raw.frames) > cut.frames and not whole else "")
        if reason or not raw.frames:
            refused[reason or "empty"] = refused.get(reason or "empty", 0) + 1
        else:
            take(_episode(raw))

    root = posixpath.join(place.image.workdir, "")
    request = {
        **asdict(cut.limits),
        "mode": "tests",
        "directory": place.image.workdir,
        "args": [*tests, "-q", "-p", "no:cacheprovider", *args],
        "trace": trace,
        "roots": [root],
        "exclude": _EXCLUDE,
        "not_entries": () if whole else _NOT_ENTRIES,
        "max_depth": cut.limits.max_depth if whole else cut.depth,
        "step_in": 1.0 if whole else cut.step_in,
        "per_function": 10**9 if whole else cut.per_function,
        "seed": cut.seed,
        "max_frames": 10**9 if whole else cut.frames,
    }
    reader = LogReader(done)
    with contextlib.closing(place.backend.create(place.image, place.limits)) as sandbox:
        feed(reader.feed, sandbox, request, place, timeout)
    ending = reader.finish()
    if ending.refusal is not None:
        refused[ending.refusal[0]] = refused.get(ending.refusal[0], 0) + 1
    elif ending.exit_code is None:
        refused["time"] = refused.get("time", 0) + 1
    return ending, refused


def _episode(raw: RawTrace) -> Episode:
    first = raw.frames[0]
    entry = next(code for code in raw.codes.values() if code.name == first.function and code.file.path == first.file)
    trace = Trace(gather(raw.codes.values(), entry), tuple(raw.frames))
    return Episode(trace, first.function, first.file, raw.test)
