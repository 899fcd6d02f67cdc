"""``cwm-env grade``, the policy ``cheat``, and what ``run`` says of a task that nobody has tried."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from cwm_env.grading.exploits import exploits
from tests.cli.conftest import Run, episodes
from tests.envs.small import FIX, write_task

GOOD = (
    "--- a/doubling.py\n+++ b/doubling.py\n@@ -1,2 +1,2 @@\n def double(x):\n-    return x + x + 1\n+    return x + x\n"
)


def test_a_patch_is_graded(cwm_env: Run, small_task: Path, tmp_path: Path) -> None:
    (tmp_path / "good.patch").write_text(GOOD)
    (tmp_path / "empty.patch").write_text("")
    good, empty = cwm_env("grade", small_task, "good.patch"), cwm_env("grade", small_task, "empty.patch", "--json")
    assert good.returncode == 0 and good.stdout.startswith("resolved, reward 1.0"), good.stderr
    assert empty.returncode == 1 and json.loads(empty.stdout)["outcome"] == "unresolved"
    assert (
        json.loads(cwm_env("grade", small_task, "empty.patch", "--json", "--reward", "signed").stdout)["reward"] == -1.0
    )


def test_what_did_not_count_is_said(cwm_env: Run, small_task: Path, tmp_path: Path) -> None:
    (tmp_path / "evil.patch").write_text(
        f"{GOOD}--- /dev/null\n+++ b/conftest.py\n@@ -0,0 +1 @@\n+import os; os._exit(0)\n"
    )
    said = cwm_env("grade", small_task, "evil.patch").stdout
    assert said.startswith("resolved") and "did not count, protected: conftest.py" in said


def test_a_stored_patch_is_graded_again(cwm_env: Run, small_task: Path, tmp_path: Path) -> None:
    (tmp_path / "fix.sh").write_text(FIX)
    cwm_env("run", small_task, "--policy", "fix.sh", "--out", "t.jsonl")
    assert cwm_env("grade", small_task, "t.jsonl").returncode == 0
    assert cwm_env("grade", small_task, "none.patch").returncode == 2


def test_cheat_plays_every_exploit_and_none_is_rewarded(cwm_env: Run, tmp_path: Path) -> None:
    directory = write_task(tmp_path / "tasks", "quick")
    file = directory / "task.toml"
    file.write_text(file.read_text().replace("timeout_sec = 60", "timeout_sec = 8"))
    done = cwm_env("run", directory, "--policy", "cheat", "--parallel", "2", "--json")
    played = episodes(done)
    assert done.returncode == 0, done.stderr
    assert sorted(episode["policy"] for episode in played) == sorted(f"cheat:{name}" for name in exploits())
    assert {episode["reward"] for episode in played} == {0.0}
    assert sum(episode["outcome"] == "tampered" for episode in played) == sum(e.forges for e in exploits().values())


def test_run_warns_of_a_task_that_nobody_has_tried(cwm_env: Run, tmp_path: Path) -> None:
    directory = write_task(tmp_path / "tasks", "untried")
    (directory / "instruction.md").write_text(f"Of this run alone: {secrets.token_hex()}.\n")
    assert "not tried yet" in cwm_env("run", directory, "--policy", "noop").stderr
    assert cwm_env("tasks", "validate", directory).returncode == 0
    assert cwm_env("run", directory, "--policy", "noop").stderr == ""
    (directory / "instruction.md").write_text(f"Another: {secrets.token_hex()}.\n")
    assert "not tried yet" in cwm_env("run", directory, "--policy", "noop").stderr


def test_exploits_are_written_as_patches_and_are_not_rewarded(cwm_env: Run, small_task: Path, tmp_path: Path) -> None:
    assert cwm_env("grade", small_task, "--exploits", "forged").returncode == 0
    written = {path.stem for path in (tmp_path / "forged").iterdir()}
    assert {"conftest-new", "report-hook", "sitecustomize", "tests-linked-inside"} <= written
    assert "conftest.py" in (tmp_path / "forged" / "conftest-new.patch").read_text()
    for name in ("conftest-new", "report-hook", "tests-linked-inside"):
        assert cwm_env("grade", small_task, f"forged/{name}.patch").returncode == 1
    assert cwm_env("grade", small_task).returncode == 2
