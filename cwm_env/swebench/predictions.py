"""Predictions in the official format, and the two that need no file: ``gold`` and ``empty``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cwm_env.errors import InputError
from cwm_env.tasks.swebench import Record

GOLD = "gold"
EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model answered to one instance."""

    instance_id: str
    model: str
    patch: str | None
    """In git's format; empty or None where there was no answer."""
    untouched: bool = False
    """Whether it stands for the repository as it is, whose tests are to run all the same."""

    @property
    def directory(self) -> str:
        """The model's name as the official harness writes it in paths."""
        return self.model.replace("/", "__")

    @property
    def official(self) -> dict[str, Any]:
        """As the official format has it."""
        return {"instance_id": self.instance_id, "model_name_or_path": self.model, "model_patch": self.patch}


def load_predictions(source: str, records: Iterable[Record]) -> dict[str, Prediction]:
    """The predictions for ``records``, by instance.

    Args:
        source: ``gold``; ``empty``, which leaves the repository as it is; or a file: a list in JSON, JSON lines, or an
            object by instance.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    if source == GOLD:
        return {each.instance_id: Prediction(each.instance_id, GOLD, _gold(each)) for each in records}
    if source == EMPTY:
        return {each.instance_id: Prediction(each.instance_id, EMPTY, "", untouched=True) for each in records}
    wanted = {each.instance_id for each in records}
    found = [_parse(value, f"{source}, prediction {number}") for number, value in enumerate(_values(source), 1)]
    if twice := [each.instance_id for index, each in enumerate(found) if each.instance_id in _ids(found[:index])]:
        raise InputError(f"{source}: {twice[0]} has more than one prediction")
    return {each.instance_id: each for each in found if each.instance_id in wanted}


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Write predictions as JSON lines.

    Raises:
        InputError: the file cannot be written.
    """
    lines = [json.dumps(each.official) + "\n" for each in predictions]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None


def _gold(record: Record) -> str:
    if record.patch_is_bug:
        raise InputError(f"{record.instance_id}: the record's patch is the bug, and it has no fix as a patch")
    return record.patch


def _values(source: str) -> list[Any]:
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in text.split("\n") if line.strip()]
        data = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{source}: cannot be read as predictions: {error}") from None
    if isinstance(data, Mapping) and "instance_id" not in data:
        return [{"instance_id": name, **value} if isinstance(value, Mapping) else value for name, value in data.items()]
    return data if isinstance(data, list) else [data]


def _parse(value: Any, where: str) -> Prediction:
    if not isinstance(value, Mapping) or not isinstance(value.get("instance_id"), str):
        raise InputError(f"{where}: expected an object with an instance_id")
    patch, model = value.get("model_patch"), value.get("model_name_or_path", "None")
    if not (patch is None or isinstance(patch, str)) or not isinstance(model, str) or not model:
        raise InputError(f"{where}: model_patch and model_name_or_path are text")
    if model in (".", "..") or "\0" in model:
        raise InputError(f"{where}: {model!r} is no name of a model")
    return Prediction(value["instance_id"], model, patch)


def _ids(predictions: Iterable[Prediction]) -> set[str]:
    return {each.instance_id for each in predictions}
