"""``cwm-env swebench evaluate``: predictions to verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from cwm_env.cli.output import console, errors, names, print_json, say
from cwm_env.cli.swebench_build import records as records_of

if TYPE_CHECKING:
    from cwm_env.swebench.many import Results
    from cwm_env.tasks.swebench import Record


@click.command()
@click.option("--predictions", required=True, metavar="FILE", help="Official format; or gold, or empty.")
@click.option(
    "--instances",
    required=True,
    multiple=True,
    metavar="ID|GLOB|FILE",
    help="Kept records, all, or a file's.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory of the reports.")
@click.option("--run-id", default="run", show_default=True, help="Names the run in the reports.")
@click.option("--parallel", default=1, show_default=True, type=click.IntRange(1, 1000), help="Instances at once.")
@click.option("--timeout", default=1800.0, show_default=True, type=click.FloatRange(0, min_open=True), help="Seconds.")
@click.option("--backend", default="namespaces", show_default=True, help="Where sandboxes are made.")
@click.option("--json", "as_json", is_flag=True, help="Print the evaluations as JSON instead of the table.")
def evaluate(
    predictions: str,
    instances: tuple[str, ...],
    out: Path,
    run_id: str,
    parallel: int,
    timeout: float,
    backend: str,
    as_json: bool,
) -> int:
    """Evaluate predictions, each in fresh clones: the official verdict, and beside it the hardened one.

    The reports are the official harness's, in its layout: OUT/logs/run_evaluation/RUN/MODEL/ID/ and OUT/MODEL.RUN.json.
    What is done is not run again. The exit code is 0 when every instance got its verdicts, whatever they are, and 3
    when the infrastructure failed one (it is then among error_ids).

    \b
    Examples:
      cwm-env swebench evaluate --predictions preds.jsonl --instances all --out results --parallel 2
      cwm-env swebench evaluate --predictions gold --instances 'pallets__*' --out results
    """
    from cwm_env.images import ImageStore
    from cwm_env.sandbox.registry import backend as backend_named
    from cwm_env.swebench import Evaluator, Official, load_predictions
    from cwm_env.swebench.many import evaluate_all

    records = records_of(instances)
    given = load_predictions(predictions, records)
    sandboxes, store = backend_named(backend), ImageStore()
    with (
        Official() as official,
        Progress(
            *Progress.get_default_columns()[:2],
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=errors,
            transient=True,
        ) as progress,
    ):
        evaluator = Evaluator(
            out,
            run_id,
            backend=sandboxes,
            images=lambda record: store.get(f"swebench:{record.instance_id}"),
            official=official,
            timeout=timeout,
        )
        bar = progress.add_task("evaluating", total=len(given))
        results = evaluate_all(
            evaluator,
            records,
            given,
            parallel=parallel,
            tick=lambda so_far: progress.update(bar, completed=len(so_far.found) + len(so_far.failed)),
            interrupt=sandboxes.close,
        )
        summary = evaluator.summarise(records, given)
    if as_json:
        print_json([found.as_json() for found in results.found.values()])
    else:
        _show(records, results)
        console.print(f"Summary: {summary}", markup=False, soft_wrap=True)
    for name, error in results.failed.items():
        say(f"{name}: {error}")
    return max((error.exit_code for error in results.failed.values()), default=0)


def _show(records: Sequence[Record], results: Results) -> None:
    columns = ("official", "hardened", "fail to pass", "pass to pass", "seconds", "where they differ")
    table = Table(names("instance"), *columns)
    for record in records:
        found = results.found.get(record.instance_id)
        if found is None:
            continue
        counts = [
            f"{one[0]}, {other[0]} of {one[1]}" if one != other else f"{one[0]} of {one[1]}"
            for one, other in (
                (found.official.fail_to_pass, found.hardened.fail_to_pass),
                (found.official.pass_to_pass, found.hardened.pass_to_pass),
            )
        ]
        seconds = found.seconds.get("official", 0.0) + found.seconds.get("hardened", 0.0)
        outcomes = (_coloured(found.official.outcome), _coloured(found.hardened.outcome))
        table.add_row(escape(found.instance_id), *outcomes, *counts, f"{seconds:.1f}", escape(found.difference))
    resolved = [sum(getattr(each, kind).outcome == "resolved" for each in results.found.values()) for kind in _KINDS]
    again = f"; {results.again} were done before" if results.again else ""
    table.caption = (
        f"{len(results.found)} evaluated, resolved {resolved[0]} officially and {resolved[1]} hardened{again}"
    )
    console.print(table)


_KINDS = ("official", "hardened")


def _coloured(outcome: str) -> str:
    return f"[{'green' if outcome == 'resolved' else 'red' if outcome == 'tampered' else 'yellow'}]{outcome}[/]"
