"""``cwm-env tasks``: what there is to solve, and whether it may give rewards."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table

from cwm_env.cli.output import console, errors, names, print_json, shown_live
from cwm_env.errors import InputError, TaskError
from cwm_env.tasks import list_tasks, resolve
from cwm_env.types import Task

if TYPE_CHECKING:
    from cwm_env.grading import Admission

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
    table = Table(names("task"), "difficulty", "hidden tests", "must keep passing")
    for task in found:
        counts = (str(task["fail_to_pass"]), str(task["pass_to_pass"]))
        table.add_row(escape(task["id"]), task["difficulty"], *counts)
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
@click.option("--repeats", default=2, show_default=True, type=click.IntRange(1), help="Runs of the gold solution.")
@click.option("--record", is_flag=True, help="First write tests/expected.json from what the gold solution changes.")
@click.option("--backend", default="namespaces", show_default=True, help="Where sandboxes are made.")
@_JSON
def validate(names: tuple[str, ...], every: bool, repeats: int, record: bool, backend: str, as_json: bool) -> int:
    """Try whether each TASK may give rewards.

    Untouched it must fail; its gold solution must pass, every time; exploits must not pass; no later commit, fixed
    release or hidden test may lie in its image; and its tests must stay well within their time. What was found is kept
    by the digest of the task's files, and `run` warns of a task that was not tried. The exit code is 1 if a task may
    not give rewards.

    \b
    Example:
      cwm-env tasks validate --all --repeats 5
    """
    from cwm_env.grading import evidence, record_expected
    from cwm_env.grading import validate as try_task
    from cwm_env.images import ImageStore
    from cwm_env.sandbox.registry import backend as backend_named
    from cwm_env.tasks import write_expected

    chosen = [resolve(name) for name in (*names, *(list_tasks() if every else ()))]
    if not chosen:
        raise InputError("name a task, or give --all; `cwm-env tasks list` shows what there is")
    sandboxes, store = backend_named(backend), ImageStore()
    board = _Board(chosen)
    results = []
    with shown_live(board.table(), as_json=as_json) as live:
        for index, task in enumerate(chosen):

            def said(check: str, state: str, index: int = index) -> None:
                board.say(index, check, state)
                live.update(board.table())

            said("seconds", "image")
            image = store.get(task.image)
            if record:
                said("seconds", "recording")
                write_expected(task, *record_expected(sandboxes, image, task, max(repeats, 2)))
                assert task.directory is not None
                task = resolve(task.directory)
            said("seconds", "")
            found = try_task(sandboxes, image, task, repeats=repeats, said=said)
            evidence.keep(task, image, found)
            said("seconds", f"{found.duration:.1f}")
            said("verdict", "[green]admitted[/]" if found.admitted else "[red]refused[/]")
            results.append(found)
    if as_json:
        print_json([_as_json(found) for found in results])
    for found in results:
        for problem in found.problems:
            errors.print(f"{found.task_id}: {problem}", style="red", markup=False)
    return 0 if all(found.admitted for found in results) else 1


class _Board:
    """The live table of checks: a row for each task."""

    def __init__(self, tasks: list[Task]) -> None:
        self._rows: list[dict[str, str]] = [{"task": escape(task.id)} for task in tasks]

    def say(self, row: int, check: str, state: str) -> None:
        """Change one cell."""
        self._rows[row][check] = {"ok": "[green]ok[/]", "no": "[red]no[/]"}.get(state, state)

    def table(self) -> Table:
        """As it stands."""
        from cwm_env.grading.admission import CHECKS

        columns = ("task", *CHECKS, "seconds", "verdict")
        table = Table(names("task"), *columns[1:])
        for row in self._rows:
            table.add_row(*(row.get(column, "") for column in columns))
        return table


@tasks.group("import")
def import_() -> None:
    """Keep tasks of other formats in the cache.

    \b
    Example:
      cwm-env tasks import swebench instances.jsonl --select 'pallets__*'
    """


@import_.command()
@click.argument("source")
@click.option("--select", multiple=True, metavar="GLOB", help="Only instances whose id matches; may be repeated.")
@click.option("--split", help="Of a data set; all of them by default.")
@_JSON
def swebench(source: str, select: tuple[str, ...], split: str | None, as_json: bool) -> None:
    """Keep SWE-bench records, and say what is broken in them. SOURCE is a .json, .jsonl or .parquet file or a data set.

    \b
    Example:
      cwm-env tasks import swebench instances.jsonl --select pallets__flask-5014
    """
    from cwm_env.tasks.swebench import keep, load

    every = load(source, split)
    found = [
        each for each in every if not select or any(fnmatch.fnmatchcase(each.instance_id, glob) for glob in select)
    ]
    if not found:
        raise InputError(f"{source}: none of its {len(every)} records matches {', '.join(select) or 'anything'}")
    keep(found)
    if as_json:
        print_json([{"id": f"swebench:{each.instance_id}", "problems": each.problems} for each in found])
        return
    table = Table(names("task"), "fail to pass", "pass to pass", "what is broken in it")
    for each in found:
        counts = (str(len(each.fail_to_pass)), str(len(each.pass_to_pass)))
        table.add_row(escape(f"swebench:{each.instance_id}"), *counts, escape(" ".join(each.problems)))
    console.print(table)


@import_.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--select", multiple=True, metavar="GLOB", help="Only tasks whose name matches; may be repeated.")
@click.option("--tree", metavar="DIR", help="Grade changes below DIR instead of the image's workdir; / takes all.")
@click.option("--unprotected", multiple=True, metavar="GLOB", help="Changes that count although they are protected.")
@_JSON
def harbor(path: Path, select: tuple[str, ...], tree: str | None, unprotected: tuple[str, ...], as_json: bool) -> int:
    """Keep copies of Harbor's tasks: PATH is one, or a directory of them.

    They run as harbor:NAME. What of a task does not run here is said, and the exit code is 1 if there is any such
    task; `tasks validate harbor:NAME` tries the others.

    \b
    Example:
      cwm-env tasks import harbor ./terminal-bench --select 'git-*'
    """
    from cwm_env.tasks import imported

    every = imported.found(path)
    chosen = [each for each in every if not select or any(fnmatch.fnmatchcase(each.resolve().name, g) for g in select)]
    if not chosen:
        raise InputError(f"{path}: none of its {len(every)} tasks matches {', '.join(select)}")
    own = {key: value for key, value in (("tree", tree), ("unprotected", list(unprotected))) if value}
    rows = []
    for directory in chosen:
        row = {"id": f"{imported.PREFIX}{directory.resolve().name}", "runner": "", "problem": ""}
        try:
            row["runner"] = imported.keep(directory, own).tests.runner
        except TaskError as error:
            row["problem"] = str(error)
        rows.append(row)
    if as_json:
        print_json(rows)
    else:
        table = Table(names("task"), "runner", "what does not run here")
        for row in rows:
            table.add_row(*map(escape, row.values()))
        console.print(table)
    return 1 if any(row["problem"] for row in rows) else 0


def _as_json(found: Admission) -> dict[str, Any]:
    return {
        "id": found.task_id,
        "admitted": found.admitted,
        "problems": found.problems,
        "untouched": found.untouched.outcome,
        "gold": [grade.outcome for grade in found.gold],
        "forged": dict(found.forged),
        "seconds": round(found.duration, 3),
    }


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
