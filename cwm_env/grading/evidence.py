"""What is known of a task's admission, kept by the digest of its files: outside the task, which may be read-only.

A release of the package brings evidence of its shipped tasks in ``tasks/admissions/``; what was found out on this
machine lies in the cache and goes first.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cwm_env import __version__
from cwm_env.errors import DiskFull, TaskError
from cwm_env.grading.admission import Admission
from cwm_env.paths import cache_dir, data_dir
from cwm_env.tasks import digest
from cwm_env.types import Image, Task


def keep(task: Task, image: Image, admission: Admission) -> Path:
    """Write what was found, in one piece; returns the file.

    Raises:
        TaskError: the task was not read from a directory.
        DiskFull: it cannot be written.
    """
    name = digest(task)
    found = {
        "task": task.id,
        "digest": name,
        "image": image.digest,
        "admitted": admission.admitted,
        "problems": list(admission.problems),
        "untouched": admission.untouched.outcome,
        "gold": [grade.outcome for grade in admission.gold],
        "trusted": all(grade.trusted for grade in admission.gold),
        "forged": dict(admission.forged),
        "grading_seconds": round(max(grade.duration for grade in admission.gold), 3),
        "seconds": round(admission.duration, 3),
        "version": __version__,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path = _file(cache_dir() / "admissions", name)
    beside = path.with_name(f".{secrets.token_hex(8)}.json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise DiskFull(f"{path}: cannot be written: {error.strerror}") from None
    return path


def find(task: Task) -> Mapping[str, Any] | None:
    """What is known of a task as it is now; None where nothing is, as for a task that no directory holds."""
    try:
        name = digest(task)
    except TaskError:
        return None
    for directory in (cache_dir() / "admissions", data_dir("tasks") / "admissions"):
        try:
            found: dict[str, Any] = json.loads(_file(directory, name).read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(found, dict) and found.get("digest") == name:
            return found
    return None


def _file(directory: Path, name: str) -> Path:
    return directory / f"{name.removeprefix('sha256:')}.json"
