"""Harbor's tasks with a Dockerfile run unchanged on both backends, and Harbor itself runs on our sandboxes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from cwm_env import BashEnv
from cwm_env.grading import Grader, validate
from cwm_env.grading.gold import gold_patch
from cwm_env.images import ImageStore
from cwm_env.paths import cache_dir
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.tasks import imported, resolve
from cwm_env.types import Task
from tests.docker import harbor_tasks, harbor_venv
from tests.docker.conftest import docker
from tests.docker.debian import on_debian
from tests.envs.small import write_task


@pytest.fixture(scope="module")
def tasks(store: ImageStore, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Task]:
    """Harbor's tasks, imported; their Dockerfiles stand on a Debian."""
    directory = tmp_path_factory.mktemp("harbor")
    archive = tmp_path_factory.mktemp("archive") / "debian.tar"
    store.export(on_debian(write_task(directory), directory / "images").image, archive)
    docker("tag", docker("load", "--input", str(archive)).split()[-1], "t/debian:1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CWM_ENV_CACHE", str(directory / "cache"))
        for name in harbor_tasks.TASKS:
            imported.keep(harbor_tasks.write(directory / "tasks", name))
        return {name: resolve(f"harbor:{name}") for name in harbor_tasks.TASKS}


@pytest.mark.parametrize("backend", ["namespaces", "docker"])
@pytest.mark.parametrize("name", harbor_tasks.TASKS)
def test_a_task_with_a_dockerfile_runs_unchanged(
    tasks: dict[str, Task], name: str, backend: str, store: ImageStore
) -> None:
    solution = tasks[name].solution
    assert solution
    env = BashEnv(tasks[name], backend, images=store)
    part = [harbor_tasks.PARTS[name]] if name in harbor_tasks.PARTS else []
    for action, expected in ((solution, 1.0), ("true", 0.0), *part):
        env.reset()
        env.step(action)
        _, reward, *_, info = env.step("submit")
        assert "failure" not in info, info["error"]
        assert reward == expected, info["grade"]
    env.close()


def test_what_was_graded_is_graded_again_from_its_patch_alone(
    tasks: dict[str, Task], store: ImageStore, backend: NamespacesBackend
) -> None:
    task = tasks["files"]
    image = store.get(task.image)
    patch = gold_patch(backend, image, task)
    assert "GIT binary patch" in patch and "deleted file mode 100644" in patch and "new file mode 100755" in patch
    grader = Grader(backend, image, task)
    assert grader.grade_patch(patch).reward == 1.0
    assert grader.grade_patch("").reward == 0.0
    assert "does not apply" in grader.grade_patch(patch.replace("-x\n", "-y\n")).reason


def test_an_untouched_task_is_admitted(tasks: dict[str, Task], store: ImageStore, backend: NamespacesBackend) -> None:
    found = validate(backend, store.get(tasks["pytest"].image), tasks["pytest"])
    assert found.admitted, found.problems


@pytest.fixture(scope="module")
def harbor() -> Path:
    """The Python of an environment that has Harbor."""
    program = harbor_venv.python()
    if isinstance(program, str):
        pytest.skip(program)
    return program


@pytest.mark.parametrize(("agent", "name", "expected"), [("oracle", "files", 1.0), ("nop", "pytest", 0.0)])
def test_harbor_itself_runs_a_trial_on_our_sandbox(
    harbor: Path, tasks: dict[str, Task], agent: str, name: str, expected: float, store: ImageStore, tmp_path: Path
) -> None:
    provider = ["--env", "cwm_env.integrations.harbor:CwmEnvironment", "--jobs-dir", str(tmp_path), "--yes"]
    command = [str(harbor.parent / "harbor"), "run", "--path", str(tasks[name].directory), "--agent", agent, *provider]
    done = subprocess.run(command, env=surroundings(store), capture_output=True, text=True, timeout=300)
    results = list(tmp_path.glob("*/*/result.json"))
    assert len(results) == 1, done.stdout[-2000:] + done.stderr[-2000:]
    result = json.loads(results[0].read_text())
    assert result["exception_info"] is None, result["exception_info"]
    assert result["verifier_result"]["rewards"]["reward"] == expected


@pytest.mark.parametrize("backend", ["namespaces", "docker"])
def test_the_provider_keeps_its_promises(
    harbor: Path, tasks: dict[str, Task], backend: str, store: ImageStore, tmp_path: Path
) -> None:
    script = [str(harbor), str(Path(__file__).with_name("harbor_trial.py")), str(tasks["files"].directory), backend]
    done = subprocess.run(
        [*script, str(tmp_path)], env=surroundings(store), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]


def surroundings(store: ImageStore) -> dict[str, str]:
    """Variables for a program that finds this package in its checkout, and the images that are there already."""
    native = store.directory / "native"
    if not native.exists():
        native.symlink_to(cache_dir() / "native")
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "CWM_ENV_CACHE": str(store.directory)}
