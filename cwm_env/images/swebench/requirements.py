"""Lists of requirements: read from a repository's files, joined, and made shorter where pip says what cannot be had."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from packaging.requirements import InvalidRequirement, Requirement

from cwm_env.images.recipe import canonical

_DEPTH = 4
_MISSING = re.compile(
    r"(?:No matching distribution found for|Could not find a version that satisfies the requirement|"
    r"Failed (?:building wheel|to build) (?:installable wheels )?(?:for)?|Building wheel for) '?([A-Za-z0-9._-]+)"
)
_CONFLICT = re.compile(r"Cannot install (.+?) because these package versions have conflicting dependencies")
_LINE = re.compile(r"-r \S+ \(line (\d+)\)")


def read(name: str, reading: Callable[[str], str | None], depth: int = 0) -> Iterator[str]:
    """The requirements of a file and of those that it names; without the repository itself, addresses and options."""
    text = reading(name) or ""
    for line in text.replace("\\\n", " ").splitlines():
        bare = re.sub(r"(^|\s)#.*|\s--hash=\S+", "", line).strip()
        if match := re.match(r"(?:-r|--requirement)[ =]?\s*(\S+)", bare):
            inner = posixpath.normpath(posixpath.join(posixpath.dirname(name), match[1]))
            if depth < _DEPTH and not inner.startswith(("/", "..")):
                yield from read(inner, reading, depth + 1)
        elif bare and name_of(bare):
            yield bare


def name_of(requirement: str) -> str:
    """The canonical name of the project that is required; empty for what is no requirement of the index."""
    try:
        found = Requirement(requirement)
    except InvalidRequirement:
        return ""
    return "" if found.url else canonical(found.name)


def pinned(requirements: Iterable[str]) -> dict[str, str]:
    """Names and versions of those that name exactly one."""
    found = {}
    for requirement in requirements:
        match = re.fullmatch(r"\s*([A-Za-z0-9._-]+)\s*===?\s*([A-Za-z0-9.!+_-]+)\s*(?:;.*)?", requirement)
        if match:
            found[canonical(match[1])] = match[2]
    return found


def joined(*lists: Sequence[str]) -> list[str]:
    """One list; what a later one says of a project takes the place of what an earlier one said, as with pip."""
    found: list[str] = []
    for each in lists:
        names = {name_of(requirement) for requirement in each}
        found = [old for old in found if name_of(old) not in names] + list(each)
    return list(dict.fromkeys(found))


def without_culprits(requirements: Sequence[str], said: str, firm: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """The requirements that pip's words do not blame, and the others.

    Args:
        firm: requirements that stay where they and others exclude each other.
    """
    blamed = {canonical(name) for name in _MISSING.findall(said)}
    stays = {name_of(each) for each in firm}
    for triggers in _CONFLICT.findall(said):
        lines = [requirements[int(number) - 1] for number in _LINE.findall(triggers)]
        named = [each for each in re.split(r", | and ", triggers) if name_of(each)]
        names = {name_of(each) for each in (*lines, *named)} & {name_of(each) for each in requirements}
        blamed |= names - stays or names  # what the repository itself asks for is installed last, and wins
    return (
        [each for each in requirements if name_of(each) not in blamed],
        [each for each in requirements if name_of(each) in blamed],
    )
