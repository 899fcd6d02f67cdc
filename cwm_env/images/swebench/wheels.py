"""A workshop: a sandbox with an interpreter, its pip, and no network but an index of ours; wheels come out of it."""

from __future__ import annotations

import contextlib
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from packaging.utils import canonicalize_version

from cwm_env.errors import ImageError
from cwm_env.images import build
from cwm_env.images.downloads import Downloads, PythonTag, pin_of
from cwm_env.images.interpreters import Interpreter
from cwm_env.images.plan import Tools
from cwm_env.images.recipe import canonical
from cwm_env.images.swebench import picking, scripts
from cwm_env.images.swebench.index import Dated, Upstream, serving, upstream_in
from cwm_env.types import Image

_PIPS = {"3.6": "21.3.1", "3.7": "24.0", "3.8": "25.0.1"}
_PIP = "25.2"
_PROXY = "http://127.0.0.1:3128"


def tag_of(python: Interpreter) -> PythonTag:
    """What wheels are chosen for."""
    options = ("--python-version", python.minor, "--implementation", "cp")
    return PythonTag(f"cp{python.minor.replace('.', '')}-{platform.machine()}", options)


def pip_of(python: Interpreter) -> str:
    """The latest pip that an interpreter runs, of those that are known to work here: ``pip==VERSION``."""
    return f"pip=={_PIPS.get(python.minor, _PIP)}"


class Workshop:
    """Runs pip in a sandbox."""

    def __init__(self, builder: build.Builder, upper: Path, port: int) -> None:
        self._builder = builder
        self._out = upper / scripts.OUT.strip("/")
        self._env = {
            "PIP_INDEX_URL": f"http://127.0.0.1:{port}/simple/",
            "PIP_PROXY": _PROXY,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "PIP_RETRIES": "1",
            "PIP_DEFAULT_TIMEOUT": "300",  # the index has its own, and tries again
        }

    def edit(self, commands: Sequence[str]) -> None:
        """Run what changes the repository's files before it is installed.

        Raises:
            ImageError: a command failed.
        """
        self._builder.bash("\n".join(commands), what="what precedes the installation", cwd="/testbed", env=self._env)

    def probe(self, tag: str, arguments: Sequence[str]) -> str:
        """Install the repository of ``/testbed``, without what it depends on; its project's name.

        Raises:
            ImageError: it cannot be installed.
        """
        what = "building the repository"
        self._builder.bash(scripts.PROBE, tag, *arguments, what=what, cwd="/testbed", env=self._env)
        lines = self._builder.read("/run/probed").decode().split()
        return re.split(r"[=\s@]", lines[0])[0] if lines else ""

    def resolve(self, requirements: Sequence[str], *, target: str = "", deps: bool = True) -> None:
        """Make the wheels of requirements, and of what they depend on.

        Args:
            target: the repository too, with its extras: ``/testbed[dev]``.

        Raises:
            ImageError: that cannot be done; the message ends with pip's words.
        """
        options = "" if deps else "--no-deps"
        what = "resolving the environment"
        self._builder.bash(scripts.RESOLVE, target, options, *requirements, what=what, cwd="/testbed", env=self._env)

    def requires(self, project: str) -> set[str]:
        """Canonical names of what the probed repository depends on, without its extras."""
        script = '/opt/workshop/bin/python -m pip show "$1" > /run/shown'
        self._builder.bash(script, project, what="reading what the repository depends on", env=self._env)
        found = re.search(r"^Requires:(.*)$", self._builder.read("/run/shown").decode(errors="replace"), re.MULTILINE)
        return {canonical(name.strip()) for name in found[1].split(",") if name.strip()} if found else set()

    def complete(self, pins: Sequence[str], target: str) -> None:
        """Make the wheels of what the repository depends on, as far as ``pins`` leave it open.

        Raises:
            ImageError: that cannot be done.
        """
        script = 'printf "%s\\n" "$@" > /run/constraints'
        self._builder.bash(script, *pins, what="writing the pins")
        self._builder.bash(
            scripts.RESOLVE,
            target,
            "-c /run/constraints",
            what="completing the environment",
            cwd="/testbed",
            env=self._env,
        )

    def wheels(self) -> list[Path]:
        """What was made, once the workshop is closed."""
        return sorted(self._out.glob("*.whl"))


@contextlib.contextmanager
def workshop(
    python: Interpreter, below: Image, room: Path, index: Dated, tools: Tools, inputs: Mapping[str, Path] | None = None
) -> Iterator[Workshop]:
    """A workshop in the directory ``room``, which must not exist yet."""
    upper = room / "upper"
    upper.mkdir(parents=True)
    upper.chmod(0o755)
    with serving(index) as port:
        allow = (f"127.0.0.1:{port}",)
        with build.building(below, upper, {**_pip(python, index.upstream), **(inputs or {})}, allow=allow) as builder:
            builder.bash(scripts.WORKBENCH + scripts.WORKSHOP, python.path, what="making the workshop")
            yield Workshop(builder, upper, port)


@dataclass(frozen=True, slots=True)
class Workbench:
    """What every workshop of an interpreter has: pip, in an environment of its own."""

    python: Interpreter
    kind: ClassVar[str] = "workbench"

    def pins(self) -> list[Any]:
        """As ``Layer.pins``."""
        return [self.python.path, self.python.build, pip_of(self.python), scripts.WORKBENCH]

    def needs(self) -> list[str]:
        """As ``Layer.needs``."""
        return []

    def build(self, below: Image, target: Path, tools: Tools) -> None:
        """As ``Layer.build``."""
        with build.building(below, target, _pip(self.python, upstream_in(tools.downloads.directory))) as builder:
            builder.bash(scripts.WORKBENCH, self.python.path, what="making the workbench")


def _pip(python: Interpreter, upstream: Upstream) -> dict[str, Path]:
    """The wheel of pip under its name."""
    pin = pip_of(python)
    return {f"{pin.replace('==', '-')}-py3-none-any.whl": upstream.pinned("pip", pin.partition("==")[2])}


def missing(python: Interpreter, pins: Sequence[str], downloads: Downloads) -> list[str]:
    """The pins whose wheels are not here."""
    return [pin for pin in pins if downloads.kept(tag_of(python), pin) is None]


def pick(python: Interpreter, pins: Sequence[str], upstream: Upstream, tools: Tools) -> None:
    """Bring the wheels of pins here that the index has."""
    wanted = missing(python, pins, tools.downloads)
    if wanted:
        tools.progress(f"downloading {len(wanted)} Python packages")
        picking.pick(upstream, wanted, tag_of(python), python.minor, tools.downloads)


def gather(shop: Workshop, pins: Sequence[str], upstream: Upstream) -> dict[str, str]:
    """Make wheels of pins, one by one; for each that cannot be made, why."""
    reasons = {}
    for pin in pins:
        if not upstream.page(pin.partition("==")[0]):
            reasons[pin] = "the package index does not know it"
            continue
        try:
            shop.resolve([pin], deps=False)
        except ImageError as error:
            lines = str(error).strip().splitlines()
            reasons[pin] = next((line for line in reversed(lines) if "ERROR" in line), lines[-1]).strip()
    return reasons


def keep(shop: Workshop, python: Interpreter, pins: Sequence[str], tools: Tools) -> None:
    """Keep the wheels that a workshop made, which is closed; those of ``pins`` under the names that these give them."""
    names = {_alike(pin): pin for pin in pins}
    for wheel in shop.wheels():
        pin = pin_of(wheel)
        tools.downloads.keep(tag_of(python), names.get(_alike(pin), pin), wheel)


def _alike(pin: str) -> tuple[str, str]:
    """The same for pins that say the same: a version may be written in several ways."""
    name, _, version = pin.partition("==")
    return name, canonicalize_version(version)


def wheels(python: Interpreter, pins: Sequence[str], below: Image, room: Path, tools: Tools) -> list[Path]:
    """One wheel for each pin.

    Raises:
        ImageError: one cannot be had.
    """
    upstream = upstream_in(tools.downloads.directory)
    pick(python, pins, upstream, tools)
    if rest := missing(python, pins, tools.downloads):
        with workshop(python, below, room, Dated(upstream), tools) as shop:
            lost = gather(shop, rest, upstream)
        keep(shop, python, pins, tools)
        for pin in missing(python, pins, tools.downloads):
            raise ImageError(f"{pin} cannot be had: {lost.get(pin, 'pip left no wheel of it')}")
    found = [tools.downloads.kept(tag_of(python), pin) for pin in pins]
    return [wheel for wheel in found if wheel]
