"""``tests/expected.json``: which tests must pass, in SWE-bench's words."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from cwm_env.errors import TaskError
from cwm_env.types import Task

_KEYS = ("FAIL_TO_PASS", "PASS_TO_PASS")


def read_expected(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """``FAIL_TO_PASS`` and ``PASS_TO_PASS`` of a file; both empty where there is none, as before a first validation.

    Raises:
        TaskError: the file is broken.
    """
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return (), ()
    except (OSError, ValueError, RecursionError) as error:
        raise TaskError(f"{path}: cannot be read: {error}") from None
    if not isinstance(data, dict) or set(data) != set(_KEYS):
        raise TaskError(f'{path}: expected {{"FAIL_TO_PASS": [...], "PASS_TO_PASS": [...]}} and no other key')
    lists = {key: _names(path, key, data[key]) for key in _KEYS}
    if both := set(lists[_KEYS[0]]) & set(lists[_KEYS[1]]):
        raise TaskError(f"{path}: {min(both)!r} stands in both FAIL_TO_PASS and PASS_TO_PASS")
    return lists[_KEYS[0]], lists[_KEYS[1]]


def write_expected(task: Task, fail_to_pass: Iterable[str], pass_to_pass: Iterable[str]) -> None:
    """Write the task's ``tests/expected.json``, in one piece: a reader sees the old file or the new one.

    Raises:
        TaskError: a test stands in both lists, or the file cannot be written.
    """
    path = task.tests.directory / "expected.json"
    lists = {"FAIL_TO_PASS": sorted(set(fail_to_pass)), "PASS_TO_PASS": sorted(set(pass_to_pass))}
    if both := set(lists["FAIL_TO_PASS"]) & set(lists["PASS_TO_PASS"]):
        raise TaskError(f"{path}: {min(both)!r} cannot stand in both FAIL_TO_PASS and PASS_TO_PASS")
    text = json.dumps(lists, indent=1) + "\n"
    # In the same directory, because only there is a rename atomic.
    beside = path.with_name(f".expected-{secrets.token_hex(8)}.json")
    try:
        with beside.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise TaskError(f"{path}: cannot be written: {error.strerror}") from None


def _names(path: Path, key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TaskError(f"{path}: {key}: expected a list of test ids, got {type(value).__name__}")
    for name in value:
        if not isinstance(name, str) or not name:
            raise TaskError(f"{path}: {key}: expected test ids as text, got {name!r}")
    if len(set(value)) != len(value):
        twice = next(name for name in value if value.count(name) > 1)
        raise TaskError(f"{path}: {key}: {twice!r} stands there twice")
    return tuple(value)
