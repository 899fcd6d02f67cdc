"""``cwm-env run``: episodes of a policy, in parallel, with a live table."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from cwm_env.cli.output import console, names, print_json, say, shown_live
from cwm_env.errors import InputError
from cwm_env.grading import evidence
from cwm_env.grading.exploits import exploits
from cwm_env.policies import Rollouts, cheat, make_policy
from cwm_env.sandbox.registry import backend as backend_named
from cwm_env.tasks import list_tasks, resolve
from cwm_env.trajectories import TrajectoryStore
from cwm_env.types import Task, Trajectory


@click.command()
@click.argument("tasks", nargs=-1, metavar="[TASK]...")
@click.option("--all", "every", is_flag=True, help="All shipped tasks.")
@click.option("--policy", required=True, metavar="POLICY", help="gold, noop, cheat, openai:MODEL, or a script's path.")
@click.option("--base-url", metavar="URL", help="An OpenAI-compatible endpoint; the key is $OPENAI_API_KEY.")
@click.option("--parallel", default=1, show_default=True, type=click.IntRange(1, 1000), help="Episodes at once.")
@click.option("--turns", type=click.IntRange(1), help="Steps an episode may take; default: the task's.")
@click.option("--command-timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="For one command.")
@click.option("--backend", default="namespaces", show_default=True, help="Where sandboxes are made.")
@click.option("--seed", type=int, help="Seed of the first episode; each further one gets the next number.")
@click.option(
    "--out", default="trajectories.jsonl", show_default=True, type=click.Path(path_type=Path), help="Appended."
)
@click.option("--json", "as_json", is_flag=True, help="Print a list of episodes as JSON instead of the table.")
def run(
    tasks: tuple[str, ...],
    every: bool,
    policy: str,
    base_url: str | None,
    parallel: int,
    turns: int | None,
    command_timeout: float | None,
    backend: str,
    seed: int | None,
    out: Path,
    as_json: bool,
) -> int:
    """Run one episode of each TASK (an id, or the path of a task's directory) with a policy.

    Each episode appends its trajectory to --out. The exit code is 0 when every episode got its verdict, whatever it
    is, and 3 when the infrastructure failed one of them (its reward is then null). The policy `cheat` plays every known
    exploit, each in an episode of its own; the exit code is then 1 if one was rewarded.

    \b
    Examples:
      cwm-env run --all --policy gold --parallel 2
      cwm-env run TASK --policy fix.sh --json
      cwm-env run TASK --policy cheat --parallel 2
      cwm-env run TASK --policy openai:MODEL --base-url http://127.0.0.1:8000/v1
    """
    chosen = [resolve(task) for task in (*tasks, *(list_tasks() if every else ()))]
    if not chosen:
        raise InputError("name a task, or give --all; `cwm-env tasks list` shows what there is")
    _warn_of_untried(chosen)
    makes_policy = make_policy(policy, base_url=base_url)
    if policy == cheat.NAME:
        chosen = [task for task in chosen for _ in exploits()]
    sandboxes = backend_named(backend)
    board = _Board(chosen)

    def make_env(task: Task) -> Any:
        from cwm_env.envs import BashEnv

        return BashEnv(task, backend, turns=turns, command_timeout=command_timeout)

    rollouts = Rollouts(
        chosen,
        make_env,
        makes_policy,
        keep=TrajectoryStore(out).append,
        watch=board.watch,
        parallel=parallel,
        seed=seed,
    )
    board.trajectories = rollouts.trajectories
    with shown_live(board.table(), as_json=as_json) as live:
        try:
            rollouts.run(tick=lambda: live.update(board.table()), interrupt=sandboxes.close)
        finally:
            live.update(board.table())
    episodes = [_as_json(rollouts.trajectories[index]) for index in range(len(chosen))]
    if as_json:
        print_json(episodes)
    else:
        console.print(
            f"Trajectories: {out}. See what happened with `cwm-env replay {out}`.", markup=False, soft_wrap=True
        )
    for episode in episodes:
        if episode["error"]:
            say(f"{episode['task']}: {episode['error']}")
    if any(episode["failure"] for episode in episodes):
        return 3
    return 1 if policy == cheat.NAME and any(episode["reward"] > 0 for episode in episodes) else 0


def _warn_of_untried(tasks: list[Task]) -> None:
    """Say which tasks nobody has tried, or were found not to be fit to give rewards."""
    found = {task.id: evidence.find(task) for task in tasks}
    untried = [name for name, known in found.items() if known is None]
    if untried:
        say(f"not tried yet whether they may give rewards: {', '.join(untried)}; `cwm-env tasks validate` does")
    for name, known in found.items():
        if known and not known["admitted"]:
            say(f"{name} may not give rewards: {known['problems'][0]}")


def _as_json(trajectory: Trajectory) -> dict[str, Any]:
    grade = trajectory.grade
    return {
        "task": trajectory.task_id,
        "policy": trajectory.policy,
        "reward": trajectory.reward,
        "outcome": grade.outcome if grade else "error" if trajectory.failure else "truncated",
        "reason": grade.reason if grade else "",
        "steps": len(trajectory.steps),
        "failure": trajectory.failure,
        "error": trajectory.error,
        "seconds": round(trajectory.duration, 3),
    }


class _Board:
    """The live table. Told by the episodes' threads, drawn by the main one."""

    def __init__(self, tasks: list[Task]) -> None:
        self._tasks = tasks
        self._states = ["waiting"] * len(tasks)
        self._started: dict[int, float] = {}
        self.trajectories: dict[int, Trajectory] = {}

    def watch(self, index: int, state: str) -> None:
        self._started.setdefault(index, time.monotonic())
        self._states[index] = state

    def table(self) -> Table:
        table = Table(names("task"), "state", "steps", "reward", "seconds", caption=self._summary())
        for index, task in enumerate(self._tasks):
            trajectory = self.trajectories.get(index)
            if trajectory is None:
                seconds = time.monotonic() - self._started[index] if index in self._started else 0.0
                table.add_row(escape(task.id), escape(self._states[index]), "", "", f"{seconds:.1f}")
                continue
            row = _as_json(trajectory)
            reward = "none" if row["reward"] is None else f"{row['reward']:g}"
            outcome = row["failure"] or row["outcome"]
            colour = "green" if row["reward"] == 1 else "red" if row["failure"] else "yellow"
            numbers = (str(row["steps"]), reward, f"{row['seconds']:.1f}")
            exploit = f" {row['policy']}" if row["policy"].startswith(cheat.NAME) else ""
            table.add_row(escape(task.id + exploit), f"[{colour}]{outcome}[/]", *numbers)
        return table

    def _summary(self) -> str:
        rewards = [t.reward for t in self.trajectories.values() if t.reward is not None]
        mean = f"; mean reward {sum(rewards) / len(rewards):.2f}" if rewards else ""
        return f"{len(self.trajectories)} of {len(self._tasks)} episodes done{mean}"
