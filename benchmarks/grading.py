"""What grading costs beside the tests themselves: milliseconds by phase, on the embedded sandbox.

    python -m benchmarks.grading [TASK] [--repeats N]

Each repeat is an episode that runs the gold solution and is graded. ``tests`` is the run of the hidden tests in its
process, from start to end; all else is overhead. The peer is the same tests on the same tree without a grader: one
fresh clone, the patch, and ``python -m pytest`` in it.
"""

from __future__ import annotations

import argparse
import statistics
import time

from cwm_env.grading import Grader
from cwm_env.grading import patch as patches
from cwm_env.grading.gold import gold_patch
from cwm_env.grading.runner import environment, run_bash
from cwm_env.images import ImageStore
from cwm_env.sandbox.base import Backend
from cwm_env.sandbox.registry import backend as backend_named
from cwm_env.sandbox.run import run
from cwm_env.tasks import list_tasks, resolve
from cwm_env.types import Grade, Image, Task

TARGET = 100.0
"""Milliseconds of overhead, in the median."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="?", default=list_tasks()[0], help="a shipped task, or a path")
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    task, backend = resolve(arguments.task), backend_named("namespaces")
    image = ImageStore().get(task.image)
    gold = gold_patch(backend, image, task)
    measured = [_graded(backend, image, task) for _ in range(arguments.repeats + 1)][1:]  # the first warms caches
    peer = [_plain(backend, image, task, gold) for _ in range(max(arguments.repeats // 4, 1))]
    backend.close()
    _print(task, measured, peer)


def _graded(backend: Backend, image: Image, task: Task) -> Grade:
    episode = backend.create(image, task.limits)
    try:
        run_bash(episode, image, task.solution or "", 120.0)
        grade = Grader(backend, image, task).grade(episode)
    finally:
        episode.close()
    assert grade.outcome == "resolved", grade.reason
    return grade


def _plain(backend: Backend, image: Image, task: Task, gold: str) -> float:
    """Seconds of the visible tests alone, as a harness without any defence would run them."""
    clone = backend.create(image, task.limits)
    try:
        patches.apply(clone, image, gold)
        paths = [path for path in task.tests.paths if path.startswith(image.workdir)]
        argv = ["python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *task.tests.args, *paths]
        started = time.perf_counter()
        run(clone, argv, env=environment(image), cwd=image.workdir, timeout=task.tests.timeout)
        return time.perf_counter() - started
    finally:
        clone.close()


def _print(task: Task, measured: list[Grade], peer: list[float]) -> None:
    overheads = [(grade.duration - grade.phases["tests"]) * 1000 for grade in measured]
    print(f"{task.id}, {len(measured)} gradings; milliseconds\n")
    print(f"{'phase':<12}{'median':>10}{'highest':>10}")
    for phase in measured[0].phases:
        values = [grade.phases[phase] * 1000 for grade in measured]
        print(f"{phase:<12}{statistics.median(values):>10.1f}{max(values):>10.1f}")
    overhead = statistics.median(overheads)
    print(f"{'overhead':<12}{overhead:>10.1f}{max(overheads):>10.1f}")
    print(f"\nvisible tests in a clone without a grader: {statistics.median(peer) * 1000:.1f}")
    print(f"overhead is {'below' if overhead < TARGET else 'NOT below'} {TARGET:g} ms in the median")


if __name__ == "__main__":
    main()
