"""Records of SWE-bench and its kin, from JSON, JSON lines, parquet, or a data set's name.

Layouts differ in few things: ``swebench`` 4 writes lists of tests as JSON in text, ``swebench`` 5 as lists; SWE-rebench
has ``install_config``; SWE-smith's ``patch`` is the bug, so that its fix is the reverse.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cwm_env.errors import TaskError

_REQUIRED = ("instance_id", "repo", "FAIL_TO_PASS")
_IMAGES = ("image", "image_name", "docker_image")
_TEXTS = (
    *("instance_id", "repo", "base_commit", "patch", "test_patch", "problem_statement", "hints_text"),
    *("environment_setup_commit", "eval_script", "log_parser", *_IMAGES),
)


@dataclass(frozen=True, slots=True)
class Record:
    """One instance."""

    instance_id: str
    repo: str
    """``OWNER/NAME``."""
    base_commit: str
    patch: str
    """The gold fix, or the bug where ``patch_is_bug``."""
    test_patch: str
    problem_statement: str
    hints: str
    version: str
    fail_to_pass: tuple[str, ...]
    pass_to_pass: tuple[str, ...]
    environment_setup_commit: str
    created_at: str
    eval_script: str
    """Bash that applies the test patch and runs the tests between markers; empty where the layout has none."""
    log_parser: str
    """Name of the official parser of its log; empty where the layout has none."""
    image: str
    """Name of the official image; empty where the layout has none."""
    datasets: tuple[str, ...]
    raw: Mapping[str, Any]
    """The row as it was read."""
    patch_is_bug: bool = False
    problems: tuple[str, ...] = ()
    """What is broken in it, a sentence each."""


def load(source: str | Path, split: str | None = None) -> list[Record]:
    """The records of a file, or of a data set.

    Args:
        source: a file that ends in ``.json``, ``.jsonl`` or ``.parquet``; or a data set's name or a folder in the hub's
            layout, for which the extra ``swebench`` must be installed.
        split: of a data set; None for all of them.

    Raises:
        TaskError: it cannot be read, or a row is no record.
    """
    path = Path(source)
    try:
        rows = list(_rows_of_file(path) if path.is_file() else _rows_of_dataset(str(source), split))
    except (OSError, ValueError, RecursionError) as error:
        raise TaskError(f"{source}: cannot be read as SWE-bench records: {error}") from None
    return [parse(row, where=f"{source}, row {number}") for number, row in enumerate(rows, 1)]


def parse(row: Any, *, where: str = "record") -> Record:
    """The record of one row.

    Args:
        where: what an error calls the row.

    Raises:
        TaskError: it lacks what every record has, or holds it in another form.
    """
    if not isinstance(row, Mapping):
        raise TaskError(f"{where}: expected an object, got {type(row).__name__}")
    if missing := [key for key in _REQUIRED if (not row.get(key) and key != "FAIL_TO_PASS") or key not in row]:
        raise TaskError(f"{where}: has no {missing[0]!r}, which every SWE-bench record has")
    lists = {key: _names(where, key, row.get(key)) for key in ("FAIL_TO_PASS", "PASS_TO_PASS")}
    text = {key: _text(where, key, row.get(key)) for key in _TEXTS}
    bug = text["repo"].startswith("swesmith/")
    return Record(
        instance_id=text["instance_id"],
        repo=text["repo"],
        base_commit=text["base_commit"],
        patch=text["patch"],
        test_patch=text["test_patch"],
        problem_statement=text["problem_statement"],
        hints=text["hints_text"],
        version=str(row.get("version") or ""),
        fail_to_pass=lists["FAIL_TO_PASS"],
        pass_to_pass=lists["PASS_TO_PASS"],
        environment_setup_commit=text["environment_setup_commit"],
        created_at=str(row.get("created_at") or ""),
        eval_script=text["eval_script"],
        log_parser=text["log_parser"],
        image=next((text[key] for key in _IMAGES if text[key]), ""),
        datasets=_names(where, "datasets", row.get("datasets")),
        raw=dict(row),
        patch_is_bug=bug,
        problems=tuple(_problems(text, lists, bug)),
    )


def is_id(text: str) -> bool:
    """Whether a record may be called so: it becomes the name of a file, and an argument of commands."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}", text) is not None


def is_truncated(name: str) -> bool:
    """Whether a test's id was cut at a blank inside its brackets, as the official parsers cut them."""
    return "::" in name and "[" in name and not name.endswith("]")


def _rows_of_file(path: Path) -> Iterable[Any]:
    if path.suffix == ".parquet":
        return _rows_of_parquet(path)
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    if path.suffix == ".json":
        data = json.loads(text)
        return data if isinstance(data, list) else [data] if "instance_id" in data else data.values()
    raise TaskError(f"{path}: is no file of records: take one that ends in .json, .jsonl or .parquet")


def _rows_of_parquet(path: Path) -> list[Any]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise TaskError(f"{path}: parquet needs pyarrow: pip install 'cwm-env[swebench]'") from None
    rows: list[Any] = parquet.read_table(path).to_pylist()
    return rows


def _rows_of_dataset(name: str, split: str | None) -> Iterable[Any]:
    if not Path(name).exists() and name.endswith((".json", ".jsonl", ".parquet")):
        raise TaskError(f"{name}: no such file")
    try:
        import datasets
    except ImportError:
        raise TaskError(f"{name}: a data set needs `datasets`: pip install 'cwm-env[swebench]'") from None
    found = datasets.load_dataset(name, split=split)
    parts = [found] if split is not None else list(found.values())
    return [row for part in parts for row in part]


def _names(where: str, key: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise TaskError(f"{where}: {key}: expected a list of names, as a list or as JSON") from None
    value = [] if value is None else value
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise TaskError(f"{where}: {key}: expected a list of names, got {type(value).__name__}")
    return tuple(value)


def _text(where: str, key: str, value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise TaskError(f"{where}: {key}: expected text, got {type(value).__name__}")
    if key == "instance_id" and value and not is_id(value):
        raise TaskError(f"{where}: instance_id: {value[:80]!r} is no name of letters, digits, '.', '-' and '_'")
    return value or ""


def _problems(text: Mapping[str, str], lists: Mapping[str, tuple[str, ...]], bug: bool) -> Iterable[str]:
    if not lists["FAIL_TO_PASS"]:
        yield "FAIL_TO_PASS is empty: nothing shows that the fix works."
    if not lists["PASS_TO_PASS"]:
        yield "PASS_TO_PASS is empty: nothing shows that the fix breaks nothing."
    for key, names in lists.items():
        cut = [name for name in names if is_truncated(name)]
        if cut:
            yield f"{len(cut)} ids in {key} are truncated at a blank, first {cut[0]!r}."
    for key in ("patch", "problem_statement") + (() if bug else ("base_commit", "test_patch")):
        if not text[key].strip():
            yield f"{key} is empty."
