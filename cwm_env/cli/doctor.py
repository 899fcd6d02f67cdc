"""``cwm-env doctor``: what this machine can do, what is missing, and what mends it."""

from __future__ import annotations

import dataclasses

import click
from rich.markup import escape

from cwm_env.cli.output import console, print_json
from cwm_env.sandbox.doctor import Finding, examine


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(as_json: bool) -> int:
    """Try what sandboxes and image builds need on this machine. The exit code is 1 if sandboxes cannot run.

    \b
    Example:
      cwm-env doctor
    """
    findings = examine()
    if as_json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        for finding in findings:
            _show(finding)
    return 0 if all(finding.ok for finding in findings if finding.required) else 1


def _show(finding: Finding) -> None:
    mark = "[green]ok[/]     " if finding.ok else "[red]missing[/]" if finding.required else "[yellow]without[/]"
    console.print(f"{mark}  {finding.name}: {escape(finding.detail)}", soft_wrap=True)
    if not finding.ok:
        console.print(f"         to mend it: {escape(finding.remedy)}", soft_wrap=True)
