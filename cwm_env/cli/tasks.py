"""``cwm-env tasks``: what there is to solve, and whether it may give rewards."""

from __future__ import annotations

from functools import partial
from typing import Any

import click
from rich.markdown import Markdown
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from cwm_env.cli.output import console, errors, print_json
from cwm_env.errors import InputError
from cwm_env.tasks import list_tasks, resolve
from cwm_env.types import Task

_JSON = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group()
def tasks() -> None:
    """List, show and validate tasks.

    \b
    Example:
      cwm-env tasks list
    """


@tasks.command("list")
@_JSON
def list_(as_json: bool) -> None:
    """List the shipped tasks.

    \b
    Example:
      cwm-env tasks list --json
    """
    found = [_summary(resolve(task)) for task in list_tasks()]
    if as_json:
        print_json(found)
        return
    table = Table("task", "difficulty", "package", "hidden tests", "must keep passing")
    for task in found:
        counts = (str(task["fail_to_pass"]), str(task["pass_to_pass"]))
        table.add_row(escape(task["id"]), task["difficulty"], task["package"], *counts)
    console.print(table)


@tasks.command()
@click.argument("task")
@_JSON
def show(task: str, as_json: bool) -> None:
    """Show what a policy is told in TASK, and within which limits it works.

    \b
    Example:
      cwm-env tasks show TASK
    """
    found = resolve(task)
    limits = found.limits
    if as_json:
        shown = {name: getattr(limits, name) for name in limits.__slots__}
        print_json({**_summary(found), "instruction": found.instruction, "limits": shown, "image": found.image})
        return
    console.print(Markdown(found.instruction))
    summary = _summary(found)
    console.print(
        f"\n{limits.turns} turns, {limits.command_timeout:g} s a command, {limits.episode_timeout:g} s in all; "
        f"{limits.memory >> 20} MiB of memory, {limits.disk >> 20} MiB of disk; "
        f"{summary['fail_to_pass']} hidden tests must pass, {summary['pass_to_pass']} must keep passing."
    )


@tasks.command()
@click.argument("names", nargs=-1, metavar="[TASK]...")
@click.option("--all", "every", is_flag=True, help="All shipped tasks.")
@click.option("--repeats", default=1, show_default=True, type=click.IntRange(1), help="Runs of the gold solution.")
@click.option("--record", is_flag=True, help="First write tests/expected.json from what the gold solution changes.")
@click.option("--backend", default="namespaces", show_default=True, help="Where sandboxes are made.")
@_JSON
def validate(names: tuple[str, ...], every: bool, repeats: int, record: bool, backend: str, as_json: bool) -> int:
    """Try each TASK: untouched it must fail, with its gold solution it must pass, and repeats must agree.

    The exit code is 1 if a task may not give rewards.

    \b
    Example:
      cwm-env tasks validate --all --repeats 3
    """
    from cwm_env.grading import record_expected
    from cwm_env.grading import validate as try_task
    from cwm_env.images import ImageStore
    from cwm_env.sandbox.registry import backend as backend_named
    from cwm_env.tasks import write_expected

    chosen = [resolve(name) for name in (*names, *(list_tasks() if every else ()))]
    if not chosen:
        raise InputError("name a task, or give --all; `cwm-env tasks list` shows what there is")
    sandboxes, store = backend_named(backend), ImageStore()
    results = []
    for task in chosen:
        with errors.status(f"{escape(task.id)}: image") as status:
            image = store.get(task.image)
            if record:
                _report(status, task.id, "recording")
                write_expected(task, *record_expected(sandboxes, image, task, max(repeats, 2)))
                assert task.directory is not None
                task = resolve(task.directory)
            report = partial(_report, status, task.id)
            results.append(try_task(sandboxes, image, task, repeats=repeats, said=report))
    if as_json:
        print_json(
            [
                {
                    "id": r.task_id,
                    "admitted": r.admitted,
                    "problems": r.problems,
                    "untouched": r.untouched.outcome,
                    "gold": [grade.outcome for grade in r.gold],
                    "seconds": round(r.duration, 3),
                }
                for r in results
            ]
        )
    else:
        table = Table("task", "untouched", "gold", "seconds", "verdict")
        for r in results:
            verdict = "[green]admitted[/]" if r.admitted else f"[red]{escape('; '.join(r.problems))}[/]"
            gold = ", ".join(dict.fromkeys(grade.outcome for grade in r.gold))
            table.add_row(escape(r.task_id), r.untouched.outcome, gold, f"{r.duration:.1f}", verdict)
        console.print(table)
    return 0 if all(r.admitted for r in results) else 1


def _report(status: Status, task_id: str, text: str) -> None:
    status.update(f"{escape(task_id)}: {escape(text)}")


def _summary(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "difficulty": str(task.metadata.get("difficulty", "")),
        "package": str(task.metadata.get("package", "")),
        "runner": task.tests.runner,
        "fail_to_pass": len(task.tests.fail_to_pass),
        "pass_to_pass": len(task.tests.pass_to_pass),
        "directory": str(task.directory),
    }
