"""What a sandbox costs: time to its first prompt, rate, memory, steps, and how they grow with the number alive.

    python -m benchmarks.sandbox            # a few minutes; beside bubblewrap, unshare, crun and docker where installed
    python -m benchmarks.sandbox --quick    # seconds, so that a test can run it
    python -m benchmarks.sandbox --alive 5000

Every figure is of this run, on the machine that the first line names. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import select
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import peer_sandboxes as peers
from cwm_env.sandbox.base import Process, Program, Sandbox
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.session import BashSession
from cwm_env.session.protocol import ARGV
from cwm_env.types import Image, Limits
from tests.adversarial.attacks import let_loose, slowdowns

ENV = {"PATH": "/usr/bin:/bin", "PS1": "$ "}
BASH = Program(ARGV, ENV, shell_loop=True)
LIMITS = Limits()
_STILL, _MOST_LOOKS = 512, 30  # KiB between two looks at the memory, and looks


def bare_image(directory: Path) -> Image:
    """Empty directories over the machine's ``/usr``."""
    for name in ("usr", "proc", "dev", "tmp", "run", "etc", "repo", "root"):
        (directory / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        if Path("/", name).is_symlink():
            (directory / name).symlink_to(f"usr/{name}")
    (directory / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    return Image("bare", "sha256:bare", (directory,), host_mounts=("/usr",))


def wait_for_prompt(process: Process) -> None:
    """Until bash says the first thing."""
    poller = select.poll()
    poller.register(process.stderr, select.POLLIN)
    poller.poll(10_000)
    os.read(process.stderr, 4096)


def start(backend: NamespacesBackend, image: Image) -> tuple[Sandbox, Process]:
    """A sandbox with a bash at its prompt."""
    sandbox = backend.create(image, LIMITS)
    process = sandbox.spawn(ARGV, env=ENV, shell_loop=True)
    wait_for_prompt(process)
    return sandbox, process


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def middle(values: Sequence[float]) -> str:
    """Median and ninth decile."""
    ordered = sorted(values)
    return f"{statistics.median(ordered):8.2f}  (p90 {ordered[len(ordered) * 9 // 10]:.2f})"


def report(what: str, value: str, unit: str) -> None:
    """One line of the table."""
    print(f"{what:<58} {value} {unit}", flush=True)


def one_at_a_time(backend: NamespacesBackend, image: Image, count: int) -> None:
    """Create to first prompt, and destroy, beside the peers, in turns so that all meet the same machine."""
    rivals = peers.available()
    create: list[float] = []
    destroy: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(count):
        made: list[tuple[Sandbox, Process]] = []
        create.append(timed(lambda made=made: made.append(start(backend, image))))  # type: ignore[misc]
        ((sandbox, process),) = made
        process.close()
        destroy.append(timed(sandbox.close))
        for name, command in rivals.items():
            if len(theirs[name]) < peers.most(name, count):
                theirs[name].append(peers.first_prompt(command))
    report("create to first prompt", middle(create), "ms")
    report("destroy", middle(destroy), "ms")
    for name, values in theirs.items():
        report(f"  {name}, to first prompt", middle(values), "ms")


def from_a_warm_pool(backend: NamespacesBackend, image: Image, count: int) -> None:
    """What ``reset`` waits for where the pool keeps up: a sandbox, and a bash in it that answers."""
    backend.warm(image, LIMITS, size=8, rate=1000, program=BASH)
    (pool,) = backend.pools()
    taken: list[float] = []
    first: list[float] = []
    for _ in range(count):
        while len(pool) < 8:
            time.sleep(0.002)
        time.sleep(0.005)
        kept: list[Sandbox] = []
        taken.append(timed(lambda kept=kept: kept.append(backend.create(image, LIMITS))))  # type: ignore[misc]
        sessions: list[BashSession] = []
        first.append(timed(lambda kept=kept, to=sessions: to.append(BashSession(kept[0], env=ENV))))  # type: ignore[misc]
        sessions[0].close()
        kept[0].close()
    backend.warm(image, LIMITS, size=0)
    report("sandbox from a warm pool", middle(taken), "ms")
    report("  and a session in it that answers", middle(first), "ms")


def rate(backend: NamespacesBackend, image: Image, count: int) -> None:
    """Made and ended by two threads with a spawner each."""

    def work() -> None:
        for _ in range(count // 2):
            backend.create(image, LIMITS).close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report("made and ended with two spawners", f"{count / (time.perf_counter() - started):8.0f}", "a second")


def available() -> int:
    """KiB of memory that could be had, once it stays the same: the kernel frees what has ended when it likes."""
    now, last = _available(), 0
    for _ in range(_MOST_LOOKS):
        if abs(now - last) < _STILL:
            break
        time.sleep(0.3)
        now, last = _available(), now
    return now


def _available() -> int:
    rows = Path("/proc/meminfo").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("MemAvailable"))


def alive(backend: NamespacesBackend, image: Image, counts: Sequence[int], steps_over: int) -> None:
    """Memory each, time for two threads to make them all, the cost of one more, and steps over many."""

    def begin(_: int) -> tuple[Sandbox, BashSession]:
        sandbox = backend.create(image, LIMITS)
        return sandbox, BashSession(sandbox, env=ENV)

    def end(held: tuple[Sandbox, BashSession]) -> None:
        held[1].close()
        held[0].close()

    before = available()
    held: list[tuple[Sandbox, BashSession]] = []
    took = 0.0
    with ThreadPoolExecutor(2) as two:
        for count in counts:
            took += timed(lambda count=count: held.extend(two.map(begin, range(len(held), count))))  # type: ignore[misc]
            report(f"{count} alive, each", f"{(before - available()) / count:8.0f}", "KiB")
            if count == steps_over:
                steps(held, rounds=4)
            more = [timed(lambda: backend.create(image, LIMITS).close()) for _ in range(50)]
            report(f"  one more made and ended beside {count}", middle(more), "ms")
        report(f"making {counts[-1]}, each with a session that answers", f"{took / 1000:8.1f}", "s")
        ended = timed(lambda: list(two.map(end, held)))
        report(f"ending {counts[-1]}", f"{ended / 1000:8.1f}", "s")


def steps(held: Sequence[tuple[Sandbox, BashSession]], rounds: int) -> None:
    """One thread that goes round all sessions, each with a builtin command."""
    started = time.perf_counter()
    for _ in range(rounds):
        for _, session in held:
            session.run(":")
    total = rounds * len(held) / (time.perf_counter() - started)
    report(f"  steps over {len(held)} alive, one after another", f"{total:8.0f}", "a second")


def beside_the_worst(backend: NamespacesBackend, image: Image, rounds: int) -> None:
    """How much slower 50 others step while one bombs, hogs, fills and spins, against the same one paused."""
    held = [backend.create(image, LIMITS) for _ in range(50)]
    sessions = [BashSession(sandbox, env=ENV) for sandbox in held]
    monster = backend.create(image, Limits(cpus=1.0, memory=128 << 20, processes=64, disk=16 << 20))
    let_loose(monster)
    for command in ("echo on", "/bin/true"):
        slower = middle(slowdowns(monster, sessions, rounds, command))
        report(f"a step of 50 beside one at its worst, {command}", slower, "times as long")
    backend.close()


def only_alive(backend: NamespacesBackend, image: Image, count: int) -> None:
    """As many as asked for, each with one idle process, two descriptors held for each."""
    before = available()
    started = time.perf_counter()
    held = []
    for _ in range(count):
        held.append(backend.create(image, LIMITS))
        held[-1].spawn(["sleep", "infinity"]).close()
    took = time.perf_counter() - started
    report(f"{count} alive with an idle process, each", f"{(before - available()) / count:8.0f}", "KiB")
    report(f"  making them ({count / took:.0f} a second)", f"{took:8.1f}", "s")
    backend.close()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small counts, for a test")
    parser.add_argument("--alive", type=int, metavar="N", help="only: hold N sandboxes")
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    backend = NamespacesBackend()
    user = "root" if os.geteuid() == 0 else "ordinary user"
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, Python", platform.python_version()
    )
    print(f"{user}, cgroups {backend.cgroups.version}, load {os.getloadavg()[0]:.1f}", flush=True)
    try:
        image = bare_image(directory / "layer")
        backend.create(image, LIMITS).close()  # starts a spawner, and builds its program in a checkout
        if arguments.alive:
            only_alive(backend, image, arguments.alive)
            return
        quick = arguments.quick
        one_at_a_time(backend, image, 5 if quick else 200)
        from_a_warm_pool(backend, image, 5 if quick else 100)
        rate(backend, image, 20 if quick else 2000)
        alive(backend, image, (5, 10) if quick else (100, 1000, 2000), 10 if quick else 1000)
        beside_the_worst(backend, image, 3 if quick else 21)
    finally:
        backend.close()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
