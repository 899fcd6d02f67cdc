"""Tests that the gold fix leaves skipped, or failing as expected: seen once for each record, and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import get_args

from cwm_env.errors import TaskError
from cwm_env.paths import cache_dir
from cwm_env.tasks.swebench.records import Record
from cwm_env.types import TestStatus

Excused = tuple[tuple[str, TestStatus], ...]
"""As ``HiddenTests.excused``."""


def excused(record: Record) -> Excused | None:
    """What was seen of this very record; None where nobody has looked yet."""
    path = cache_dir() / "swebench" / "excused" / f"{record.instance_id}.json"
    try:
        data = json.loads(path.read_bytes())
        if data["of"] != _digest(record):
            return None
        return tuple((str(name), status) for name, status in data["excused"] if status in get_args(TestStatus))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(record: Record, found: Excused) -> None:
    """Keep what was seen.

    Raises:
        TaskError: it cannot be written.
    """
    place = cache_dir() / "swebench" / "excused"
    try:
        place.mkdir(parents=True, exist_ok=True)
        beside = place / f".{secrets.token_hex(8)}"
        beside.write_text(json.dumps({"of": _digest(record), "excused": found}), encoding="utf-8")
        beside.rename(place / f"{record.instance_id}.json")
    except OSError as error:
        raise TaskError(f"{place}: cannot be written: {error.strerror}") from None


def _digest(record: Record) -> str:
    what = [record.patch, record.test_patch, record.fail_to_pass, record.pass_to_pass]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()
