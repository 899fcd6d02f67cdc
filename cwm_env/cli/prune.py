"""``cwm-env prune``: clears what killed runs left behind."""

from __future__ import annotations

import dataclasses

import click

from cwm_env import sandbox
from cwm_env.cli.output import console, print_json


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def prune(as_json: bool) -> None:
    """Clear up after runs that were killed: processes, control groups, directories. What still runs is left alone.

    \b
    Example:
      cwm-env prune
    """
    pruned = sandbox.prune()
    if as_json:
        print_json(dataclasses.asdict(pruned))
    else:
        console.print(
            f"{pruned.leases} runs cleared: {pruned.processes} processes, {pruned.cgroups} control groups, "
            f"{pruned.directories} directories"
        )
