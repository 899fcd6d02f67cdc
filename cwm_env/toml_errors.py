"""TOML that people write, checked strictly: an error is one clause that names the key and says what is wrong."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

_Model = TypeVar("_Model", bound=BaseModel)
_Location = tuple[str | int, ...]

_EXPECTED = {
    "float_type": "a number",
    "int_type": "a whole number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "finite_number": "a finite number",
    "greater_than": "more than 0",
    "greater_than_equal": "0 or more",
    "string_too_short": "text that is not empty",
}


def read(text: str) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ValueError: it is not TOML.
    """
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"not valid TOML: {error}") from None


def check(
    model: type[_Model],
    data: Mapping[str, Any],
    *,
    keys: Callable[[_Location], Iterable[str]],
    expected: Mapping[str, str] | None = None,
) -> _Model:
    """``data`` as a ``model``.

    Args:
        keys: the keys that may stand in the table of a misspelt one, whose location it is given.
        expected: words for further types of pydantic's errors, such as ``string_pattern_mismatch``.

    Raises:
        ValueError: the first thing that is wrong.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ValueError(_first_of(error, keys, {**_EXPECTED, **(expected or {})})) from None


def _first_of(error: ValidationError, keys: Callable[[_Location], Iterable[str]], expected: Mapping[str, str]) -> str:
    first = error.errors(include_url=False)[0]
    where = _key(first["loc"])
    if first["type"] == "missing":
        return f"{where}: must be given"
    if first["type"] == "extra_forbidden":
        return f"{where}: no such key{_meant(str(first['loc'][-1]), keys(first['loc']))}"
    if first["type"] == "value_error":  # a validator's own words
        return f"{where}: {first['ctx']['error']}"
    wanted = first["ctx"]["expected"] if first["type"] == "literal_error" else expected.get(first["type"], first["msg"])
    return f"{where}: expected {wanted}, got {shown(first['input'])}"


def _key(location: _Location) -> str:
    """``key``, ``key[0]``, ``[table] key``, or ``tables[0].key`` for an array of tables."""
    parts = [part for part in location if part != "[key]"]  # pydantic's mark for a key that is wrong itself
    if any(isinstance(part, int) for part in parts[:-1]):
        return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")
    names = [str(part) for part in parts if isinstance(part, str)]
    index = "".join(f"[{part}]" for part in parts if isinstance(part, int))
    table = f"[{'.'.join(names[:-1])}] " if len(names) > 1 else ""
    return f"{table}{names[-1]}{index}"


def _meant(key: str, known: Iterable[str]) -> str:
    known = sorted(known)
    close = difflib.get_close_matches(key, known, 1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"


def shown(value: object) -> str:
    """A value as it may stand in a message: at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
