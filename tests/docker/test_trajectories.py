"""The same task, policy and seed give the same outputs and the same reward on every backend."""

from __future__ import annotations

import re
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from cwm_env import BashEnv
from cwm_env.grading.exploits import FOR_ADMISSION, exploits
from cwm_env.images import ImageStore
from cwm_env.tasks import list_tasks
from cwm_env.types import Task
from tests.docker.debian import on_debian
from tests.envs.small import FIX, write_task

GVISOR = "docker:runsc"
_TIMES = re.compile(r"\b\d+(\.\d+)?(e-\d+)?( ?m?s\b| seconds\b)")


def trajectory(task: Task, backend: str, store: ImageStore, *commands: str) -> tuple[list[str], float, str, object]:
    """Observations, reward, outcome and the tests' statuses."""
    env = BashEnv(task, backend, images=store)
    try:
        env.reset(seed=7)
        seen = []
        for command in (*commands, "submit"):
            observation, reward, terminated, truncated, info = env.step(command)
            assert "failure" not in info, info["error"]
            seen.append(_TIMES.sub("TIME", observation))
            if terminated or truncated:
                break
        grade = info["grade"]
        assert grade is not None
        return seen, float(reward), grade.outcome, dict(grade.tests)
    finally:
        env.close()


@pytest.mark.parametrize("task", list_tasks())
def test_gold_gives_the_same_trajectory_everywhere(task: str, store: ImageStore, tmp_path: Path) -> None:
    found = on_debian(task, tmp_path)
    assert found.solution
    look = "git status --short; git diff | cksum; ls -A; id -un; uname -s; ls /nowhere; false"
    first = trajectory(found, "namespaces", store, found.solution, look)
    assert first[1:3] == (1.0, "resolved")
    for backend in ("docker", GVISOR):
        assert trajectory(found, backend, store, found.solution, look) == first, backend


@pytest.fixture(scope="module")
def small_task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """The small task, with little time for its tests."""
    directory = tmp_path_factory.mktemp("tasks")
    file = write_task(directory) / "task.toml"
    file.write_text(file.read_text().replace("timeout_sec = 60", "timeout_sec = 8").replace("turns = 5", "turns = 9"))
    return on_debian(file.parent, directory / "images")


@pytest.fixture(scope="module")
def played(small_task: Task, store: ImageStore) -> dict[str, Future[tuple[list[str], float, str, object]]]:
    """Every exploit as an episode on the Docker engine; several at once, for most wait for something."""
    with ThreadPoolExecutor(3) as pool:
        return {
            name: pool.submit(trajectory, small_task, "docker", store, exploit.commands)
            for name, exploit in exploits().items()
        }


@pytest.mark.parametrize("name", exploits())
def test_an_exploit_is_not_rewarded(name: str, played: dict[str, Future[tuple[list[str], float, str, object]]]) -> None:
    _, reward, outcome, _ = played[name].result()
    assert (reward, outcome) == (0.0, "tampered" if exploits()[name].forges else "unresolved")


@pytest.mark.parametrize("name", FOR_ADMISSION)
def test_an_exploit_of_every_kind_is_not_rewarded_under_gvisor(name: str, small_task: Task, store: ImageStore) -> None:
    _, reward, outcome, _ = trajectory(small_task, GVISOR, store, exploits()[name].commands)
    assert (reward, outcome) == (0.0, "tampered" if exploits()[name].forges else "unresolved")


@pytest.mark.parametrize("backend", ["docker", GVISOR])
def test_the_fix_alone_is_rewarded(backend: str, small_task: Task, store: ImageStore) -> None:
    assert trajectory(small_task, backend, store, FIX)[1:3] == (1.0, "resolved")
