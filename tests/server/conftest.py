"""Real servers on loopback, each a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.envs.small import write_task
from tests.server.leftovers import Traces


class Server:
    """A server process. ``kill`` and ``start`` again keep its port and state."""

    def __init__(self, state: Path, *options: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.state, self.url = state, f"http://127.0.0.1:{self.port}"
        self.options = options
        self.runtime = state.parent / f"{state.name}.run"
        self.runtime.mkdir(exist_ok=True)
        self.keeper = 0
        """The process id of its keeper."""
        self.log = state.parent / f"{state.name}.log"
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "cwm_env", "serve", "--port", str(self.port), "--state", str(self.state)]
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(self.runtime)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*command, *self.options], stderr=log, stdout=log, env=environment)
        deadline = time.monotonic() + 90
        while True:
            try:
                self.ask("GET", "/healthz")
                self.keeper = self._find_keeper()
                return
            except OSError:
                assert time.monotonic() < deadline and self.process.poll() is None, self.log.read_text()
                time.sleep(0.02)

    def kill(self) -> None:
        """Kill it as nothing can be handled."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to stop, and wait; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def await_keeper(self) -> None:
        """Wait until another keeper has taken the place of one that was killed, and holds what that one held."""
        old, deadline = self.keeper, time.monotonic() + 30
        said = self.log.read_text().count("another keeper holds")
        while self.keeper == old or self.log.read_text().count("another keeper holds") == said:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
            self.keeper = self._find_keeper()

    def _find_keeper(self) -> int:
        """Its keeper, unless it found one that an earlier server of this state had started."""
        for pid, _ in self.traces().processes:
            with contextlib.suppress(OSError):
                if b"keeper.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        return self.keeper

    def resumed(self) -> int:
        """How many episodes of the server before go on under this one."""
        page: bytes = self.ask("GET", "/metrics")[1]
        (row,) = (row for row in page.splitlines() if row.startswith(b"cwm_env_resumed_total"))
        return int(float(row.split()[1]))

    def traces(self) -> Traces:
        """What it has on the machine now."""
        return Traces.of(self.process.pid, self.runtime)

    def ask(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, **headers: str
    ) -> tuple[int, Any]:
        """One request on a connection of its own: status and decoded body."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if data is not None:
            headers.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, _decoded(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _decoded(error.read())

    def begin(self, task: object, **more: Any) -> str:
        """A new episode's id."""
        status, made = self.ask("POST", "/episodes", {"task": str(task), **more})
        assert status == 201, made
        episode_id: str = made["episode_id"]
        return episode_id

    def step(self, episode_id: str, action: str, step_id: str) -> Any:
        """The answer to a step that succeeds."""
        status, answer = self.ask("POST", f"/episodes/{episode_id}/step", {"action": action, "step_id": step_id})
        assert status == 200, answer
        return answer


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data


Start = Callable[..., Server]


@pytest.fixture(scope="session")
def small_task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the small task."""
    return write_task(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that all tests may use."""
    made = Server(tmp_path_factory.mktemp("server") / "state")
    yield made
    assert made.stop() == 0


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Start]:
    """Starts servers of one's own."""
    made: list[Server] = []

    def start(*options: str, state: str = "state") -> Server:
        made.append(Server(tmp_path / state, *options))
        return made[-1]

    yield start
    for one in made:
        one.stop()
