"""Projects that pip brings along: a later pip would show their later release, with the fix in it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from packaging.version import Version

from cwm_env.images.interpreters import Interpreter
from cwm_env.images.recipe import canonical
from cwm_env.images.swebench.index import Upstream

_VENDORED = frozenset(
    {
        *("cachecontrol", "certifi", "chardet", "colorama", "distlib", "idna", "msgpack", "packaging", "platformdirs"),
        *("pygments", "pyparsing", "requests", "resolvelib", "rich", "six", "tenacity", "tomli", "truststore"),
        *("typing-extensions", "urllib3", "webencodings"),
    }
)
_WHEELS = "/usr/share/python-wheels"


def holds(project: str) -> bool:
    """Whether pip brings a project along."""
    return canonical(project) in _VENDORED


def hidden(python: Interpreter) -> tuple[str, ...]:
    """Directories of the machine with wheels of pip, which appear empty."""
    places = (f"{python.prefix.rstrip('/')}/lib/python{python.minor}/ensurepip/_bundled", _WHEELS)
    return tuple(place for place in places if Path(place).is_dir())


def with_older_pip(pins: Sequence[str], made: datetime, upstream: Upstream) -> list[str]:
    """The same pins with the pip of the record's day."""
    releases = [
        Version(file.version)
        for file in upstream.page("pip")
        if file.version and file.filename.endswith("-none-any.whl") and file.upload_time and file.upload_time <= made
    ]
    stable = [version for version in releases if not version.is_prerelease]
    others = [pin for pin in pins if not pin.startswith("pip==")]
    return [*others, f"pip=={max(stable)}"] if stable else list(pins)
