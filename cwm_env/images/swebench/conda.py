"""The pinned environment of an official image, ``environment.yml``, as packages of the Python package index.

Conda's part names the interpreter, native libraries, and Python packages, which are told by their build
(``py39h06a4308_0``, ``pyhd8ed1ab_0``) and may have another name there. Native libraries come with the wheels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cwm_env.errors import InputError
from cwm_env.images.recipe import canonical

_PURE = re.compile(r"(^|_)py(\d|_|h|ge\d)")
_NAMES = {
    "antlr-python-runtime": "antlr4-python3-runtime",
    "brotli-python": "brotli",
    "dask-core": "dask",
    "graphviz": "",  # the programs; python-graphviz is the package
    "iris": "scitools-iris",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "pytables": "tables",
    "python-fastjsonschema": "fastjsonschema",
    "python-graphviz": "graphviz",
    "python-tzdata": "tzdata",
    "python-xxhash": "xxhash",
    "pytorch": "torch",
    "seaborn-base": "seaborn",
}
"""Conda's name to the index's where they differ; an empty one is no Python package."""
_NATIVE = ("python", "python-abi", "hdf5", "libnetcdf", "netcdf-fortran", "openssl", "setuptools-scm-git-archive")


@dataclass(frozen=True, slots=True)
class Pinned:
    """What a file says."""

    python: str
    """Such as ``3.9.20``."""
    pins: tuple[str, ...]
    """``name==version``, canonical, sorted."""


def read(path: Path) -> Pinned:
    """Read the ``environment.yml`` of an official image.

    Raises:
        InputError: it cannot be read, or names no Python.
    """
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def parse(text: str, where: str) -> Pinned:
    """The same of its text.

    Raises:
        InputError: it names no Python.
    """
    python, pins = "", {}
    for name, version, build in _entries(text.splitlines()):
        if name == "python":
            python = version
        elif found := (canonical(name) if build is None else on_index(name) if _PURE.search(build) else ""):
            pins[found] = version
    if not python:
        raise InputError(f"{where}: names no Python among its dependencies")
    return Pinned(python, tuple(sorted(f"{name}=={version}" for name, version in pins.items())))


def on_index(name: str) -> str:
    """What the package index calls a package of conda; empty for what is no Python package."""
    known = canonical(name)
    return "" if known in _NATIVE else _NAMES.get(known, known)


def loose(text: str) -> tuple[str, ...]:
    """The requirements that an ``environment.yml`` without pins names, as the index calls them."""
    found = []
    for line in _listed(text.splitlines()):
        name, rest = re.fullmatch(r"([A-Za-z0-9._-]+)(.*)", line.strip().strip("'\"")).groups()  # type: ignore[union-attr]
        if known := on_index(name):
            found.append(known + re.sub(r"^\s*=(?!=)\s*([\w.]+).*", r"==\1.*", rest).replace(" ", ""))
    return tuple(found)


def _listed(lines: list[str]) -> list[str]:
    """The entries below ``dependencies``, pip's among them."""
    found, inside = [], False
    for line in lines:
        bare = line.split("#")[0].rstrip()
        if bare and not bare.startswith((" ", "-")):
            inside = bare.startswith("dependencies")
        entry = bare.strip().removeprefix("-").strip()
        if inside and bare.strip().startswith("- ") and not entry.endswith(":"):
            found.append(entry)
    return found


def _entries(lines: list[str]) -> list[tuple[str, str, str | None]]:
    """Name, version and conda's build, which is None for what pip installed; pip's word comes last, as it won."""
    found: list[tuple[str, str, str | None]] = []
    for entry in _listed(lines):
        if match := re.fullmatch(r"([A-Za-z0-9._-]+)==([^\s=]+)", entry):
            found.append((match[1], match[2], None))
        elif match := re.fullmatch(r"([A-Za-z0-9._-]+)=([^=\s]+)=(\S+)", entry):
            found.append((match[1], match[2], match[3]))
    return found
