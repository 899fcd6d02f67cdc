"""What a server counts, in Prometheus's words."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from cwm_env.sandbox.base import Usage

_STATES = ("starting", "ready", "running", "grading", "ended", "failed", "lost")
_STEP = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_RESET = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.step = Histogram("cwm_env_step_seconds", "Time of a step.", buckets=_STEP, registry=registry)
        self.reset = Histogram("cwm_env_reset_seconds", "Time of a reset.", buckets=_RESET, registry=registry)
        self._failures = Counter("cwm_env_failures", "Episodes by what ended them.", ["kind"], registry=registry)
        self._episodes = Gauge("cwm_env_episodes", "Episodes by state.", ["state"], registry=registry)
        self._queue = Gauge("cwm_env_queue_depth", "Requests that wait for an episode.", registry=registry)
        self._ahead = Gauge("cwm_env_ready_sandboxes", "Ready sandboxes that wait.", registry=registry)
        self._cpu = Gauge("cwm_env_sandbox_cpu_seconds", "CPU time of the sandboxes alive.", registry=registry)
        self._disk = Gauge("cwm_env_sandbox_disk_bytes", "What the sandboxes alive have written.", registry=registry)

        self.resumed = Counter("cwm_env_resumed", "Episodes of a killed server that go on.", registry=registry)
        self.keeper_lost = Counter(
            "cwm_env_keeper_lost",
            "Times that nothing was left to keep episodes if this server is killed.",
            registry=registry,
        )

    def failed(self, kind: str) -> None:
        """An episode was ended by something other than its policy."""
        self._failures.labels(kind).inc()

    def page(self, states: Iterable[str], waiting: int, ahead: int, usage: list[Usage]) -> bytes:
        """All of it, as text."""
        tally = Tally(states)
        for state in _STATES:
            self._episodes.labels(state).set(tally[state])
        self._queue.set(waiting)
        self._ahead.set(ahead)
        self._cpu.set(sum(one.cpu_seconds or 0.0 for one in usage))
        self._disk.set(sum(one.disk_used for one in usage))
        return generate_latest(self._registry)
