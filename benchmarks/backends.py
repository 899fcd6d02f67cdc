"""What a sandbox costs on each backend, beside `docker run` and SWE-ReX: `python -m benchmarks.backends`.

Medians of each step in milliseconds, and resident memory of what runs for an idle sandbox; ratios are to the embedded
backend, measured in the same run.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cwm_env.errors import CwmEnvError
from cwm_env.sandbox.docker.images import reference
from cwm_env.sandbox.registry import backend as backend_named
from cwm_env.sandbox.small import make_small_image
from cwm_env.session import BashSession
from cwm_env.types import Image, Limits

ENV = {"PATH": "/usr/bin:/bin"}
STEPS = ("create", "first command", "step", "destroy")
Row = dict[str, float]


@contextmanager
def timed(into: dict[str, list[float]], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    into.setdefault(name, []).append((time.perf_counter() - started) * 1000)


def available() -> float:
    """MiB of memory that the machine could still give."""
    rows = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(rows["MemAvailable"].split()[0]) / 1024


def sandboxes(name: str, image: Image, rounds: int) -> Row:
    """One of our backends."""
    backend = backend_named(name)
    backend.create(image, Limits()).close()
    seen: dict[str, list[float]] = {}
    for _ in range(rounds):
        with timed(seen, "create"):
            sandbox = backend.create(image, Limits())
        with timed(seen, "first command"):
            session = BashSession(sandbox, env=ENV)
            session.run("true")
        for _ in range(50):
            with timed(seen, "step"):
                session.run("true")
        session.close()
        with timed(seen, "destroy"):
            sandbox.close()
    row = {step: statistics.median(seen[step]) for step in STEPS}
    before = available()
    idle = [backend.create(image, Limits()) for _ in range(rounds)]
    time.sleep(1)
    row["MiB idle"] = max((before - available()) / len(idle), 0.0)
    for sandbox in idle:
        sandbox.close()
    return row


def docker_run(image: str, rounds: int) -> Row:
    """The command line of the engine itself: a container that sleeps, and `docker exec` for each step."""
    seen: dict[str, list[float]] = {}
    for _ in range(rounds):
        with timed(seen, "create"):
            container = _docker("run", "--detach", "--rm", "--network=none", "--init", image, "sleep", "600")
        with timed(seen, "first command"):
            _docker("exec", container, "bash", "-c", "true")
        for _ in range(5):
            with timed(seen, "step"):
                _docker("exec", container, "bash", "-c", "true")
        with timed(seen, "destroy"):
            _docker("rm", "--force", container)
    return {step: statistics.median(seen[step]) for step in STEPS}


def swe_rex(image: str, rounds: int) -> Row:
    """SWE-ReX's Docker deployment. It reaches its containers over a published port, and needs its server in the image.

    Raises:
        RuntimeError: it cannot run here.
    """
    try:
        import swerex.deployment.docker  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        raise RuntimeError("swe-rex is not installed") from None
    if "bridge" not in _docker("network", "ls", "--format", "{{.Name}}").split():
        raise RuntimeError("it publishes a port, and this engine has no bridge network")
    raise RuntimeError(f"its server, which it installs with pip when it starts, is not in {image} ({rounds} rounds)")


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    try:
        image = make_small_image(directory / "layer")
        measured: dict[str, Row | str] = {}

        def note(name: str, measure: Callable[[], Row]) -> None:
            try:
                measured[name] = measure()
            except (CwmEnvError, RuntimeError, OSError, subprocess.CalledProcessError) as error:
                measured[name] = str(error)

        note("namespaces", lambda: sandboxes("namespaces", image, rounds))
        note("docker (runc)", lambda: sandboxes("docker", image, rounds))
        note("docker (runsc)", lambda: sandboxes("docker:runsc", image, rounds))
        engine = backend_named("docker")
        note("docker run + exec", lambda: docker_run(reference(engine.engine, image), rounds))  # type: ignore[attr-defined]
        note("SWE-ReX, docker", lambda: swe_rex(image.name, rounds))
        show(measured)
    finally:
        shutil.rmtree(directory)


def show(measured: dict[str, Row | str]) -> None:
    """Medians, each with its ratio to the embedded backend's."""
    table = Table("ms (median)", *STEPS, "MiB idle")
    base = measured["namespaces"]
    for name, row in measured.items():
        if isinstance(row, str):
            table.add_row(name, f"not run: {row}")
            continue
        cells = []
        for step in (*STEPS, "MiB idle"):
            value = row.get(step)
            ratio = f" (x{value / base[step]:.1f})" if value and isinstance(base, dict) and base.get(step) else ""
            cells.append("" if value is None else f"{value:.2f}{ratio}")
        table.add_row(name, *cells)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
