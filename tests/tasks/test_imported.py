"""Harbor's tasks are kept by name, and what of one does not run here is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from cwm_env.cli.tasks import tasks
from cwm_env.errors import TaskError
from cwm_env.tasks import imported, load_task, resolve

PLAIN = 'schema_version = "1.4"\n[verifier]\ntimeout_sec = 5.0\n'


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("CWM_ENV_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def harbor_task(directory: Path, toml: str = PLAIN) -> Path:
    files = {
        "task.toml": toml,
        "instruction.md": "Do it.",
        "environment/Dockerfile": "FROM debian:bookworm\nWORKDIR /app\n",
        "tests/test.sh": "echo 1 > /logs/verifier/reward.txt",
    }
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


def test_a_directory_of_tasks_is_imported_and_what_does_not_run_is_said(tmp_path: Path) -> None:
    harbor_task(tmp_path / "set/one")
    harbor_task(tmp_path / "set/deeper/two")
    (harbor_task(tmp_path / "set/three") / "environment/docker-compose.yaml").write_text("services: {}")
    done = CliRunner().invoke(tasks, ["import", "harbor", str(tmp_path / "set"), "--json"])
    assert imported.kept_names() == ["one", "two"], done.output
    assert "tasks of several containers do not run here" in done.output
    one = resolve("harbor:one")
    assert one.instruction == "Do it." and one.tests.runner == "script" and one.image.endswith("one/environment")
    with pytest.raises(TaskError, match="no Harbor task 'three' here"):
        resolve("harbor:three")


def test_importing_again_takes_the_place_of_the_first(tmp_path: Path, cache: Path) -> None:
    directory = harbor_task(tmp_path / "one")
    imported.keep(directory)
    (directory / "instruction.md").write_text("Do more.")
    assert imported.keep(directory, {"tree": "/", "unprotected": ["*"]}).instruction == "Do more."
    kept = resolve("harbor:one")
    assert (kept.tests.tree, kept.tests.unprotected) == ("/", ("*",))
    assert [path.name for path in (cache / "harbor").iterdir()] == ["one"]


@pytest.mark.parametrize("name", ["", ".", "..", "../harbor/one", ".x"])
def test_a_name_leads_nowhere_else(name: str, tmp_path: Path) -> None:
    imported.keep(harbor_task(tmp_path / "one"))
    with pytest.raises(TaskError, match="no Harbor task"):
        resolve(f"harbor:{name}")


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ('[environment]\nworkdir = "/x"', "[environment] workdir: is not heeded here"),
        ('[environment.env]\nA = "b"', "[environment] env: is not heeded here"),
        ('[verifier.env]\nKEY = "${KEY}"', "[verifier] env: is not heeded here"),
        ('[agent]\nuser = "agent"', "[agent] user: is not heeded here"),
        ('[verifier]\nenvironment_mode = "separate"', "[verifier] environment_mode: 'separate' does not run here"),
        ('[metadata.cwm_env]\ntree = "etc"', "[metadata.cwm_env] tree: 'etc' is not an absolute path"),
    ],
)
def test_what_would_end_in_a_wrong_reward_is_refused(tmp_path: Path, toml: str, says: str) -> None:
    with pytest.raises(TaskError) as caught:
        load_task(harbor_task(tmp_path / "one", toml))
    assert says in str(caught.value)


def test_an_image_of_a_registry_needs_no_dockerfile(tmp_path: Path) -> None:
    directory = harbor_task(tmp_path / "one", '[environment]\ndocker_image = "example.org/a/b:1"')
    (directory / "environment/Dockerfile").unlink()
    assert load_task(directory).image == "docker://example.org/a/b:1"
