"""``cwm-env images``: the root file systems that sandboxes are clones of."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import IO

import click
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import Progress, TaskID
from rich.status import Status
from rich.table import Table

from cwm_env.cli.output import console, errors, names, print_json
from cwm_env.images.distribution import Login
from cwm_env.types import Image


@click.group()
def images() -> None:
    """Build and remove images. `run` and `play` build what they need by themselves.

    \b
    Example:
      cwm-env images build python
    """


@images.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_(as_json: bool) -> None:
    """List the images that are built.

    \b
    Example:
      cwm-env images list
    """
    from cwm_env.images import ImageStore

    found = ImageStore().list()
    if as_json:
        print_json(
            [
                {"name": image.name, "digest": image.digest, "workdir": image.workdir, "user": image.user}
                for image in found
            ]
        )
        return
    table = Table(names("image"), "digest", "layers", "workdir")
    for image in found:
        digest = image.digest.removeprefix("sha256:")[:12]
        table.add_row(escape(image.name), digest, str(len(image.layers)), escape(image.workdir))
    console.print(table)


@images.command()
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...")
def build(names: tuple[str, ...]) -> None:
    """Build each IMAGE: the name of a shipped one, or the path of a directory that holds an image.toml.

    What did not change since the last time is not built again.

    \b
    Example:
      cwm-env images build python ./my-task/environment
    """
    from cwm_env.images import ImageStore

    for name in names:
        with errors.status(f"{escape(name)}: building") as status:
            image = ImageStore().get(name, progress=partial(_report, status))
        console.print(f"{name} {image.digest}", markup=False, soft_wrap=True)


@images.command()
@click.argument("names", nargs=-1, metavar="IMAGE...")
@click.option("--from", "listed", type=click.File(), help="A file that names more of them, one a line.")
@click.option("--parallel", default=4, show_default=True, type=click.IntRange(1), help="How many at once.")
@click.option("--username", help="For a private registry; without it, what `docker login` keeps is taken.")
@click.option("--password-stdin", is_flag=True, help="Read the password, or a token, from standard input.")
def pull(
    names: tuple[str, ...], listed: IO[str] | None, parallel: int, username: str | None, password_stdin: bool
) -> int:
    """Fetch each IMAGE as it is now, so that episodes start at once.

    \b
    IMAGE is one of
      docker://REGISTRY/NAME:TAG   a registry
      docker-daemon:NAME:TAG       the Docker engine
      docker-archive:FILE          what `docker save` wrote; also oci-archive:FILE, oci:DIRECTORY
      a directory                  with a Dockerfile or an image.toml
      a name                       of a shipped image

    \b
    Examples:
      cwm-env images pull docker://REGISTRY/python:3.12
      cwm-env images pull --from images.txt --parallel 8
    """
    from cwm_env.images.distribution import Login

    lines = [line.strip() for line in listed] if listed else []
    wanted = [*names, *(line for line in lines if line and not line.startswith("#"))]
    if not wanted:
        raise click.UsageError("name an image, or give a file with --from")
    password = sys.stdin.readline().rstrip("\n") if password_stdin else ""
    return _pull_all(wanted, parallel, Login(username or "token", password) if password else None)


@images.command("import")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
def import_(path: Path) -> None:
    """Take in an archive of an image: what `docker save`, `cwm-env images export` or an OCI tool wrote.

    \b
    Example:
      docker save my-image > image.tar && cwm-env images import image.tar
    """
    from cwm_env.images import ImageStore
    from cwm_env.images.oci import transport_of

    with errors.status(f"{escape(str(path))}: unpacking") as status:
        image = ImageStore().fetch(f"{transport_of(path)}:{path}", progress=partial(_report, status))
    console.print(f"{image.name} {image.digest}", markup=False, soft_wrap=True)


@images.command()
@click.argument("name", metavar="IMAGE")
@click.argument("path", type=click.Path(path_type=Path))
def export(name: str, path: Path) -> None:
    """Write IMAGE to PATH as an archive that `docker load` takes.

    \b
    Example:
      cwm-env images export bookworm bookworm.tar && docker load < bookworm.tar
    """
    from cwm_env.images import ImageStore

    with errors.status(f"{escape(name)}: building") as status:
        ImageStore().export(name, path, progress=partial(_report, status))
    console.print(f"{path} {decimal(path.stat().st_size)}", markup=False, soft_wrap=True)


@images.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def du(as_json: bool) -> None:
    """Show what each image takes on disk, and how much of it no other one shares.

    \b
    Example:
      cwm-env images du
    """
    from cwm_env.images import ImageStore

    used, total = ImageStore().usage()
    if as_json:
        print_json({"total": total, "images": {name: {"size": size, "own": own} for name, (size, own) in used.items()}})
        return
    table = Table(names("image"), "size", "of its own")
    for name, (size, own) in used.items():
        table.add_row(escape(name), decimal(size), decimal(own))
    console.print(table)
    console.print(f"{decimal(total)} in all")


@images.command()
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...")
def rm(names: tuple[str, ...]) -> None:
    """Remove each IMAGE. Layers that others use stay; `prune` frees those that none uses.

    \b
    Example:
      cwm-env images rm python
    """
    from cwm_env.images import ImageStore

    for name in names:
        ImageStore().remove(name)


@images.command()
def prune() -> None:
    """Free what no image uses: layers, downloads, leftovers of builds that were killed.

    \b
    Example:
      cwm-env images prune
    """
    from cwm_env.images import ImageStore

    console.print(f"{decimal(ImageStore().prune())} freed")


def _report(status: Status, text: str) -> None:
    status.update(escape(text))


def _pull_all(names: list[str], parallel: int, login: Login | None) -> int:
    """Fetch with a progress bar, say what failed; the exit code of the last failure."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from cwm_env.errors import CwmEnvError
    from cwm_env.images import ImageStore
    from cwm_env.images.foreign import is_foreign

    store, failed = ImageStore(), dict[str, CwmEnvError]()
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=errors) as bar, ThreadPoolExecutor(parallel) as pool:
        whole = bar.add_task("", total=len(names))
        say = partial(_describe, bar, whole)

        def pull_one(name: str) -> Image:
            return store.fetch(name, login=login, progress=say) if is_foreign(name) else store.get(name, progress=say)

        pulled = {pool.submit(pull_one, name): name for name in names}
        try:
            for done in as_completed(pulled):
                try:
                    console.print(f"{pulled[done]} {done.result().digest}", markup=False, soft_wrap=True)
                except CwmEnvError as error:
                    failed[pulled[done]] = error
                bar.advance(whole)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C: those that have not begun do not
            raise
    if failed:
        errors.print(f"{len(names) - len(failed)} of {len(names)} images are here; the same command again tries these:")
        for why in failed.values():
            errors.print(str(why), markup=False, soft_wrap=True)
    return next((why.exit_code for why in reversed(failed.values())), 0)


def _describe(bar: Progress, task: TaskID, text: str) -> None:
    bar.update(task, description=escape(text))
