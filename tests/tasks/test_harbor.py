"""A task's directory: what is read, and errors that name the file and the key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cwm_env.errors import TaskError
from cwm_env.tasks import load_task, resolve, write_expected
from cwm_env.tasks.registry import digest

WHOLE = """
schema_version = "1.4"
[metadata]
difficulty = "hard"
[metadata.cwm_env]
paths = ["/tests", "/repo/tests"]
protected = ["tests/*"]
turns = 7
command_timeout_sec = 3
[agent]
timeout_sec = 100
[verifier]
timeout_sec = 50
[environment]
cpus = 1
memory_mb = 512
storage = "2G"
"""


def make_task(directory: Path, toml: str = WHOLE) -> Path:
    """A task that holds together, but for what ``toml`` says."""
    files = {
        "task.toml": toml,
        "instruction.md": "Fix it.",
        "environment/image.toml": 'base = "host"',
        "tests/test_it.py": "def test_it(): pass",
        "tests/expected.json": json.dumps({"FAIL_TO_PASS": ["a"], "PASS_TO_PASS": ["b"]}),
        "solution/solve.sh": "true",
    }
    for name, text in files.items():
        path = directory / "my-task" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory / "my-task"


def test_everything_that_the_file_says_is_in_the_task(tmp_path: Path) -> None:
    task = load_task(make_task(tmp_path))
    assert task.id == "my-task" and task.instruction == "Fix it." and task.solution == "true"
    assert task.image == str(tmp_path / "my-task" / "environment")
    limits = task.limits
    assert (limits.turns, limits.command_timeout, limits.episode_timeout) == (7, 3, 100)
    assert (limits.cpus, limits.memory, limits.disk) == (1, 512 << 20, 2 << 30)
    assert task.tests.runner == "pytest" and task.tests.timeout == 50
    assert task.tests.paths == ("/tests", "/repo/tests") and task.tests.protected == ("tests/*",)
    assert (task.tests.fail_to_pass, task.tests.pass_to_pass) == (("a",), ("b",))
    assert task.metadata["difficulty"] == "hard"


def test_harbors_own_keys_are_enough(tmp_path: Path) -> None:
    where = make_task(tmp_path, 'version = "1.0"\n[metadata]\nauthor_name = "x"\n[agent]\nmax_timeout = 3')
    (where / "tests" / "test.sh").write_text("echo 1 > /logs/verifier/reward.txt")
    task = load_task(where)
    assert task.tests.runner == "script" and task.tests.paths == ()


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[metadata", "not valid TOML"),
        ("[metadata.cwm_env]\nturn = 3", "[metadata.cwm_env] turn: no such key; did you mean turns?"),
        ("[metadata.cwm_env]\nturns = 0", "[metadata.cwm_env] turns: expected more than 0, got 0"),
        ('[metadata.cwm_env]\nturns = "3"', "[metadata.cwm_env] turns: expected a whole number, got '3'"),
        ("[metadata.cwm_env]\npaths = [3]", "[metadata.cwm_env] paths[0]: expected text, got 3"),
        ('[metadata.cwm_env]\npaths = ["tests"]', "'tests' is not an absolute path"),
        ('[metadata.cwm_env]\nprotected = ["/tests"]', "'/tests' must be relative"),
        ("[agent]\ntimeout_sec = inf", "[agent] timeout_sec: expected a finite number"),
        ('[environment]\nmemory = "2 GB"', "[environment] memory: expected a size such as '512M' or '2G'"),
        ("[environment]\ngpus = 1", "sandboxes have no GPU"),
        ("[environment]\nallow_internet = true", "sandboxes have no network"),
        ('schema_version = "9"', "schema_version: '9' is not known here"),
        ("[[steps]]", "tasks of several steps do not run here"),
        ('[metadata.cwm_env]\nimage = "python"', "environment/image.toml says it already"),
    ],
)
def test_a_broken_file_is_an_error_that_names_the_key(tmp_path: Path, toml: str, says: str) -> None:
    with pytest.raises(TaskError) as caught:
        load_task(make_task(tmp_path, toml))
    assert says in str(caught.value) and "task.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["task.toml", "instruction.md", "environment/image.toml"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    where = make_task(tmp_path)
    (where / name).unlink()
    with pytest.raises(TaskError, match=Path(name).name):
        load_task(where)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be read"),
        ("[]", "expected {"),
        ('{"FAIL_TO_PASS": ["a"]}', "expected {"),
        ('{"FAIL_TO_PASS": ["a"], "PASS_TO_PASS": ["a"]}', "'a' stands in both"),
        ('{"FAIL_TO_PASS": ["a", "a"], "PASS_TO_PASS": []}', "'a' stands there twice"),
        ('{"FAIL_TO_PASS": "a", "PASS_TO_PASS": []}', "FAIL_TO_PASS: expected a list"),
    ],
)
def test_broken_expectations_are_an_error(tmp_path: Path, text: str, says: str) -> None:
    where = make_task(tmp_path)
    (where / "tests" / "expected.json").write_text(text)
    with pytest.raises(TaskError) as caught:
        load_task(where)
    assert says in str(caught.value) and "expected.json" in str(caught.value)


def test_expectations_are_written_in_one_piece(tmp_path: Path) -> None:
    where = make_task(tmp_path)
    write_expected(load_task(where), ["b", "a"], ["c"])
    assert load_task(where).tests.fail_to_pass == ("a", "b")
    assert [path.name for path in where.joinpath("tests").iterdir() if path.name.startswith(".")] == []


def test_an_unknown_task_is_said_with_what_to_do() -> None:
    with pytest.raises(TaskError, match=r"there is no task 'nosuch'.*cwm-env tasks list"):
        resolve("nosuch")
    with pytest.raises(TaskError, match="no such directory"):
        resolve("./nosuch")


def test_the_digest_follows_content_and_nothing_else(tmp_path: Path) -> None:
    one, two = make_task(tmp_path / "a"), make_task(tmp_path / "b")
    assert digest(load_task(one)) == digest(load_task(two))
    (two / "tests" / "__pycache__").mkdir()
    (two / "tests" / "__pycache__" / "x.pyc").write_text("")
    assert digest(load_task(one)) == digest(load_task(two))
    (two / "tests" / "test_it.py").write_text("def test_it(): assert True")
    assert digest(load_task(one)) != digest(load_task(two))
