"""What the load benchmark starts, counts and prints."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Result:
    """What one way of stepping came to."""

    name: str
    steps: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    cpu: tuple[float, float] = (0.0, 0.0)
    """CPU seconds of the server's process and of this one."""

    @property
    def rate(self) -> float:
        """Steps a second."""
        return self.steps / self.seconds if self.seconds else 0.0

    def row(self) -> str:
        """A line of the table."""
        ordered = sorted(self.latencies) or [0.0]
        p50, p99 = (ordered[int(len(ordered) * part)] * 1000 for part in (0.5, 0.99))
        theirs, ours = (spent / max(self.steps, 1) * 1e6 for spent in self.cpu)
        return (
            f"{self.name:<32} {self.rate:>7.0f}/s {p50:>7.1f} ms {p99:>7.1f} ms {self.errors:>6} "
            f"{theirs:>6.0f} us {ours:>6.0f} us"
        )


@contextlib.contextmanager
def server(*options: str) -> Iterator[tuple[str, int]]:
    """A server of its own: URL and process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as state:
        command = [sys.executable, "-m", "cwm_env", "serve", "--port", str(port), "--state", state, *options]
        with (Path(state) / "log").open("wb") as log:
            process = subprocess.Popen(command, stderr=log, stdout=log)
        try:
            await_answer(f"http://127.0.0.1:{port}/healthz", process)
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(120)


def await_answer(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers."""
    while process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url).close()
            return
        time.sleep(0.05)
    raise SystemExit("the server does not start")


def median(results: list[Result]) -> Result:
    """The one whose rate is in the middle."""
    return sorted(results, key=lambda result: result.rate)[len(results) // 2]


def cpu(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> int:
    """Bytes that a process has in memory."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def used_memory() -> int:
    """Bytes of the machine's memory in use."""
    rows = dict(row.split(":") for row in Path("/proc/meminfo").read_text().splitlines())
    return (int(rows["MemTotal"].split()[0]) - int(rows["MemAvailable"].split()[0])) * 1024
