"""Harbor's tasks with a Dockerfile run unchanged on both backends, and Harbor itself runs on our sandboxes."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from pathlib import Path

import pytest

from cwm_env import BashEnv
from cwm_env.images import ImageStore
from cwm_env.tasks import resolve
from tests.docker.conftest import docker
from tests.docker.debian import on_debian
from tests.envs.small import write_task

FILES = {
    "task.toml": 'schema_version = "1.4"\n[verifier]\ntimeout_sec = 60\n[agent]\ntimeout_sec = 60\n',
    "instruction.md": "Write `42` into /app/answer.\n",
    "environment/Dockerfile": "FROM t/debian:1\nWORKDIR /app\n"
    # The graders compare with a commit, so an image whose workdir is no repository cannot be graded yet.
    "RUN echo 41 > /app/answer && git init -q && git add -A && git commit -qm first\n",
    "tests/test.sh": "mkdir -p /logs/verifier\n"
    'if [ "$(cat /app/answer)" = 42 ]; then echo 1; else echo 0; fi > /logs/verifier/reward.txt\n',
    "solution/solve.sh": "echo 42 > /app/answer\n",
}


@pytest.fixture(scope="module")
def task(store: ImageStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Harbor task whose Dockerfile stands on a Debian."""
    directory = tmp_path_factory.mktemp("harbor") / "answer"
    archive = tmp_path_factory.mktemp("archive") / "debian.tar"
    store.export(on_debian(write_task(directory.parent), directory.parent / "images").image, archive)
    docker("tag", docker("load", "--input", str(archive)).split()[-1], "t/debian:1")
    for name, text in FILES.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


@pytest.mark.parametrize("backend", ["namespaces", "docker"])
def test_a_task_with_a_dockerfile_runs_unchanged(task: Path, backend: str, store: ImageStore) -> None:
    solution = resolve(task).solution
    assert solution
    for actions, expected in (((solution,), 1.0), ((), 0.0)):
        env = BashEnv(task, backend, images=store)
        env.reset()
        for action in (*actions, "submit"):
            _, reward, *_, info = env.step(action)
        env.close()
        assert "failure" not in info, info["error"]
        assert reward == expected, info["grade"]


@pytest.mark.skipif(importlib.util.find_spec("harbor") is None, reason="harbor is not installed: it needs Python 3.12")
def test_harbor_runs_on_our_sandbox(task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harbor.models.task.config import EnvironmentConfig
    from harbor.models.trial.paths import TrialPaths

    from cwm_env.integrations.harbor import CwmEnvironment

    async def trial() -> None:
        environment = CwmEnvironment(
            environment_dir=task / "environment",
            environment_name="answer",
            session_id="answer__1__env",
            trial_paths=TrialPaths(trial_dir=tmp_path),
            task_env_config=EnvironmentConfig(),
            logger=logging.getLogger("test"),
        )
        await environment.start(force_build=False)
        try:
            done = await environment.exec("echo $X; cat answer; exit 3", env={"X": "x"})
            assert (done.stdout, done.return_code) == ("x\n41\n", 3)
            await environment.upload_dir(task / "tests", "/tests")
            await environment.upload_file(task / "solution/solve.sh", "/solution/solve.sh")
            await environment.exec("bash /solution/solve.sh && bash /tests/test.sh")
            await environment.download_dir("/logs/verifier", tmp_path / "verifier")
            assert (tmp_path / "verifier/reward.txt").read_text() == "1\n"
            assert (await environment.exec("sleep 30", timeout_sec=1)).return_code == 124
        finally:
            await environment.stop(delete=True)

    asyncio.run(trial())
