"""The two layers of an instance's image: the environment, which instances share, and the repository at one commit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from cwm_env.images import build
from cwm_env.images.downloads import wheel_key
from cwm_env.images.interpreters import Interpreter
from cwm_env.images.plan import Tools
from cwm_env.images.swebench import checkouts, scripts
from cwm_env.images.swebench.index import File, upstream_in
from cwm_env.images.swebench.scripts import CONDA, ENVIRONMENT, WHEELS
from cwm_env.images.swebench.wheels import tag_of, wheels
from cwm_env.types import Image


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment where the official images have conda's, with what lets ``conda activate`` enter it."""

    requirements: tuple[str, ...]
    python: Interpreter
    kind: ClassVar[str] = "environment"

    def pins(self) -> list[Any]:
        """As ``Layer.pins``."""
        made = [scripts.MAKE_ENVIRONMENT, scripts.ACTIVATE, scripts.PIP_CONF]
        made += [scripts.STAND_ALONE] if self._is_linked() else []
        return [self.requirements, self.python.path, self.python.build, made]

    def needs(self) -> list[str]:
        """As ``Layer.needs``."""
        return [wheel_key(tag_of(self.python), requirement) for requirement in self.requirements]

    def build(self, below: Image, target: Path, tools: Tools) -> None:
        """As ``Layer.build``."""
        found = wheels(self.python, self.requirements, below, target.with_name("workshop"), tools)
        inputs = {wheel.name: wheel for wheel in found}
        with build.building(below, target, inputs) as builder:
            what = "installing the environment"
            builder.bash(scripts.MAKE_ENVIRONMENT, self.python.path, ENVIRONMENT, *self.requirements, what=what)
            builder.bash(scripts.ACTIVATE, CONDA, ENVIRONMENT, what="making conda's programs")
            builder.bash(scripts.PIP_CONF, ENVIRONMENT, WHEELS, what="writing pip's settings")
            if self._is_linked():
                builder.bash(scripts.STAND_ALONE, self.python.path, ENVIRONMENT, what="setting Python up alone")

    def _is_linked(self) -> bool:
        """Whether something in it will start its Python through a link."""
        return any(requirement.startswith("tox-current-env==") for requirement in self.requirements)


@dataclass(frozen=True, slots=True)
class Testbed:
    """The repository in ``/testbed`` at one commit, installed, and the files that installing it once more needs."""

    repo: str
    commit: str
    source: str
    tools: tuple[File, ...]
    pre_install: tuple[str, ...]
    install: str
    env: tuple[tuple[str, str], ...]
    kind: ClassVar[str] = "testbed"

    def pins(self) -> list[Any]:
        """As ``Layer.pins``."""
        files = [[file.name, file.sha256] for file in self.tools]
        made = [scripts.INSTALL, scripts.SETTLE, scripts.CHECK, build.EXCLUDED]
        return [self.repo, self.commit, files, self.pre_install, self.install, self.env, made]

    def needs(self) -> list[str]:
        """As ``Layer.needs``."""
        return [file.key for file in self.tools]

    def build(self, below: Image, target: Path, tools: Tools) -> None:
        """As ``Layer.build``."""
        upstream = upstream_in(tools.downloads.directory)
        inputs = {file.name: upstream.fetch(file) for file in self.tools}
        tools.progress(f"fetching commit {self.commit[:12]} of {self.repo}")
        inputs["checkout.tar"] = checkouts.make(self.source, self.commit, target.with_name("checkout")).archive
        with build.building(below, target, inputs) as builder:
            builder.bash(scripts.UNPACK, below.workdir, WHEELS, what="unpacking the commit")
            tools.progress("installing the repository")
            script = "\n".join((scripts.INSTALL, *self.pre_install, self.install))
            builder.bash(script, what="installing the repository", cwd=below.workdir, env=dict(self.env))
            builder.bash(scripts.SETTLE, self.commit, what="settling the repository", cwd=below.workdir)
            builder.bash(scripts.CHECK, self.commit, what="the check of the repository", cwd=below.workdir)
            builder.check_user(below.user, below.workdir)
