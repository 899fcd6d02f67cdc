"""Records that were imported: one JSON file each, ``swebench/records/ID.json`` in the cache."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from pathlib import Path

from cwm_env.errors import TaskError
from cwm_env.paths import cache_dir
from cwm_env.tasks.swebench.records import Record, is_id, parse
from cwm_env.tasks.swebench.task import task_of
from cwm_env.types import Task

_REMEDY = "`cwm-env tasks import swebench FILE` keeps a file's records"


def keep(records: Iterable[Record]) -> None:
    """Keep records, in place of earlier ones with their ids.

    Raises:
        TaskError: one cannot be written.
    """
    place = cache_dir() / "swebench" / "records"
    try:
        place.mkdir(parents=True, exist_ok=True)
        for record in records:
            beside = place / f".{secrets.token_hex(8)}"
            beside.write_text(json.dumps(dict(record.raw), default=str), encoding="utf-8")
            beside.rename(place / f"{record.instance_id}.json")
    except OSError as error:
        raise TaskError(f"{place}: cannot be written: {error.strerror}") from None


def kept_ids() -> list[str]:
    """Ids of the kept records, sorted."""
    return sorted(path.stem for path in (cache_dir() / "swebench" / "records").glob("[!.]*.json"))


def kept(instance_id: str) -> Record:
    """A kept record.

    Raises:
        TaskError: it is not there, or broken.
    """
    path = cache_dir() / "swebench" / "records" / f"{instance_id}.json"
    if not is_id(instance_id) or not path.is_file():
        raise TaskError(f"there is no SWE-bench record {instance_id!r}: {_REMEDY}")
    try:
        return parse(json.loads(path.read_bytes()), where=str(path))
    except (OSError, ValueError) as error:
        raise TaskError(f"{path}: cannot be read: {error}") from None


def kept_task(instance_id: str) -> Task:
    """The task of a kept record, in the image ``swebench:ID``, which ``cwm-env swebench build`` builds.

    Raises:
        TaskError: the record is not there, or broken.
    """
    return task_of(kept(instance_id), f"swebench:{instance_id}", no_tests())


def no_tests() -> Path:
    """An empty directory, for the hidden tests that are all in a patch.

    Raises:
        TaskError: it cannot be made.
    """
    tests = cache_dir() / "swebench" / "no-tests"
    try:
        tests.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TaskError(f"{tests}: cannot be made: {error.strerror}") from None
    return tests
