"""What a server counts, in Prometheus's words."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from cwm_env.sandbox.usage import Usage

_STATES = ("starting", "ready", "running", "grading", "ended", "failed", "lost")
_STEP = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_RESET = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class StepTimes(Collector):
    """The histogram of step latencies: as the library's, whose ``observe`` would be a fortieth of a whole step."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_STEP) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count a step. Of one thread."""
        self._counts[bisect_left(_STEP, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """As the library calls it."""
        bounds = [*(str(float(bound)) for bound in _STEP), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily("cwm_env_step_seconds", "Time of a step.", buckets=buckets, sum_value=self._sum)


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.step = StepTimes()
        registry.register(self.step)
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
