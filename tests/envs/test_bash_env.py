"""``BashEnv``: Gymnasium's contract, and an episode from its first observation to its verdict."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

from cwm_env import BashEnv
from cwm_env.errors import InputError, TaskError
from cwm_env.types import CommandResult
from tests.envs.small import FIX, write_task


def test_gymnasium_finds_nothing_to_say_against_it(small_task: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make("cwm_env:Bash-v0", task=small_task, render_mode="ansi", disable_env_checker=True)
        check_env(env.unwrapped)
        env.close()


@pytest.mark.parametrize("imports", ["import gymnasium", "import cwm_env, gymnasium", "import gymnasium, cwm_env"])
def test_make_knows_the_environment_whatever_is_imported_first(small_task: Path, imports: str) -> None:
    code = f"""
import warnings; warnings.simplefilter("error")
{imports}
env = gymnasium.make("cwm_env:Bash-v0", task={str(small_task)!r}, turns=3)
observation, info = env.reset(seed=1)
assert "[3 turns left" in observation, observation
_, reward, terminated, truncated, info = env.step("submit")
assert (reward, terminated, truncated, info["grade"].outcome) == (0.0, True, False, "unresolved"), info
env.close()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_first_observation_is_the_instruction_and_the_budget(env: BashEnv) -> None:
    observation, info = env.reset()
    assert observation == "`doubling.double` in /repo gives one too much.\n\n[5 turns left; a command may take 20 s]"
    assert info["task"] == "small" and info["image"].startswith("sha256:")
    assert info["turns_left"] == 5 and info["instruction"].startswith("`doubling")


def test_a_fix_is_rewarded(env: BashEnv) -> None:
    env.reset()
    assert env.step(FIX)[1:4] == (0.0, False, False)
    observation, reward, terminated, truncated, info = env.step("submit")
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert observation == "[exit code 0; /repo; submitted; resolved]"
    assert info["grade"].outcome == "resolved" and "+    return x + x\n" in info["grade"].patch


def test_doing_nothing_is_not(env: BashEnv) -> None:
    env.reset()
    *_, info = env.step("submit")
    assert info["grade"].reward == 0.0 and info["grade"].patch == ""


def test_what_a_command_did_is_in_info(env: BashEnv) -> None:
    env.reset()
    observation, *_, info = env.step("cd /tmp; echo out; echo err >&2; (exit 3)")
    assert observation == "out\nerr\n[exit code 3; /tmp; 4 turns left]"
    assert info["result"] == CommandResult("out\nerr\n", 3, "/tmp", 0.0)
    assert info["result"].duration > 0 and info["turns_left"] == 4


@pytest.mark.parametrize(
    "action",
    ["(submit)", "sh -c 'cd /; submit'", "printf 'all:\\n\\tsubmit\\n' > /tmp/m; make -f /tmp/m", "submit; exit 3"],
)
def test_submit_is_a_program_and_ends_the_episode_from_anywhere(env: BashEnv, action: str) -> None:
    env.reset()
    assert env.step(action)[2:4] == (True, False)


def test_the_facts_of_a_step_stand_after_any_flood(env: BashEnv) -> None:
    env.reset()
    observation, *_, info = env.step("echo head; seq 1000000; echo tail")
    lines = observation.splitlines()
    assert lines[0] == "head" and lines[-2] == "tail"
    left_out = f"{info['result'].truncated_bytes} bytes of output left out, kept in {info['result'].output_file}"
    assert lines[-1] == f"[exit code 0; /repo; {left_out}; 4 turns left]"
    assert f"[... {info['result'].truncated_bytes} bytes left out ...]" in observation
    assert len(observation) < 70_000


def test_out_of_turns_the_episode_is_truncated_and_not_graded(small_task: Path) -> None:
    env = BashEnv(small_task, turns=2)
    env.reset()
    assert env.step(FIX)[2:4] == (False, False)
    observation, reward, terminated, truncated, info = env.step("true")
    assert (reward, terminated, truncated, info["grade"]) == (0.0, False, True, None)
    assert observation.endswith("the episode is out of turns]")
    with pytest.raises(InputError, match="call reset"):
        env.step("true")


def test_out_of_turns_the_episode_is_graded_if_the_task_says_so(tmp_path: Path) -> None:
    env = BashEnv(write_task(tmp_path, grade_on_truncation=True), turns=1)
    env.reset()
    _, reward, terminated, truncated, info = env.step(FIX)
    assert (reward, terminated, truncated, info["grade"].outcome) == (1.0, False, True, "resolved")


def test_out_of_time_the_running_command_is_stopped_and_the_episode_truncated(small_task: Path) -> None:
    env = BashEnv(small_task, episode_timeout=0.5)
    env.reset()
    observation, _, terminated, truncated, info = env.step("echo before; sleep 60")
    assert (terminated, truncated, info["result"].timed_out) == (False, True, True)
    assert observation.startswith("before\n") and observation.endswith("the episode is out of time]")


def test_a_command_that_takes_too_long_is_stopped_and_the_episode_goes_on(small_task: Path) -> None:
    env = BashEnv(small_task, command_timeout=0.5)
    env.reset()
    observation, _, terminated, truncated, info = env.step("X=1; sleep 60")
    assert "stopped: it reached its time limit" in observation and info["result"].exit_code == 124
    assert (terminated, truncated) == (False, False)
    assert env.step("echo $X")[0].startswith("1\n")
    env.close()


def test_the_death_of_the_sandbox_is_no_reward(env: BashEnv) -> None:
    env.reset()
    assert env.sandbox is not None
    env.sandbox.close()
    observation, _, terminated, truncated, info = env.step("true")
    assert (terminated, truncated, info["failure"], info["grade"]) == (False, True, "sandbox", None)
    assert "no fault of yours" in observation
    env.reset()
    assert env.step("echo again")[0].startswith("again")


def test_reset_gives_a_pristine_clone_and_may_switch_tasks(env: BashEnv, tmp_path: Path) -> None:
    env.reset()
    env.step("rm -rf /repo; echo x > /tmp/left")
    env.reset()
    assert env.step("ls /repo /tmp")[0].startswith("/repo:\ndoubling.py\ntests\n\n/tmp:\n[exit code 0")
    other = write_task(tmp_path, "other")
    assert env.reset(options={"task": str(other)})[1]["task"] == "other"
    assert env.task.id == "other"


def test_hidden_tests_and_the_machine_are_not_in_the_agents_sandbox(env: BashEnv, small_task: Path) -> None:
    env.reset()
    observation, *_ = env.step("ls -d /tests /logs; cat /etc/shadow; grep -rl test_double / 2>/dev/null --include=*.py")
    assert "test_hidden" not in observation
    assert observation.count("No such file") == 3
    assert env.step(f"ls {small_task}")[4]["result"].exit_code == 2


def test_the_repository_is_one_commit(env: BashEnv) -> None:
    env.reset()
    observation, *_ = env.step("git log --oneline | wc -l; git remote; git reflog; git stash list; git status --short")
    assert observation.startswith("1\n[exit code 0")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"turns": 0}, "turns must be more than 0"),
        ({"command_timeout": -1.0}, "command_timeout must be more than 0"),
        ({"render_mode": "rgb_array"}, "render_mode must be"),
        ({"backend": "nosuch"}, "there is no backend 'nosuch'"),
    ],
)
def test_a_bad_argument_is_said(small_task: Path, arguments: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        BashEnv(small_task, **arguments)  # type: ignore[arg-type]


def test_a_bad_call_is_said(env: BashEnv) -> None:
    with pytest.raises(InputError, match="call reset"):
        env.step("true")
    with pytest.raises(InputError, match="knows the option 'task' only"):
        env.reset(options={"tusk": "x"})
    with pytest.raises(TaskError, match="there is no task 'nosuch'"):
        env.reset(options={"task": "nosuch"})
    env.reset()
    with pytest.raises(InputError, match="an action is text"):
        env.step(3)  # type: ignore[arg-type]


def test_a_task_without_expected_tests_is_refused_before_anything_starts(tmp_path: Path) -> None:
    where = write_task(tmp_path)
    (where / "tests" / "expected.json").unlink()
    with pytest.raises(TaskError, match="tasks validate --record"):
        BashEnv(where)


def test_rendering_shows_the_last_step(small_task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    env = BashEnv(small_task, render_mode="ansi")
    env.reset()
    env.step("printf 'a\\033[1mb'")
    assert env.render() == "$ printf 'a\\033[1mb'\na\033[1mb\n[exit code 0; /repo; 4 turns left]"
    env.close()
    env = BashEnv(small_task, render_mode="human")
    env.reset()
    env.step("printf 'a\\033[1mb'")
    assert env.render() is None
    assert "a\\x1b[1mb" in capsys.readouterr().out
    env.close()
