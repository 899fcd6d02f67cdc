"""``cwm-env images``: the root file systems that sandboxes are clones of."""

from __future__ import annotations

from functools import partial

import click
from rich.filesize import decimal
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from cwm_env.cli.output import console, errors, print_json


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
    table = Table("image", "digest", "layers", "workdir")
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
        console.print(f"{name} {image.digest}", markup=False)


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
