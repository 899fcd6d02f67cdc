"""Wheels of the index that an interpreter of this machine takes, chosen and fetched without running anything."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from packaging.tags import Tag, compatible_tags, cpython_tags, platform_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from cwm_env.images.downloads import Downloads, PythonTag
from cwm_env.images.swebench.index import File, Upstream

_THREADS = 8


@cache
def accepted(minor: str) -> dict[Tag, int]:
    """The tags that CPython of a version such as ``3.9`` takes on this machine, and their rank; the least is best."""
    numbers = [int(part) for part in minor.split(".")]
    platforms = list(platform_tags())
    name = f"cp{numbers[0]}{numbers[1]}"
    tags = [*cpython_tags(numbers, platforms=platforms), *compatible_tags(numbers, name, platforms)]
    return {tag: rank for rank, tag in reversed(list(enumerate(tags)))}


def best(upstream: Upstream, pin: str, minor: str) -> File | None:
    """The wheel of ``name==version`` that pip would take; None where there is none.

    Raises:
        ImageError: the index cannot be reached.
    """
    name, _, version = pin.partition("==")
    ranks = accepted(minor)
    found: list[tuple[int, File]] = []
    for file in upstream.page(name):
        if file.package_type == "wheel" and file.version and _same(file.version, version):
            try:
                tags = parse_wheel_filename(file.filename)[3]
            except InvalidWheelFilename:
                continue
            if known := [ranks[tag] for tag in tags if tag in ranks]:
                found.append((min(known), File(file.filename, file.digests["sha256"])))
    return min(found, key=lambda each: each[0])[1] if found else None


def pick(upstream: Upstream, pins: Sequence[str], tag: PythonTag, minor: str, downloads: Downloads) -> None:
    """Keep the wheels of those pins that have one.

    Raises:
        ImageError: the index cannot be reached.
    """

    def one(pin: str) -> None:
        file = best(upstream, pin, minor)
        if file is None:
            return
        path = upstream.fetch(file)
        with tempfile.TemporaryDirectory(prefix=".", dir=downloads.directory) as room:
            downloads.keep(tag, pin, Path(shutil.copyfile(path, Path(room) / file.name)))

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="cwm-env wheels") as pool:
        list(pool.map(one, pins))


def _same(one: str, other: str) -> bool:
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other
