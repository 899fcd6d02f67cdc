"""A ``Trajectory`` as one line of JSON, and back.

The line is ASCII: bytes that are not UTF-8 stand as surrogate escapes, which JSON carries and UTF-8 does not.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from cwm_env.types import Trajectory

FORMAT = 1
"""Stands in each line as ``format``; a reader refuses what it does not know."""


def encode(trajectory: Trajectory) -> bytes:
    """The line, with its newline."""
    data = {"format": FORMAT, **dataclasses.asdict(trajectory)}
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Trajectory:
    """The trajectory in a line.

    Raises:
        ValueError: it is not one; the message names the key.
    """
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from None
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise ValueError(f"is not a trajectory of format {FORMAT}")
    trajectory = _build(Trajectory, data, "")
    assert isinstance(trajectory, Trajectory)
    return trajectory


def _build(kind: Any, data: Any, where: str) -> Any:
    """``data`` as the type ``kind``: dataclasses, tuples, mappings, unions with None, and what JSON has itself."""
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, data, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple and isinstance(data, list):
        return tuple(_build(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(data))
    if origin is Mapping and isinstance(data, dict):
        return {key: _build(arguments[1], value, f"{where}.{key}") for key, value in data.items()}
    if type(None) in arguments:
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return None if data is None else _build(inner, data, where)
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    # What is left are str, int, float, bool, and a Literal, whose values list what may stand there.
    if data in arguments if arguments else type(data) is kind:
        return data
    raise ValueError(f"{where}: {str(data)[:60]!r} cannot stand there")


def _build_dataclass(kind: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise ValueError(f"{where}: expected an object, got {type(data).__name__}")
    hints = _hints(kind)
    if unknown := set(data) - set(hints):
        raise ValueError(f"{where}: unknown key {min(unknown)!r}")
    try:
        return kind(**{name: _build(hints[name], value, f"{where}.{name}".lstrip(".")) for name, value in data.items()})
    except TypeError as error:  # a key without a default is missing
        raise ValueError(f"{where}: {error}") from None


_hints = cache(get_type_hints)  # it compiles every annotation anew
