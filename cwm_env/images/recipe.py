"""``image.toml``: what an image is made of, and the recipes that it stands on."""

from __future__ import annotations

import difflib
import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from cwm_env import toml_errors
from cwm_env.errors import RecipeError
from cwm_env.paths import data_dir
from cwm_env.toml_errors import shown

HOST = "host"
DEBIAN = "debian:bookworm"

# Where a repository cannot lie: file systems of the kernel, scratch space, and what may be mounted read-only.
_TAKEN = ("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "sys", "tmp", "usr")


def _pinned(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?==[A-Za-z0-9.!+_-]+", text):
        raise ValueError(f"expected name==version, got {text!r}: every package is pinned, the whole closure")
    return text


def _directory(text: str) -> str:
    if not text.startswith("/") or posixpath.normpath(text) != text or text.startswith("//") or "\0" in text:
        raise ValueError(f"expected an absolute path without '..' or a final '/', got {text!r}")
    if text == "/" or text.split("/")[1] in _TAKEN:
        raise ValueError(f"{text!r} belongs to the system; take a directory such as '/repo'")
    return text


_Text = Annotated[str, Field(min_length=1)]
_Directory = Annotated[str, AfterValidator(_directory)]
_PATTERNS = {
    "sha256": r"[0-9a-f]{64}",
    "debian": r"[a-z0-9][a-z0-9.+-]*",
    "user": r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[0-9]+)?",
    "env": r"[A-Za-z_][A-Za-z0-9_]*",
    "name": r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?",
}


def _shape(key: str, what: str) -> AfterValidator:
    """The whole text must match the pattern of ``key``."""

    def check(text: str) -> str:
        if not re.fullmatch(_PATTERNS[key], text):
            raise ValueError(f"expected {what}, got {text!r}")
        return text

    return AfterValidator(check)


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Source(_Table):
    """``[[source]]``: a source distribution of the package index, unpacked without its top directory."""

    name: Annotated[str, _shape("name", "a project's name")]
    version: _Text
    sha256: Annotated[str, _shape("sha256", "64 hexadecimal digits in lower case")]
    path: _Directory | None = None
    """Where it is unpacked; None for the workdir."""


class Recipe(_Table):
    """The whole file."""

    base: _Text
    debian: list[Annotated[str, _shape("debian", "the name of a Debian package")]] | None = None
    python: list[Annotated[str, AfterValidator(_pinned)]] = []
    setup: str = ""
    workdir: _Directory | None = None
    user: Annotated[str, _shape("user", "a user's name, or UID[:GID]")] | None = None
    env: dict[Annotated[str, _shape("env", "the name of a variable")], str] = {}
    source: list[Source] = []


@dataclass(frozen=True, slots=True)
class Named:
    """A recipe, and where it was read."""

    name: str
    """The shipped image's name, or the path of the directory."""
    file: Path
    recipe: Recipe

    def refuse(self, key: str, problem: str) -> RecipeError:
        """The error for what is wrong with ``key``."""
        return RecipeError(f"{self.file}: {key}: {problem}")


def shipped() -> list[str]:
    """Names of the shipped images, sorted."""
    return sorted(file.parent.name for file in data_dir("images").glob("*/image.toml"))


def chain(name: str) -> tuple[Named, ...]:
    """The recipe that ``name`` means, after those that it stands on; the first one's base is no recipe.

    Raises:
        RecipeError: one of them is unknown or does not hold together.
    """
    found = [_read(*_find(name))]
    while (base := found[0].recipe.base) not in (HOST, DEBIAN):
        if base not in shipped():
            raise found[0].refuse("base", f"there is no image {shown(base)}{_meant(base, HOST, DEBIAN)}")
        if base in [named.name for named in found]:
            raise found[0].refuse("base", f"{base!r} would stand on itself")
        found.insert(0, _read(base, data_dir("images") / base))
    for position, named in enumerate(found):
        _check(named, found[:position])
    return tuple(found)


def canonical(requirement: str) -> str:
    """A project's name, or ``name==version``, with the name as the package index compares it."""
    name, equals, version = requirement.partition("==")
    return re.sub(r"[-_.]+", "-", name).lower() + equals + version


def _find(name: str) -> tuple[str, Path]:
    """The name and the directory. A shipped name wins over a directory of the same name."""
    if name in shipped():
        return name, data_dir("images") / name
    directory = Path(name)
    try:
        if not name or not directory.is_dir():
            raise ValueError
    except (OSError, ValueError):
        if os.sep in name:
            raise RecipeError(f"{name}: no such directory; an image's directory holds an image.toml") from None
        raise RecipeError(f"there is no image {shown(name)}{_meant(name)}; a path needs a '/'") from None
    return str(directory.resolve()), directory


def _read(name: str, directory: Path) -> Named:
    file = directory / "image.toml"
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(f"{file}: no such file; an image's directory holds one") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{file}: is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise RecipeError(f"{file}: cannot be read: {error.strerror}") from None
    try:
        return Named(name, file, toml_errors.check(Recipe, toml_errors.read(text), keys=_keys))
    except ValueError as error:
        raise RecipeError(f"{file}: {error}") from None


def _keys(location: tuple[str | int, ...]) -> list[str]:
    table = Source if location[0] == "source" and len(location) > 1 else Recipe
    return list(table.model_fields)


def _check(named: Named, below: list[Named]) -> None:
    """What holds between keys, and between a recipe and those that it stands on."""
    recipe = named.recipe
    if recipe.debian is not None and recipe.base == HOST:
        raise named.refuse(
            "debian",
            f"base {HOST!r} has the packages that this machine has: install them here, or take base = {DEBIAN!r}",
        )
    if recipe.debian is not None and below:
        raise named.refuse(
            "debian", f"the system of base {recipe.base!r} is complete: take base = {DEBIAN!r} and list what you need"
        )
    names = [canonical(requirement).partition("==")[0] for requirement in recipe.python]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise named.refuse("python", f"{twice!r} stands there twice")
    if names and "pip" not in names and not any(lower.recipe.python for lower in below):
        raise named.refuse("python", "pip==… is missing: it installs the others")
    if names and below and below[0].recipe.base == DEBIAN and not below[0].recipe.python:
        raise named.refuse("python", f"base {recipe.base!r} has no Python environment: list a package there first")


def _meant(name: str, *bases: str) -> str:
    known = [*shipped(), *bases]
    close = difflib.get_close_matches(name, known, 2)
    return f": did you mean {' or '.join(close)}?" if close else f"; there are {', '.join(known)}"
