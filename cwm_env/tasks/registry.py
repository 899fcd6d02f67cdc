"""Tasks by what a user says: a shipped id, ``swebench:ID``, a path, or a ``Task``."""

from __future__ import annotations

import difflib
import hashlib
import os
from pathlib import Path

from cwm_env.errors import TaskError
from cwm_env.paths import data_dir
from cwm_env.tasks import imported
from cwm_env.tasks.harbor import is_directory, load_task
from cwm_env.tasks.swebench.kept import kept_task
from cwm_env.types import Task

_SWEBENCH = "swebench:"


def list_tasks() -> list[str]:
    """Ids of the shipped tasks, sorted."""
    return sorted(file.parent.name for file in data_dir("tasks").glob("*/task.toml"))


def resolve(spec: str | Path | Task) -> Task:
    """The task that ``spec`` means: itself, a shipped id, ``swebench:ID``, ``harbor:NAME``, or a directory's path.

    A shipped id wins over a directory of the same name; ``./NAME`` is always a path.

    Raises:
        TaskError: there is none, or it does not hold together.
    """
    if isinstance(spec, Task):
        return spec
    if isinstance(spec, Path):
        return load_task(spec)
    if not isinstance(spec, str):
        raise TaskError(f"a task is an id, a path or a Task, not {type(spec).__name__}")
    if spec.startswith(_SWEBENCH):
        return kept_task(spec.removeprefix(_SWEBENCH))
    if spec.startswith(imported.PREFIX):
        return imported.kept(spec.removeprefix(imported.PREFIX))
    shipped = list_tasks()
    if spec in shipped:
        return load_task(data_dir("tasks") / spec)
    if os.sep in spec or (spec and is_directory(Path(spec))):
        return load_task(Path(spec))
    close = difflib.get_close_matches(spec, shipped, 3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise TaskError(f"there is no task {spec!r}: {hint}`cwm-env tasks list` shows all; a path needs a '/'")


def digest(task: Task) -> str:
    """``sha256:…`` over the task's files: relative path, executable bit and content; no times and no owners.

    Raises:
        TaskError: the task was not read from a directory, or a file of it cannot be read.
    """
    if task.directory is None:
        raise TaskError(f"task {task.id!r} was not read from a directory, so it has no digest")
    whole = hashlib.sha256()
    try:
        for path in _files(task.directory):
            name = os.fsencode(path.relative_to(task.directory).as_posix())
            if path.is_symlink():
                kind, content = b"l", os.fsencode(path.readlink())
            else:
                kind, content = (b"x" if path.stat().st_mode & 0o111 else b"f"), path.read_bytes()
            # Each part hashed to a fixed length, so that no file can end where another begins.
            whole.update(kind + hashlib.sha256(name).digest() + hashlib.sha256(content).digest())
    except OSError as error:
        raise TaskError(f"{error.filename}: cannot be read: {error.strerror}") from None
    return f"sha256:{whole.hexdigest()}"


def _files(directory: Path) -> list[Path]:
    """Every file and link; without the bytecode that a test run may leave beside the tests."""
    found = [path for path in directory.rglob("*") if path.is_symlink() or path.is_file()]
    return sorted(path for path in found if "__pycache__" not in path.parts)
