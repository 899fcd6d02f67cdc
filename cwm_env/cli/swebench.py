"""``cwm-env swebench``: SWE-bench's images, verdicts and rollouts."""

from __future__ import annotations

import click

from cwm_env.cli.swebench_build import build


@click.group()
def swebench() -> None:
    """SWE-bench: graded as the official harness does, without Docker.

    \b
    Example:
      cwm-env tasks import swebench instances.jsonl
    """


swebench.add_command(build)
