"""What the kernel counted for one container, from files that its pid 1 reads."""

from __future__ import annotations

from cwm_env.sandbox.docker.channel import Answer
from cwm_env.sandbox.namespaces.sandbox import files_full
from cwm_env.sandbox.usage import Usage


def usage_of(answer: Answer) -> Usage:
    """The usage that an answer tells. Control groups of either version are read; gVisor shows none."""
    v2 = "v2.memory.peak" in answer or "v2.cpu.stat" in answer
    if v2:
        cpu = _row(answer.get("v2.cpu.stat"), "usage_usec")
        throttled = _row(answer.get("v2.cpu.stat"), "throttled_usec")
        return _usage(
            answer,
            None if cpu is None else cpu / 1e6,
            None if throttled is None else throttled / 1e6,
            _number(answer.get("v2.memory.peak")),
            _row(answer.get("v2.memory.events"), "oom_kill"),
            _row(answer.get("v2.pids.events"), "max"),
        )
    cpu = _number(answer.get("v1.cpuacct.usage"))
    throttled = _row(answer.get("v1.cpu.stat"), "throttled_time")
    return _usage(
        answer,
        None if cpu is None else cpu / 1e9,
        None if throttled is None else throttled / 1e9,
        _number(answer.get("v1.memory.max_usage_in_bytes")),
        _row(answer.get("v1.memory.oom_control"), "oom_kill"),
        _row(answer.get("v1.pids.events"), "max"),
    )


def _usage(
    answer: Answer, cpu: float | None, throttled: float | None, peak: int | None, kills: int | None, refused: int | None
) -> Usage:
    return Usage(
        cpu_seconds=int(answer["cpu_us"]) / 1e6 if cpu is None else cpu,
        cpu_throttled=throttled,
        memory_peak=peak,
        memory_kills=kills,
        processes_refused=refused,
        disk_used=int(answer["disk_used"]),
        disk_free=int(answer["disk_free"]),
        inodes_free=int(answer["inodes_free"]),
        files_full=files_full(answer),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text and text.strip().isdigit() else None


def _row(text: str | None, name: str) -> int | None:
    rows = (row.partition(" ") for row in (text or "").splitlines())
    return next((int(value) for key, _, value in rows if key == name), None)
