"""``cwm-env swebench``: SWE-bench's images, verdicts and rollouts."""

from __future__ import annotations

import click

from cwm_env.cli.swebench_build import build
from cwm_env.cli.swebench_evaluate import evaluate
from cwm_env.cli.swebench_run import run


@click.group()
def swebench() -> None:
    """SWE-bench: graded as the official harness does, without Docker.

    \b
    Example:
      cwm-env tasks import swebench instances.jsonl
      cwm-env swebench build --instances all --mirrors ./mirrors
      cwm-env swebench evaluate --predictions gold --instances all --out results
    """


swebench.add_command(build)
swebench.add_command(evaluate)
swebench.add_command(run)
