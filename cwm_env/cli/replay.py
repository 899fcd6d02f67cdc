"""``cwm-env replay``: recorded episodes, as they went."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import click
from rich.markup import escape
from rich.rule import Rule

from cwm_env.cli.output import console
from cwm_env.errors import InputError
from cwm_env.text import harmless
from cwm_env.trajectories import TrajectoryStore
from cwm_env.types import Trajectory

_LONGEST_PAUSE = 3.0


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--speed", default=0.0, type=click.FloatRange(0), help="1 is as it went, 2 twice as fast; 0: no pauses.")
@click.option("--task", help="Only episodes of this task.")
@click.option("--last", is_flag=True, help="Only the last episode.")
def replay(file: Path, speed: float, task: str | None, last: bool) -> None:
    """Show the episodes of a trajectories FILE in the terminal.

    \b
    Example:
      cwm-env replay trajectories.jsonl --last --speed 2
    """
    episodes: Iterator[Trajectory] = (t for t in TrajectoryStore(file) if task is None or t.task_id == task)
    if last:
        episodes = iter(list(episodes)[-1:])
    first = next(episodes, None)
    if first is None:
        raise InputError(f"{file}: holds no episode" + (f" of task {task!r}" if task else ""))
    for trajectory in itertools.chain([first], episodes):
        _show(trajectory, speed)


def _show(trajectory: Trajectory, speed: float) -> None:
    console.print(Rule(f"{escape(trajectory.task_id)} · {escape(trajectory.policy)} · {trajectory.started}"))
    console.print(harmless(trajectory.instruction.rstrip()), markup=False, soft_wrap=True, style="dim")
    clock = 0.0
    for step in trajectory.steps:
        _pause(step.time - clock, speed)
        console.print(f"$ {harmless(step.action)}", markup=False, soft_wrap=True, style="bold")
        took = step.result.duration if step.result else 0.0
        _pause(took, speed)
        clock = step.time + took
        console.print(harmless(step.observation), markup=False, soft_wrap=True)
    _pause(trajectory.duration - clock, speed)
    if trajectory.grade:
        grade = trajectory.grade
        console.print(
            f"{grade.outcome}, reward {trajectory.reward}: {harmless(grade.reason)}", markup=False, soft_wrap=True
        )
    elif trajectory.failure:
        console.print(f"no reward ({trajectory.failure}): {harmless(trajectory.error)}", markup=False, soft_wrap=True)
    else:
        console.print(f"not graded, reward {trajectory.reward}", markup=False, soft_wrap=True)


def _pause(seconds: float, speed: float) -> None:
    if speed > 0 and seconds > 0:
        time.sleep(min(seconds / speed, _LONGEST_PAUSE))
