"""``cwm-env swebench build``: images of SWE-bench's instances."""

from __future__ import annotations

import fnmatch
from pathlib import Path

import click
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cwm_env.cli.output import console, errors
from cwm_env.errors import InputError
from cwm_env.tasks.swebench import Record, keep, kept, kept_ids, load

ALL = "all"
"""What stands for every record that is kept."""
_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option(
    "--instances", multiple=True, required=True, metavar="ID|GLOB|FILE", help="Records that are kept, or a file's."
)
@click.option("--select", multiple=True, metavar="GLOB", help="Of a file: only instances whose id matches.")
@click.option("--mirrors", type=_DIRECTORY, help="A directory of git mirrors, OWNER/NAME.git.")
@click.option("--environments", type=_DIRECTORY, help="A directory of pinned environments, ID.yml.")
@click.option("--parallel", default=2, show_default=True, type=click.IntRange(1), help="How many at once.")
@click.option("--from-registry", is_flag=True, help="Fetch the official images instead.")
@click.option("--registry", default="docker.io", show_default=True, metavar="HOST", help="Where these lie.")
def build(
    instances: tuple[str, ...],
    select: tuple[str, ...],
    mirrors: Path | None,
    environments: Path | None,
    parallel: int,
    from_registry: bool,
    registry: str,
) -> int:
    """Build the image of each instance: its commit, its Python, its packages. No registry is needed.

    What is there is not built again, so a build that was stopped goes on. The exit code is 1 if an image could not be
    built; the others are.

    \b
    Examples:
      cwm-env swebench build --instances 'pallets__*' --mirrors ./mirrors
      cwm-env swebench build --instances instances.jsonl --from-registry
    """
    from cwm_env.images import ImageStore
    from cwm_env.images.swebench.building import Built, ask, build_all
    from cwm_env.images.swebench.orders import Official, official
    from cwm_env.images.swebench.prepare import Asked

    chosen = records(instances, select)
    wanted: list[Asked | Official]
    if from_registry:
        wanted = [official(record, registry) for record in chosen]
    else:
        wanted = [ask(record, mirrors, environments) for record in chosen]
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    failed: list[Built] = []
    with Progress(*columns, console=errors) as bar:
        whole = bar.add_task("", total=len(wanted))

        def say(text: str) -> None:
            bar.update(whole, description=escape(text))

        for done in build_all(ImageStore(), wanted, parallel=parallel, progress=say):
            bar.advance(whole)
            if done.image is None:
                failed.append(done)
                continue
            console.print(
                f"swebench:{done.instance_id} {done.image.digest} {done.seconds:.1f} s", markup=False, soft_wrap=True
            )
            for note in done.notes:
                errors.print(f"  {note}", style="yellow", markup=False, soft_wrap=True)
    for done in failed:
        errors.print(f"swebench:{done.instance_id}: {done.error}", style="red", markup=False, soft_wrap=True)
    if failed:
        errors.print(f"{len(failed)} of {len(wanted)} images could not be built")
    return 1 if failed else 0


def records(given: tuple[str, ...], select: tuple[str, ...] = ()) -> list[Record]:
    """The records that are named: by ids and patterns of those that are kept, or by a file, whose records are kept.

    Raises:
        InputError: there is none.
    """
    found: dict[str, Record] = {}
    for each in given:
        if Path(each).is_file():
            chosen = [record for record in load(each) if _matches(record.instance_id, select)]
            keep(chosen)
        else:
            chosen = [kept(name) for name in kept_ids() if each == ALL or fnmatch.fnmatchcase(name, each)]
            if not chosen:
                raise InputError(f"no kept record matches {each!r}: `cwm-env tasks import swebench FILE` keeps more")
        found |= {record.instance_id: record for record in chosen}
    if not found:
        raise InputError(f"none of the records matches {', '.join(select)}")
    return list(found.values())


def _matches(name: str, globs: tuple[str, ...]) -> bool:
    return not globs or any(fnmatch.fnmatchcase(name, glob) for glob in globs)
