"""The shipped tasks and the small one on a Debian of their own instead of this machine's programs."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

from cwm_env.paths import data_dir
from cwm_env.tasks import resolve
from cwm_env.types import Task

PACKAGES = ["less", "man-db", "procps"]


def rebase(source: Path, target: Path) -> Path:
    """Write a recipe like that of ``source``, which stands on ``python``, with a base of its own; its directory."""
    text = (source / "image.toml").read_text()
    own = tomllib.loads(text)
    assert own["base"] == "python"
    python = tomllib.loads((data_dir("images") / "python/image.toml").read_text())["python"] + own.get("python", [])
    rest = "\n".join(line for line in text.splitlines() if not line.startswith(("base =", "python =")))
    target.mkdir(parents=True)
    (target / "image.toml").write_text(f'base = "debian:bookworm"\ndebian = {PACKAGES}\npython = {python}\n{rest}\n')
    return target


def on_debian(task: str | Path, directory: Path) -> Task:
    """A task with its image rebased, in ``directory``."""
    found = resolve(task)
    return replace(found, image=str(rebase(Path(found.image), directory / found.id)))
