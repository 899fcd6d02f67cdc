"""``BashEnv(terminal=True)``: actions are keystrokes, observations the screen."""

from __future__ import annotations

from pathlib import Path

from cwm_env import BashEnv


def test_an_agent_at_a_terminal_drives_a_program_and_submits(small_task: Path) -> None:
    env = BashEnv(small_task, terminal=True, turns=6)
    env.reset(seed=1)
    observation, _, _, _, info = env.step("python3 -q<Enter>")
    assert observation.splitlines()[-2].startswith(">>>") and "[still running; " in observation
    assert info["result"].running
    observation, _, _, _, _ = env.step("6 * 7\n")
    assert "\n42\n" in observation
    observation, _, _, _, info = env.step("<C-d>")
    assert "[exit code 0; " in observation and not info["result"].running
    _, reward, terminated, _, info = env.step("submit\n")
    assert terminated and reward == 0.0 and info["grade"].outcome == "unresolved"
    env.close()
