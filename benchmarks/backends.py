"""What a sandbox costs on each backend, beside `docker run` and SWE-ReX: `python -m benchmarks.backends`.

Medians of each step in milliseconds, and what an idle sandbox takes of the machine's available memory; ratios are to
the embedded backend, measured in the same run. Set DOCKER_HOST where the engine is not at its usual place.
"""

from __future__ import annotations

import argparse
import json
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

from benchmarks.peers import SHELL_PEERS, PeerUnavailable, python_of
from benchmarks.sandbox import available
from cwm_env.errors import CwmEnvError
from cwm_env.images import ImageStore
from cwm_env.sandbox.docker.images import reference
from cwm_env.sandbox.registry import backend as backend_named
from cwm_env.sandbox.small import make_small_image
from cwm_env.session import BashSession
from cwm_env.types import Image, Limits

ENV = {"PATH": "/usr/bin:/bin"}
SWE_REX = Path(__file__).with_name("peer_docker.py")
_WITH_REX = """FROM {base}
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv
COPY . /wheels
RUN python3 -m venv /opt/rex && /opt/rex/bin/pip install --quiet --no-index --find-links /wheels swe-rex
ENV PATH=/opt/rex/bin:/usr/bin:/bin
"""
STEPS = ("create", "first command", "step", "destroy")
Row = dict[str, float]


@contextmanager
def timed(into: dict[str, list[float]], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    into.setdefault(name, []).append((time.perf_counter() - started) * 1000)


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
    idle = [backend.create(image, Limits()) for _ in range(2 * rounds)]
    row["MiB idle"] = max((before - available()) / 1024 / len(idle), 0.0)
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


def swe_rex(base: str, rounds: int) -> Row:
    """SWE-ReX's Docker deployment, its server put into the image before, so that no start installs it.

    It reaches its containers over a published port; where the engine has no bridge network, over the machine's own.

    Raises:
        PeerUnavailable: it cannot be installed.
        RuntimeError: it cannot run here; the text says why.
    """
    python = python_of(SHELL_PEERS["SWE-ReX"])
    with tempfile.TemporaryDirectory() as context:
        wheels = [str(python), "-m", "pip", "download", "--quiet", "--python-version=3.11", "--only-binary=:all:"]
        subprocess.run([*wheels, "--dest", context, "swe-rex"], check=True, capture_output=True)
        Path(context, "Dockerfile").write_text(_WITH_REX.format(base=base))
        image = _docker("build", "--quiet", "--network=host", context)
    bridge = "bridge" in _docker("network", "ls", "--format", "{{.Name}}").split()
    command = [str(python), str(SWE_REX), image, str(rounds), *([] if bridge else ["--host-network"])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it ended without a word"])[-1])
    row: Row = json.loads(done.stdout)
    return row


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"docker {arguments[0]}: {done.stderr.strip()[-200:]}")
    return done.stdout.strip()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=10, help="how many of each; memory is measured with twice as many"
    )
    rounds = parser.parse_args().rounds
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    try:
        image = make_small_image(directory / "layer")
        measured: dict[str, Row | str] = {}

        def note(name: str, measure: Callable[[], Row]) -> None:
            try:
                measured[name] = measure()
            except (CwmEnvError, PeerUnavailable, RuntimeError, OSError, subprocess.CalledProcessError) as error:
                measured[name] = str(error)

        note("namespaces", lambda: sandboxes("namespaces", image, rounds))
        note("docker (runc)", lambda: sandboxes("docker", image, rounds))
        note("docker (runsc)", lambda: sandboxes("docker:runsc", image, rounds))
        engine = backend_named("docker")
        note("docker run + exec", lambda: docker_run(reference(engine.engine, image), rounds))  # type: ignore[attr-defined]
        debian = ImageStore().get("bookworm")
        note("SWE-ReX, docker", lambda: swe_rex(reference(engine.engine, debian), rounds))  # type: ignore[attr-defined]
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
