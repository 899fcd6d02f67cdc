"""Harbor's tasks that were imported: a copy of each directory, ``harbor/NAME`` in the cache, named ``harbor:NAME``."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cwm_env.errors import TaskError
from cwm_env.paths import cache_dir
from cwm_env.tasks.harbor import is_directory, load_task
from cwm_env.types import Task

PREFIX = "harbor:"
_DEPTH = 3
_REMEDY = "`cwm-env tasks import harbor PATH` keeps a task, or a directory of them"


def found(path: Path) -> list[Path]:
    """The directories of tasks at ``path``: itself, or what lies up to three levels below it, sorted.

    Raises:
        TaskError: there is none.
    """
    if not is_directory(path):
        raise TaskError(f"{path}: no such directory; a Harbor task is a directory that holds a task.toml")
    if (path / "task.toml").is_file():
        return [path]
    below = sorted(file.parent for level in range(1, _DEPTH + 1) for file in path.glob("*/" * level + "task.toml"))
    if not below:
        raise TaskError(f"{path}: holds no task.toml, and no directory with one")
    return below


def keep(directory: Path, own: Mapping[str, Any] | None = None) -> Task:
    """Keep a copy of a task, in place of an earlier one of that name.

    Args:
        own: what its ``[metadata.cwm_env]`` is to say; a task that has this table keeps it as it is.

    Raises:
        TaskError: it does not run here; the message says what of it does not.
    """
    load_task(directory)
    place = cache_dir() / "harbor"
    beside = place / f".{secrets.token_hex(8)}"
    target = place / directory.resolve().name
    try:
        place.mkdir(parents=True, exist_ok=True)
        shutil.copytree(directory, beside, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", ".git"))
        _add(beside / "task.toml", own or {})
        load_task(beside)
        if target.exists():
            target.rename(place / f"{beside.name}-old")
        beside.rename(target)
    except (OSError, shutil.Error) as error:
        raise TaskError(f"{directory}: cannot be kept in {place}: {error}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(place / f"{beside.name}-old", ignore_errors=True)
    return load_task(target)


def kept_names() -> list[str]:
    """Names of the kept tasks, sorted."""
    return sorted(file.parent.name for file in (cache_dir() / "harbor").glob("[!.]*/task.toml"))


def kept(name: str) -> Task:
    """A kept task.

    Raises:
        TaskError: it is not there, or broken.
    """
    directory = cache_dir() / "harbor" / name
    if not name or os.sep in name or name.startswith(".") or not is_directory(directory):
        raise TaskError(f"there is no Harbor task {name!r} here: {_REMEDY}")
    return load_task(directory)


def _add(path: Path, own: Mapping[str, Any]) -> None:
    """Write our own table at the end of a task.toml."""
    if own and "[metadata.cwm_env]" not in (text := path.read_text(encoding="utf-8")):
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in own.items())
        path.write_text(f"{text.rstrip()}\n\n[metadata.cwm_env]\n{lines}", encoding="utf-8")
