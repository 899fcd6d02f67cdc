"""``cwm-env swebench run``: a policy's rollouts, to trajectories and predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from cwm_env.cli.output import console, errors, say
from cwm_env.cli.swebench_build import records as records_of


@click.command()
@click.option("--policy", required=True, metavar="POLICY", help="openai:MODEL, gold, noop, or a script's path.")
@click.option("--base-url", metavar="URL", help="An OpenAI-compatible endpoint; the key is $OPENAI_API_KEY.")
@click.option("--instances", required=True, multiple=True, metavar="ID|GLOB|FILE", help="Kept ones, all, or a file's.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory of what is written.")
@click.option("--model-name", metavar="NAME", help="In the predictions; default: the policy's.")
@click.option("--parallel", default=1, show_default=True, type=click.IntRange(1, 1000), help="Episodes at once.")
@click.option("--turns", type=click.IntRange(1), help="Commands an episode may run; default: 250.")
@click.option("--command-timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Default: 180.")
@click.option("--episode-timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Default: 3600.")
@click.option("--backend", default="namespaces", show_default=True, help="Where sandboxes are made.")
def run(
    policy: str,
    base_url: str | None,
    instances: tuple[str, ...],
    out: Path,
    model_name: str | None,
    parallel: int,
    turns: int | None,
    command_timeout: float | None,
    episode_timeout: float | None,
    backend: str,
) -> int:
    """Let a policy work on instances: one bash, no network, no test of the benchmark's in reach.

    Writes OUT/trajectories.jsonl and OUT/predictions.jsonl, which `evaluate` takes. Instances whose episode came to its
    end are not run again. The exit code is 3 when the infrastructure or the endpoint failed an episode: it has no
    prediction then.

    \b
    Example:
      cwm-env swebench run --policy openai:MODEL --base-url http://127.0.0.1:8000/v1 --instances all --out rollouts
    """
    from cwm_env.envs import BashEnv
    from cwm_env.policies import Rollouts, make_policy
    from cwm_env.sandbox.registry import backend as backend_named
    from cwm_env.swebench import write_predictions
    from cwm_env.swebench.rollouts import predictions_of, rollout_task
    from cwm_env.trajectories import TrajectoryStore

    records = records_of(instances)
    out.mkdir(parents=True, exist_ok=True)
    makes_policy = make_policy(policy, base_url=base_url)
    store = TrajectoryStore(out / "trajectories.jsonl")
    model = model_name or policy.removeprefix("openai:")
    done = predictions_of(store, model) if store.path.is_file() else {}
    tasks = [rollout_task(each, f"swebench:{each.instance_id}") for each in records if each.instance_id not in done]

    def make_env(task: Any) -> BashEnv:
        limits = {"turns": turns, "command_timeout": command_timeout, "episode_timeout": episode_timeout}
        return BashEnv(task, backend, **limits)  # type: ignore[arg-type]

    rollouts = Rollouts(tasks, make_env, makes_policy, keep=store.append, parallel=parallel)
    sandboxes = backend_named(backend)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        bar = progress.add_task("rollouts", total=len(tasks))
        rollouts.run(tick=lambda: progress.update(bar, completed=len(rollouts.trajectories)), interrupt=sandboxes.close)
    predictions = predictions_of(store, model) if store.path.is_file() else {}
    write_predictions(out / "predictions.jsonl", predictions.values())
    console.print(f"{len(predictions)} predictions: {out / 'predictions.jsonl'}", markup=False, soft_wrap=True)
    failed = [each for each in rollouts.trajectories.values() if each.failure]
    for each in failed:
        say(f"{each.task_id}: {each.failure}: {each.error}")
    return 3 if failed else 0
