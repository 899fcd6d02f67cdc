"""From a recipe to its layers. Each one's key says all that it depends on: what did not change is not built again."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

from cwm_env.images import build, debian, host
from cwm_env.images.downloads import Downloads, PythonTag, source_key, wheel_key
from cwm_env.images.interpreters import Interpreter, running
from cwm_env.images.recipe import DEBIAN, HOST, Named, Recipe, Source, canonical
from cwm_env.types import Image

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_WORKDIR, _USER = "/repo", "root"


@dataclass(frozen=True, slots=True)
class Tools:
    """What a layer is built with."""

    downloads: Downloads
    progress: Callable[[str], None]


class Layer(Protocol):
    """One layer to be."""

    kind: ClassVar[str]

    def pins(self) -> list[Any]:
        """All that its content depends on, besides the layers below it, as JSON."""

    def needs(self) -> list[str]:
        """Names of the downloads that it is built from."""

    def build(self, below: Image, target: Path, tools: Tools) -> None:
        """Fill the empty directory ``target``."""


@dataclass(frozen=True, slots=True)
class HostSystem:
    """The machine's own programs."""

    python: Interpreter
    kind: ClassVar[str] = "system"

    def pins(self) -> list[Any]:
        """As ``Layer.pins``."""
        return [HOST, *host.pins(self.python), build.GITCONFIG]

    def needs(self) -> list[str]:
        """As ``Layer.needs``."""
        return []

    def build(self, below: Image, target: Path, tools: Tools) -> None:
        """As ``Layer.build``."""
        host.build(target, self.python)
        _write_gitconfig(target)


@dataclass(frozen=True, slots=True)
class DebianSystem:
    """A small Debian, and packages."""

    packages: tuple[str, ...]
    kind: ClassVar[str] = "system"

    def pins(self) -> list[Any]:
        """As ``Layer.pins``."""
        return [DEBIAN, platform.machine(), self.packages, build.GITCONFIG]

    def needs(self) -> list[str]:
        """As ``Layer.needs``."""
        return []

    def build(self, below: Image, target: Path, tools: Tools) -> None:
        """As ``Layer.build``."""
        debian.build(target, self.packages, tools.progress)
        _write_gitconfig(target)


@dataclass(frozen=True, slots=True)
class PythonPackages:
    """A virtual environment, or more packages for the one below."""

    requirements: tuple[str, ...]
    interpreter: str
    tag: PythonTag
    kind: ClassVar[str] = "python"

    def pins(self) -> list[Any]:
        """As ``Layer.pins``."""
        return [self.requirements, self.interpreter, self.tag.name, build.MAKE_VENV]

    def needs(self) -> list[str]:
        """As ``Layer.needs``."""
        return [wheel_key(self.tag, requirement) for requirement in self.requirements]

    def build(self, below: Image, target: Path, tools: Tools) -> None:
        """As ``Layer.build``."""
        wheels = tools.downloads.wheels(self.tag, self.requirements, tools.progress)
        with build.building(below, target, {wheel.name: wheel for wheel in wheels}) as builder:
            builder.bash(build.MAKE_VENV, self.interpreter, *self.requirements, what="installing the Python packages")


@dataclass(frozen=True, slots=True)
class Repository:
    """Sources, what the set-up script makes of them, and one commit."""

    sources: tuple[Source, ...]
    setup: str
    workdir: str
    user: str
    env: tuple[tuple[str, str], ...]
    kind: ClassVar[str] = "repository"

    def pins(self) -> list[Any]:
        """As ``Layer.pins``."""
        sources = [source.model_dump() for source in self.sources]
        scripts = [build.UNPACK, build.COMMIT, build.SETUP_ENV, build.COMMIT_ENV]
        return [sources, self.setup, self.workdir, self.user, self.env, scripts]

    def needs(self) -> list[str]:
        """As ``Layer.needs``."""
        return [source_key(source) for source in self.sources]

    def build(self, below: Image, target: Path, tools: Tools) -> None:
        """As ``Layer.build``."""
        archives = {f"{n}.tar.gz": tools.downloads.archive(s, tools.progress) for n, s in enumerate(self.sources)}
        with build.building(below, target, archives) as builder:
            builder.bash('mkdir -p "$1"', self.workdir, what="making the workdir")
            for name, source in zip(archives, self.sources, strict=True):
                what = f"unpacking the source of {source.name} {source.version}"
                builder.bash(build.UNPACK, f"{build.INPUTS}/{name}", source.path or self.workdir, what=what)
            if self.setup.strip():
                tools.progress("running the set-up script")
                builder.bash(self.setup, what="the set-up script", cwd=self.workdir, env=build.SETUP_ENV)
            builder.bash(build.COMMIT, self._owner(), what="the commit", cwd=self.workdir, env=build.COMMIT_ENV)
            builder.check_user(self.user, self.workdir)

    def _owner(self) -> str:
        """The user and its group, as chown takes them."""
        if ":" in self.user:
            return self.user
        return f"{self.user}:{self.user if self.user.isdigit() else ''}"


@dataclass(frozen=True, slots=True)
class Step:
    """A layer, its key, and the image that it is built on."""

    layer: Layer
    key: str
    below: Image


@dataclass(frozen=True, slots=True)
class Plan:
    """All layers of an image, the lowest first, and the image that they make."""

    image: Image
    steps: tuple[Step, ...]


def plan(recipes: tuple[Named, ...], cache: Path) -> Plan:
    """The plan for the last of ``recipes``, each of which stands on those before it.

    Args:
        cache: where layers lie, in ``layers``.
    """
    image, layers = _system(recipes[0].recipe, cache)
    found: list[tuple[Layer, Image]] = []
    for named in recipes:
        image = _described(image, named.recipe)
        found += [(layer, image) for layer in (*layers, *_own(named.recipe, recipes[0].recipe.base, image))]
        layers = []
    return stack(recipes[-1].name, found, cache)


def stack(name: str, layers: Iterable[tuple[Layer, Image]], cache: Path) -> Plan:
    """The plan for layers, the lowest first, each with what the image says besides its layers."""
    steps: list[Step] = []
    lower: tuple[Path, ...] = ()
    for layer, described in layers:
        key = _hash([steps[-1].key if steps else "", layer.kind, layer.pins()])
        steps.append(Step(layer, key, replace(described, layers=lower)))
        lower = (*lower, cache / "layers" / key)
    image = replace(described, layers=lower)
    content = [[step.key for step in steps], image.workdir, image.user, sorted(image.env.items())]
    return Plan(replace(image, name=name, digest=f"sha256:{_hash(content)}"), tuple(steps))


def on_host(python: Interpreter, cache: Path, image: Image) -> Image:
    """The same image, which sees the machine's programs and an interpreter of it."""
    return replace(image, host_mounts=host.mounts(python), hidden=host.hidden(cache, python))


def bare() -> Image:
    """What an image of ours says about itself where nobody says otherwise."""
    return Image("", "", (), _WORKDIR, _USER, {"PATH": _PATH, "LANG": "C.UTF-8"})


def _system(recipe: Recipe, cache: Path) -> tuple[Image, list[Layer]]:
    image = bare()
    if recipe.base == HOST:
        return on_host(running(), cache, image), [HostSystem(running())]
    python = debian.PYTHON_PACKAGES if recipe.python else ()
    return image, [DebianSystem(tuple(sorted({*debian.ALWAYS, *python, *(recipe.debian or ())})))]


def _described(below: Image, recipe: Recipe) -> Image:
    """What the recipe says about the image besides its layers."""
    env = dict(below.env)
    if recipe.python and "VIRTUAL_ENV" not in env:
        env |= {"PATH": f"{build.VENV}/bin:{env['PATH']}", "VIRTUAL_ENV": build.VENV}
    return replace(
        below, workdir=recipe.workdir or below.workdir, user=recipe.user or below.user, env={**env, **recipe.env}
    )


def _own(recipe: Recipe, base: str, image: Image) -> list[Layer]:
    """The layers that a recipe adds to those of its base."""
    found: list[Layer] = []
    if recipe.python:
        interpreter = host.interpreter() if base == HOST else debian.INTERPRETER
        requirements = tuple(sorted(map(canonical, recipe.python)))
        found.append(PythonPackages(requirements, interpreter, _tag(base)))
    env = tuple(sorted(image.env.items()))
    found.append(Repository(tuple(recipe.source), recipe.setup, image.workdir, image.user, env))
    return found


def _tag(base: str) -> PythonTag:
    if base == HOST:
        return PythonTag(f"cp{sys.version_info.major}{sys.version_info.minor}-{platform.machine()}")
    version = debian.PYTHON_VERSION
    options = ("--python-version", version, "--implementation", "cp")
    return PythonTag(f"cp{version.replace('.', '')}-{platform.machine()}", options)


def _hash(pins: list[Any]) -> str:
    return hashlib.sha256(json.dumps(pins, sort_keys=True).encode()).hexdigest()


def _write_gitconfig(target: Path) -> None:
    path = target / "etc/gitconfig"
    path.write_text(build.GITCONFIG)
    path.chmod(0o644)
