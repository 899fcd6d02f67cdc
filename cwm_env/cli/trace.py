"""``cwm-env trace``: record executions, and judge models that predict them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cwm_env.cli.output import console, errors, print_json
from cwm_env.tracing import Place, Trace, TraceLimits
from cwm_env.tracing import trace as record_call
from cwm_env.tracing.datasets.dataset import Summary, read
from cwm_env.tracing.datasets.producing import Unit, function_unit, produce, program_unit, tests_unit
from cwm_env.tracing.datasets.repository import Cut, collect
from cwm_env.tracing.datasets.rewriting import rewrite_all
from cwm_env.tracing.halting_programs import generate
from cwm_env.tracing.judging.baselines import Constant, Oracle
from cwm_env.tracing.judging.endpoint import Endpoint, Model
from cwm_env.tracing.judging.evaluation import MEASURES
from cwm_env.tracing.judging.evaluation import evaluate as score


@click.group()
def trace() -> None:
    """Execution traces in the Code World Model's format.

    \b
    Examples:
      cwm-env trace function f.py --call "f(1, 2)" --out f.jsonl.zst
      cwm-env trace function lib.py --entry slugify --count 20 --out slugify.jsonl.zst
      cwm-env trace program solution.py --stdin input.txt --out run.parquet
      cwm-env trace evaluate f.jsonl.zst --model cwm --url http://127.0.0.1:8000/v1
      cwm-env trace tests tasks/boltons-barrellist-slices/environment --out boltons.jsonl.zst --parallel 4
    """


def _common(command: Callable[..., None]) -> Callable[..., None]:
    options = [
        click.option(
            "--out",
            type=click.Path(dir_okay=False, path_type=Path),
            required=True,
            help="FILE.jsonl.zst or FILE.parquet; taken up again where it was stopped.",
        ),
        click.option("--image", default="python", show_default=True, help="Image to run in."),
        click.option("--python", default="python3", show_default=True, help="The image's interpreter."),
        click.option("--parallel", default=2, show_default=True, type=click.IntRange(1), help="Sandboxes at once."),
        click.option("--timeout", default=60.0, show_default=True, help="Seconds for one run."),
        click.option(
            "--similarity",
            default=0.8,
            show_default=True,
            type=click.FloatRange(0, 1),
            help="Drop traces that are this similar to an earlier one; 0 keeps all.",
        ),
        click.option("--max-events", default=1_000_000, show_default=True, type=click.IntRange(1), help="Per run."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@trace.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--entry", default="f", show_default=True, help="The function.")
@click.option(
    "--call", "calls", multiple=True, help='A call to trace, such as "f(1, 2)". Without one, inputs are found.'
)
@click.option("--tests", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Tests to take calls from.")
@click.option("--count", default=10, show_default=True, type=click.IntRange(1), help="Calls to find for each source.")
@click.option("--seed", default=0, show_default=True)
@_common
def function(
    sources: tuple[Path, ...],
    entry: str,
    calls: tuple[str, ...],
    tests: Path | None,
    count: int,
    seed: int,
    **common: Any,
) -> None:
    """Trace a function of each SOURCE, with given inputs or with inputs found for it."""
    place, limits = _place(common), TraceLimits(max_events=common["max_events"])
    seen = tests.read_text() if tests else ""
    units = [
        function_unit(
            str(path), path.read_text(), place, entry=entry, calls=calls, tests=seen, count=count, seed=seed,
            limits=limits, timeout=common["timeout"],
        )
        for path in sources
    ]  # fmt: skip
    _produce(units, common)


@trace.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--stdin", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its standard input.")
@_common
def program(sources: tuple[Path, ...], stdin: Path | None, **common: Any) -> None:
    """Trace each SOURCE as a whole program."""
    place, limits = _place(common), TraceLimits(max_events=common["max_events"])
    data = stdin.read_bytes() if stdin else b""
    units = [
        program_unit(str(path), path.read_text(), data, place, limits=limits, timeout=common["timeout"])
        for path in sources
    ]
    _produce(units, common)


@trace.command()
@click.argument("repository")
@click.option("--depth", default=3, show_default=True, type=click.IntRange(1), help="Calls within calls to follow.")
@click.option(
    "--step-in", default=0.7, show_default=True, type=click.FloatRange(0, 1), help="Probability to follow one."
)
@click.option("--seed", default=0, show_default=True, help="Of the step-in coin.")
@click.option("--per-function", default=3, show_default=True, type=click.IntRange(1), help="Episodes of one function.")
@_common
def tests(repository: str, depth: int, step_in: float, seed: int, per_function: int, **common: Any) -> None:
    """Trace the tests of the repository in the image REPOSITORY, cut into episodes of one function each."""
    place = _place({**common, "image": repository})
    limits = TraceLimits(max_events=common["max_events"])
    cut = Cut(depth=depth, step_in=step_in, seed=seed, per_function=per_function, limits=limits)
    files = collect(place)
    if not files:
        raise click.ClickException(f"pytest collects no tests in {place.image.workdir} of the image {repository}")
    _produce([tests_unit(file, place, cut=cut, timeout=common["timeout"]) for file in files], common)


def _place(common: dict[str, Any]) -> Place:
    return replace(Place.default(common["image"]), python=common["python"])


def _produce(units: Iterable[Unit], common: dict[str, Any]) -> None:
    """Make the data set behind a progress bar, and print its summary."""
    units = list(units)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors) as bar:
        task = bar.add_task("tracing", total=len(units))

        def advance(name: str, summary: Summary) -> None:
            bar.update(task, completed=summary.units, description=f"{summary.records} traces")

        summary = produce(
            units,
            common["out"],
            parallel=common["parallel"],
            similarity=common["similarity"] or None,
            progress=advance,
        )
    table = Table("what", "number", title=str(common["out"].name))
    for name in ("units", "records", "events", "tokens_estimate", "bytes"):
        table.add_row(name.replace("_", ", "), f"{getattr(summary, name):,}")
    for reason, number in sorted(summary.refused.items(), key=lambda pair: -pair[1]):
        table.add_row(f"refused: {reason}", f"{number:,}")
    console.print(table)


@trace.command()
@click.argument("data", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", help="Name of the model; without one, only the baselines are scored.")
@click.option("--url", default="http://127.0.0.1:8000/v1", show_default=True, help="Its OpenAI-compatible endpoint.")
@click.option("--key", envvar="OPENAI_API_KEY", default="none", help="Its key.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="Traces to score.")
@click.option("--frames", default=20, show_default=True, type=click.IntRange(1), help="Frames of each, one by one.")
@click.option("--halting", default=0, show_default=True, type=click.IntRange(0), help="Programs to ask termination of.")
@click.option("--seed", default=0, show_default=True)
@click.option("--image", default="python", show_default=True, help="Image that predicted inputs run in.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(
    data: Path,
    model: str | None,
    url: str,
    key: str,
    limit: int,
    frames: int,
    halting: int,
    seed: int,
    image: str,
    as_json: bool,
) -> None:
    """Score a model on the traces of DATA, beside an oracle and a constant baseline."""
    traces = [Trace.from_cwm(record.text) for record in islice(read(data), limit)]
    programs = generate(halting, seed)
    place = Place.default(image)

    def run(source: str, call: str) -> Trace:
        return record_call(source, call=call, place=place)

    models: list[Model] = [Oracle(traces, programs), Constant()]
    if model:
        models.insert(0, Endpoint(url, model, key))
    scores = [score(m, traces, programs=programs, run=run, frames=frames, seed=seed) for m in models]
    if as_json:
        print_json({s.model: {n: [r.right, r.of] for n, r in s.rates.items()} for s in scores})
        return
    table = Table("model", *MEASURES)
    for found in scores:
        table.add_row(found.model, *map(str, found.rates.values()))
    console.print(table)


@trace.command()
@click.argument("data", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", required=True, help="Name of the model.")
@click.option("--url", default="http://127.0.0.1:8000/v1", show_default=True, help="Its OpenAI-compatible endpoint.")
@click.option("--key", envvar="OPENAI_API_KEY", default="none", help="Its key.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="FILE.jsonl; taken up again where it was stopped.",
)
@click.option("--parallel", default=8, show_default=True, type=click.IntRange(1), help="Requests at once.")
@click.option("--limit", default=1_000_000, show_default=True, type=click.IntRange(1), help="Traces to tell.")
def rewrite(data: Path, model: str, url: str, key: str, out: Path, parallel: int, limit: int) -> None:
    """Have a model tell the traces of DATA in plain words; tellings with another final value are dropped."""
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors) as bar:
        task = bar.add_task("telling", total=None)

        def advance(counts: dict[str, int]) -> None:
            bar.update(task, completed=sum(counts.values()), description=f"{counts['kept']} kept")

        records = islice(read(data), limit)
        counts = rewrite_all(records, Endpoint(url, model, key), out, parallel=parallel, progress=advance)
    table = Table("what", "number", title=out.name)
    for name, number in counts.items():
        table.add_row(name if name == "kept" else f"refused: {name}", f"{number:,}")
    console.print(table)
