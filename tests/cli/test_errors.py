"""Bad input and broken machines: one clear sentence, a non-zero exit code, nothing lost."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cwm_env.trajectories import TrajectoryStore
from tests.cli.conftest import COMMAND, Run, episodes, one_sentence
from tests.envs.small import write_task


def test_an_unknown_task(cwm_env: Run) -> None:
    said = one_sentence(cwm_env("run", "nosuch", "--policy", "gold"), 2)
    assert said.startswith("there is no task 'nosuch'") and "cwm-env tasks list" in said


def test_no_task_at_all(cwm_env: Run) -> None:
    assert "name a task" in one_sentence(cwm_env("run", "--policy", "gold"), 2)


def test_an_unknown_policy(cwm_env: Run, small_task: Path) -> None:
    assert "there is no policy 'best'" in one_sentence(cwm_env("run", small_task, "--policy", "best"), 2)


def test_a_broken_task_file(cwm_env: Run, tmp_path: Path) -> None:
    where = write_task(tmp_path)
    (where / "task.toml").write_text("[metadata.cwm_env]\nturn = 3\n")
    said = one_sentence(cwm_env("run", where, "--policy", "gold"), 2)
    assert said.startswith(f"{where}/task.toml: [metadata.cwm_env] turn: no such key; did you mean turns?")


def test_a_missing_image(cwm_env: Run, tmp_path: Path) -> None:
    where = write_task(tmp_path)
    (where / "environment" / "image.toml").write_text('base = "pythn"')
    done = cwm_env("run", where, "--policy", "gold", "--json")
    assert done.returncode == 2
    assert "pythn" in done.stderr and "python" in done.stderr and "Traceback" not in done.stderr


def test_a_set_up_that_fails(cwm_env: Run, tmp_path: Path) -> None:
    where = write_task(tmp_path)
    (where / "environment" / "image.toml").write_text('base = "python"\nsetup = "echo the reason; exit 7"')
    done = cwm_env("run", where, "--policy", "gold", "--json")
    (episode,) = episodes(done)
    assert done.returncode == 3
    assert (episode["failure"], episode["reward"]) == ("image", None)
    assert "exit code 7" in done.stderr and "the reason" in done.stderr


def in_user_namespace(script: str, tmp_path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """``cwm-env`` on a machine that ``script``, run with mounts of its own, makes of this one."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare(1) is not installed")
    command = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-ec", f'{script}\nexec "$@"', "x"]
    command += [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)


def test_a_machine_without_user_namespaces(small_task: Path, tmp_path: Path) -> None:
    subprocess.run([*COMMAND, "images", "build", str(small_task / "environment")], check=True, capture_output=True)
    forbid = "echo 0 > /proc/sys/user/max_user_namespaces"
    done = in_user_namespace(forbid, tmp_path, "run", small_task, "--policy", "gold", "--json")
    (episode,) = episodes(done)
    assert done.returncode == 3
    assert (episode["failure"], episode["reward"]) == ("sandbox-unavailable", None)
    assert "cwm-env doctor" in done.stderr and "Traceback" not in done.stderr
    doctor = in_user_namespace(forbid, tmp_path, "doctor")
    assert doctor.returncode == 1 and "missing  user namespaces" in doctor.stdout


def test_a_full_disk_where_images_are_kept(small_task: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    small = f"mount -t tmpfs -o size=1m none {tmp_path}/cache; export CWM_ENV_CACHE={tmp_path}/cache"
    done = in_user_namespace(small, tmp_path, "run", small_task, "--policy", "gold", "--json")
    (episode,) = episodes(done)
    assert done.returncode == 3 and episode["failure"] == "disk-full" and episode["reward"] is None
    assert "no space is left" in done.stderr and "Traceback" not in done.stderr


def test_a_full_disk_where_trajectories_are_kept(small_task: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    kept = tmp_path / "out" / "keep.jsonl"
    small = f"mount -t tmpfs -o size=4k none {tmp_path}/out; seq 900 > {kept}"
    script = f'{small}; "$@" || echo "code $?"; seq 900 | cmp - {kept} && echo kept; exit'
    done = in_user_namespace(script, tmp_path, "run", small_task, "--policy", "gold", "--json", "--out", kept)
    assert "no space is left" in done.stderr and "Traceback" not in done.stderr
    assert done.stdout.splitlines() == ["code 3", "kept"]


def test_output_into_a_pipe_that_closes(small_task: Path, tmp_path: Path) -> None:
    command = f"{' '.join(COMMAND)} tasks show {small_task} | true"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="making another user needs root")
def test_a_trajectories_file_that_cannot_be_written(cwm_env: Run, small_task: Path, tmp_path: Path) -> None:
    done = cwm_env("run", small_task, "--policy", "gold", "--out", "/proc/none/t.jsonl")
    assert done.returncode == 2 and "cannot be written" in done.stderr
    assert not list(tmp_path.glob("*.jsonl"))


def test_a_replay_of_what_is_no_trajectory(cwm_env: Run, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("{}\n")
    assert "t.jsonl: line 1: is not a trajectory" in one_sentence(cwm_env("replay", "t.jsonl"), 2)
    assert "No such file" in one_sentence(cwm_env("replay", "none.jsonl"), 2)
    assert list(TrajectoryStore(tmp_path / "t.jsonl").path.parent.iterdir()) == [tmp_path / "t.jsonl"]
