"""Where the commands write."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Column

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


def print_json(value: Any) -> None:
    """Write a value for programs."""
    click.echo(json.dumps(value, indent=2))
