"""``tasks``, ``images``, ``replay``, ``doctor`` and ``--help``: for people and, with ``--json``, for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.envs.small import EXPECTED, write_task

SHIPPED = sorted(path.parent.name for path in (Path(__file__).parents[2] / "tasks").glob("*/task.toml"))


def test_every_command_has_help_with_an_example(cwm_env: Run) -> None:
    commands = ["run", "play", "tasks", "tasks list", "tasks show", "tasks validate", "images", "images list"]
    commands += ["images build", "images rm", "images prune", "replay", "doctor"]
    overview = cwm_env("--help")
    assert overview.returncode == 0 and "Exit codes" in overview.stdout
    for command in commands:
        done = cwm_env(*command.split(), "--help")
        assert done.returncode == 0 and "Example" in done.stdout, command
        assert command.split()[0] in overview.stdout


def test_tasks_are_listed_for_people_and_programs(cwm_env: Run) -> None:
    listed = json.loads(cwm_env("tasks", "list", "--json").stdout)
    assert [task["id"] for task in listed] == SHIPPED
    assert all(task["fail_to_pass"] > 0 and task["pass_to_pass"] > 0 for task in listed)
    assert all(name in cwm_env("tasks", "list").stdout for name in SHIPPED)
    assert all(name in cwm_env("tasks", "list", COLUMNS="80").stdout for name in SHIPPED)


def test_a_task_is_shown(cwm_env: Run, small_task: Path) -> None:
    shown = cwm_env("tasks", "show", small_task).stdout
    assert "doubling.double in /repo gives one too much" in shown and "5 turns, 20 s a command" in shown
    data = json.loads(cwm_env("tasks", "show", small_task, "--json").stdout)
    assert data["id"] == "small" and data["limits"]["turns"] == 5 and "too much" in data["instruction"]


def test_a_good_task_is_admitted(cwm_env: Run, small_task: Path) -> None:
    done = cwm_env("tasks", "validate", small_task, "--repeats", 2, "--json")
    (result,) = json.loads(done.stdout)
    assert done.returncode == 0 and result["admitted"]
    assert (result["untouched"], result["gold"]) == ("unresolved", ["resolved"] * 2)
    assert "admitted" in cwm_env("tasks", "validate", small_task).stdout


@pytest.mark.parametrize(
    ("hidden", "problem"),
    [
        ("def test_double(): pass", "the untouched tree is resolved"),
        ("def test_double(): assert 0", "the gold solution is unresolved"),
        (
            "import random, doubling\ndef test_double(): assert random.random() < .5 and doubling.double(2) == 4",
            "repeats of the gold solution disagree on tests/test_hidden.py::test_double",
        ),
    ],
)
def test_a_task_that_may_not_give_rewards_is_refused(cwm_env: Run, tmp_path: Path, hidden: str, problem: str) -> None:
    where = write_task(tmp_path)
    (where / "tests" / "test_hidden.py").write_text(hidden)
    done = cwm_env("tasks", "validate", where, "--repeats", 16 if "random" in hidden else 1, "--json")
    (result,) = json.loads(done.stdout)
    assert done.returncode == 1 and not result["admitted"]
    assert problem in "; ".join(result["problems"])


def test_expected_tests_are_recorded_from_what_the_solution_changes(cwm_env: Run, tmp_path: Path) -> None:
    where = write_task(tmp_path)
    (where / "tests" / "expected.json").unlink()
    assert cwm_env("tasks", "validate", where, "--record").returncode == 0
    assert json.loads((where / "tests" / "expected.json").read_text()) == EXPECTED


def test_images_are_built_listed_removed_and_pruned(cwm_env: Run, small_task: Path, tmp_path: Path) -> None:
    cache = {"CWM_ENV_CACHE": str(tmp_path / "cache")}
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "image.toml").write_text('base = "host"\nsetup = "echo hi > file"')
    assert json.loads(cwm_env("images", "list", "--json", **cache).stdout) == []
    built = cwm_env("images", "build", "./tiny", **cache)
    assert built.returncode == 0 and "sha256:" in built.stdout, built.stderr
    (listed,) = json.loads(cwm_env("images", "list", "--json", **cache).stdout)
    assert listed["digest"] in built.stdout and listed["workdir"] == "/repo"
    assert cwm_env("images", "rm", listed["name"], **cache).returncode == 0
    assert json.loads(cwm_env("images", "list", "--json", **cache).stdout) == []
    assert "freed" in cwm_env("images", "prune", **cache).stdout
    assert list((tmp_path / "cache" / "layers").iterdir()) == []
    assert cwm_env("images", "rm", "nosuch", **cache).returncode == 2


def test_a_recording_is_replayed(cwm_env: Run, small_task: Path) -> None:
    cwm_env("run", small_task, "--policy", "noop")
    cwm_env("run", small_task, "--policy", "gold")
    shown = cwm_env("replay", "trajectories.jsonl").stdout
    assert shown.count("small · ") == 2 and "$ sed -i" in shown and "resolved, reward 1.0" in shown
    last = cwm_env("replay", "trajectories.jsonl", "--last", "--speed", 100).stdout
    assert "small · gold" in last and "noop" not in last


def test_the_doctor_finds_this_machine_well(cwm_env: Run) -> None:
    done = cwm_env("doctor", "--json")
    findings = json.loads(done.stdout)
    assert done.returncode == 0 and {f["name"] for f in findings} >= {"linux", "python", "user namespaces", "git"}
    assert "user namespaces" in cwm_env("doctor").stdout
