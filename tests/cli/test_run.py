"""``cwm-env run``: every policy, in parallel, recorded, and stopped by Ctrl-C without a trace."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from cwm_env.trajectories import TrajectoryStore
from tests.cli.conftest import COMMAND, Run, episodes
from tests.envs.small import FIX, write_task
from tests.policies.endpoint import serve
from tests.sandbox.tools import mounts_left


@pytest.mark.parametrize(("policy", "reward", "outcome"), [("gold", 1.0, "resolved"), ("noop", 0.0, "unresolved")])
def test_gold_is_rewarded_and_nothing_is_not(
    cwm_env: Run, small_task: Path, tmp_path: Path, policy: str, reward: float, outcome: str
) -> None:
    done = cwm_env("run", small_task, "--policy", policy, "--json", "--seed", 5)
    (episode,) = episodes(done)
    assert done.returncode == 0
    assert (episode["task"], episode["reward"], episode["outcome"]) == ("small", reward, outcome)
    assert episode["failure"] is None and episode["steps"] == (2 if policy == "gold" else 1)
    (recorded,) = TrajectoryStore(tmp_path / "trajectories.jsonl")
    assert (recorded.reward, recorded.policy, recorded.seed) == (reward, policy, 5)
    assert recorded.image_digest.startswith("sha256:") and recorded.versions["cwm_env"]
    assert recorded.grade is not None and set(recorded.grade.tests) == {
        "tests/test_hidden.py::test_double",
        "repo/tests/test_old.py::test_a_number",
    }


def test_a_script_is_a_policy(cwm_env: Run, small_task: Path, tmp_path: Path) -> None:
    (tmp_path / "fix.sh").write_text(f"cd /repo\n{FIX}\n")
    (episode,) = episodes(cwm_env("run", small_task, "--policy", "fix.sh", "--json"))
    assert episode["reward"] == 1.0


def test_a_model_is_a_policy(cwm_env: Run, small_task: Path, tmp_path: Path) -> None:
    def answer(messages: list[dict[str, str]]) -> str:
        if len(messages) == 2:
            assert "one too much" in messages[1]["content"]
            return "Let me look.\n```bash\ncat doubling.py\n```"
        if len(messages) == 4:
            assert "return x + x + 1" in messages[3]["content"]
            return f"```bash\n{FIX}\n```"
        return "```bash\nsubmit\n```"

    with serve(answer) as (url, requests):
        done = cwm_env("run", small_task, "--policy", "openai:m", "--base-url", url, "--json", OPENAI_API_KEY="k")
    (episode,) = episodes(done)
    assert (episode["reward"], episode["steps"], len(requests)) == (1.0, 3, 3)


def test_a_model_that_fails_is_no_reward(cwm_env: Run, small_task: Path, tmp_path: Path) -> None:
    with serve(lambda messages: (401, {"error": {"message": "bad key"}})) as (url, _):
        done = cwm_env("run", small_task, "--policy", "openai:m", "--base-url", url, "--json")
    (episode,) = episodes(done)
    assert done.returncode == 3
    assert (episode["reward"], episode["failure"], episode["outcome"]) == (None, "policy", "error")
    assert "answered 401" in done.stderr
    (recorded,) = TrajectoryStore(tmp_path / "trajectories.jsonl")
    assert recorded.reward is None and recorded.failure == "policy"


def test_many_run_at_once_and_the_table_tells_how_they_went(cwm_env: Run, tmp_path: Path) -> None:
    tasks = [write_task(tmp_path, f"task-{number}") for number in range(6)]
    done = cwm_env("run", *tasks, "--policy", "gold", "--parallel", 4, "--out", "all.jsonl")
    assert done.returncode == 0
    assert all(f"task-{number}" in done.stdout for number in range(6))
    assert "6 of 6 episodes done; mean reward 1.00" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("Trajectories: all.jsonl.")
    assert len(list(TrajectoryStore(tmp_path / "all.jsonl"))) == 6


def processes_with(mark: str) -> list[int]:
    """Ids of processes on this machine whose command line holds ``mark``."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def wait_until(condition: object, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def cgroups_of(leases: Iterable[str]) -> list[Path]:
    """Control groups of sandboxes that belong to these leases."""
    groups = [Path(top, name) for top, below, _ in os.walk("/sys/fs/cgroup") for name in below]
    return [group for group in groups if group.name.startswith(tuple(f"cwm-{lease}-" for lease in leases))]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_process_mount_or_cgroup(
    small_task: Path, tmp_path: Path, number: signal.Signals
) -> None:
    mark = f"86{os.getpid()}{int(number)}"
    (tmp_path / "slow.sh").write_text(f"setsid sleep {mark} & sleep {mark}")
    (tmp_path / "run").mkdir()
    leases = tmp_path / "run" / "cwm-env" / "leases"
    command = [*COMMAND, "run", *[str(small_task)] * 3, "--policy", "slow.sh", "--parallel", "2", "--json"]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        wait_until(lambda: len(processes_with(mark)) >= 4)
        held = [lease.name for lease in leases.iterdir()]
        running.send_signal(number)
        out, err = running.communicate(timeout=30)
    assert running.returncode == 130 and err.strip().endswith("cwm-env: interrupted")
    assert out == "" and "Traceback" not in err
    wait_until(lambda: not processes_with(mark))
    wait_until(lambda: not cgroups_of(held))
    assert held and not list(leases.iterdir())
    assert not mounts_left(str(tmp_path))
    recorded = list(TrajectoryStore(tmp_path / "trajectories.jsonl"))
    assert [(t.failure, t.reward) for t in recorded] == [("interrupted", None)] * 2
