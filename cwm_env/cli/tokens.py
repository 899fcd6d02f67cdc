"""``cwm-env tokens``: who may use a server."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
from rich.table import Table

from cwm_env.cli.output import console, names, print_json
from cwm_env.paths import cache_dir
from cwm_env.server.tokens import TokenFile

_STATE = click.option("--state", type=click.Path(path_type=Path), help="The server's state directory.")


@click.group()
def tokens() -> None:
    """Make, list and revoke the tokens of a server; a running one notices within a second."""


@tokens.command()
@click.argument("name")
@click.option("--operator", is_flag=True, help="May read the metrics, too.")
@_STATE
def create(name: str, operator: bool, state: Path | None) -> None:
    """Make a token and print it, this once.

    \b
    Example:
      cwm-env tokens create training
    """
    click.echo(_file(state).create(name, operator=operator))


@tokens.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@_STATE
def list_(as_json: bool, state: Path | None) -> None:
    """All tokens, without what is secret in them."""
    kept = map(dataclasses.asdict, _file(state).all())
    rows = [{name: value for name, value in row.items() if name != "sha256"} for row in kept]
    if as_json:
        print_json(rows)
        return
    table = Table(names("id"), "name", "made", "")
    for row in rows:
        what = "revoked" if row["revoked"] else "operator" if row["operator"] else ""
        table.add_row(row["id"], row["name"], row["created"], what)
    console.print(table)


@tokens.command()
@click.argument("token_id")
@_STATE
def revoke(token_id: str, state: Path | None) -> None:
    """Make a token worthless, by its id. Its episodes end with their leases.

    \b
    Example:
      cwm-env tokens revoke 0123456789ab
    """
    _file(state).revoke(token_id)


def _file(state: Path | None) -> TokenFile:
    return TokenFile(state or cache_dir() / "server")
