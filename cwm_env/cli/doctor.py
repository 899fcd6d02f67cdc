"""``cwm-env doctor``: what this machine can do, what is missing, and what mends it."""

from __future__ import annotations

import dataclasses

import click
from rich.markup import escape

from cwm_env.cli.output import console, print_json
from cwm_env.sandbox.doctor import Finding, examine


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option(
    "--conformance", metavar="BACKEND", help="Run every check that BACKEND has to pass, such as docker:runsc."
)
def doctor(as_json: bool, conformance: str | None) -> int:
    """Try what sandboxes and image builds need on this machine. The exit code is 1 if sandboxes cannot run.

    \b
    Examples:
      cwm-env doctor
      cwm-env doctor --conformance namespaces
    """
    if conformance is not None:
        return _conform(conformance, as_json)
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


def _conform(name: str, as_json: bool) -> int:
    """Run the suite; the exit code is 1 if a check failed that is not declared to."""
    from cwm_env.sandbox.conformance import Result, conform
    from cwm_env.sandbox.registry import backend

    results: list[Result] = []
    for result in conform(backend(name), name):
        results.append(result)
        if not as_json:
            mark = {"passed": "[green]ok[/]     ", "failed": "[red]failed[/] ", "known": "[yellow]differs[/]"}[
                result.outcome
            ]
            detail = f": {escape(result.detail)}" if result.detail else ""
            console.print(f"{mark}  {result.name}{detail}", soft_wrap=True)
    if as_json:
        print_json([dataclasses.asdict(result) for result in results])
    else:
        console.print(
            ", ".join(f"{sum(r.outcome == word for r in results)} {word}" for word in ("passed", "failed", "known"))
        )
    return 1 if any(result.outcome == "failed" for result in results) else 0
