"""Where the commands write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.table import Column, Table

console = Console(highlight=False)
"""Standard output, for people."""
errors = Console(stderr=True, highlight=False)
"""Standard error."""


def names(title: str) -> Column:
    """A column of names to be copied: the others give way, and no name is cut."""
    return Column(title, no_wrap=True, overflow="fold")


def say(text: str) -> None:
    """Write one line to standard error, whatever line breaks the text has."""
    click.echo(f"cwm-env: {' '.join(text.split())}", err=True)


@contextmanager
def shown_live(table: Table, *, as_json: bool) -> Iterator[Live]:
    """Show a table that changes; on standard error, and gone at its end, where standard output is for a program."""
    screen = errors if as_json else console
    with Live(table, console=screen, refresh_per_second=8, transient=as_json) as live:
        yield live
    if not (as_json or screen.is_terminal):
        screen.line()  # rich ends its last line on terminals alone


def print_json(value: Any) -> None:
    """Write a value for programs."""
    click.echo(json.dumps(value, indent=2))
