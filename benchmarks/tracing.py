"""The tracer beside a straightforward recorder, PySnooper, snoop and hunter, in one run on one machine.

    python -m benchmarks.tracing [--quick] [--python PYTHON] [--suite RECIPE]

Prints events a second of CPU time on a workload of scalars and one of containers, bytes per event, the growth of
memory over ten million events, and the slow-down of a real test suite. The peers have an environment of their own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path

from cwm_env.paths import cache_dir
from cwm_env.tracing import Place
from cwm_env.tracing.datasets.repository import Cut, collect, trace_tests

PEERS = ("PySnooper==1.2.3", "snoop==0.6.1", "hunter==3.9.0")
RUN = Path(__file__).with_name("tracing_run.py")
OURS = ("settrace", "monitoring")
ROUNDS = {"scalars": 20_000, "containers": 4_000}
SUITE = "tasks/sqlparse-split-nested-blocks/environment"
SLOW = ("PySnooper", "PySnooper-whole", "snoop", "hunter")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement."""

    events: int
    seconds: float
    bytes: int
    grown_kib: int


def environment(python: str) -> Path | None:
    """The interpreter of an environment with the peers, None where they cannot be installed."""
    version = subprocess.run([python, "-VV"], capture_output=True, text=True, check=True).stdout
    place = cache_dir() / "peers" / hashlib.sha256(f"{version} {PEERS}".encode()).hexdigest()[:12]
    if not (place / "ready").is_file():
        if python == sys.executable:
            venv.create(place, clear=True, with_pip=True)
        else:
            subprocess.run([python, "-m", "venv", "--clear", str(place)], check=True)
        pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PEERS]
        if subprocess.run(pip, stderr=subprocess.DEVNULL).returncode:
            return None
        (place / "ready").touch()
    return place / "bin" / "python"


def measure(python: str | Path, recorder: str, workload: str, rounds: int, repeats: int, output: str) -> Figure:
    """The fastest of some runs, each in a process of its own."""
    figures = []
    for _ in range(repeats):
        Path(output).unlink(missing_ok=True) if output != "/dev/null" else None
        argv = [str(python), str(RUN), recorder, workload, str(rounds), output]
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{recorder} failed on {workload}: {done.stderr.strip()[-500:]}")
        figures.append(Figure(**json.loads(done.stdout)))
    return min(figures, key=lambda figure: figure.seconds)


def speeds(python: str, peers: Path | None, scale: float, repeats: int, output: str) -> dict[str, dict[str, float]]:
    """Print events a second of CPU time by workload and recorder, and return them."""
    has_monitoring = subprocess.run([python, "-c", "import sys; sys.monitoring"], capture_output=True).returncode == 0
    engines = [engine for engine in OURS if engine == "settrace" or has_monitoring]
    found: dict[str, dict[str, float]] = {}
    for workload, full in ROUNDS.items():
        rounds = max(int(full * scale), 50)
        events = measure(python, "settrace", workload, rounds, 1, output).events
        rates = found[workload] = {}
        print(f"\n{workload}: {events:,} events")
        names = [*engines, "straightforward-text", "straightforward", *(SLOW if peers else ())]
        for name in names:
            figure = measure(peers if name in SLOW and peers else python, name, workload, rounds, repeats, output)
            rates[name] = events / figure.seconds
            note = f"{figure.bytes / events:6.0f} bytes an event" if figure.bytes else ""
            print(f"  {LABELS[name]:60} {rates[name]:10,.0f} events/s  {note}")
        best = max(rates[engine] for engine in engines)
        for name in names[len(engines) :]:
            print(f"  {best / rates[name]:6.2f} times {LABELS[name]}")
    return found


LABELS = {
    "settrace": "cwm_env, sys.settrace",
    "monitoring": "cwm_env, sys.monitoring",
    "straightforward-text": "settrace, repr of all locals, written as JSON",
    "straightforward": "settrace, repr of all locals, thrown away",
    "PySnooper": "PySnooper, values cut to 100 characters (its default)",
    "PySnooper-whole": "PySnooper, values written whole, as ours are",
    "snoop": "snoop",
    "hunter": "hunter (VarsSnooper)",
}


def memory(python: str, rounds: int) -> Figure:
    """Growth of memory over a long run; each round of the scalars is 6.5 events."""
    figure = measure(python, "settrace", "scalars", rounds, 1, "/dev/null")
    print(f"\nmemory: {figure.events:,} events in {figure.seconds:.1f} s, grown by {figure.grown_kib:,} KiB")
    return figure


def suite(recipe: str, timeout: float = 1200.0) -> None:
    """Time a repository's tests untraced, cut into episodes, and recorded whole."""
    place = Place.default(recipe)
    tests = collect(place)

    def timed(trace: bool = True, whole: bool = False) -> tuple[float, int]:
        count = 0

        def take(episode: object) -> None:
            nonlocal count
            count += 1

        begin = time.monotonic()
        trace_tests(place, tests, take, cut=Cut(), timeout=timeout, trace=trace, whole=whole)
        return time.monotonic() - begin, count

    print(f"\nthe test suite of {Path(recipe).parent.name or recipe}")
    plain, _ = timed(trace=False)
    print(f"  untraced                     {plain:7.2f} s")
    for name, whole in (("cut into episodes", False), ("everything recorded", True)):
        seconds, count = timed(whole=whole)
        print(f"  {name:28} {seconds:7.2f} s   {seconds / plain:5.1f} times   {count:,} traces")


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small workloads, no peers, no suite")
    parser.add_argument("--python", default=sys.executable, help="interpreter to measure on")
    parser.add_argument("--suite", default=SUITE, help="a recipe's directory")
    options = parser.parse_args()
    version = subprocess.run([options.python, "-V"], capture_output=True, text=True, check=True).stdout.strip()
    print(f"{version}, {'quick' if options.quick else 'full'}")
    with tempfile.TemporaryDirectory() as directory:
        output = str(Path(directory, "out"))
        if options.quick:
            speeds(options.python, None, 0.02, 1, output)
            memory(options.python, 20_000)
            return
        speeds(options.python, environment(options.python), 1.0, 3, output)
    memory(options.python, 1_600_000)
    suite(options.suite)


if __name__ == "__main__":
    main()
