"""What comes from the package index: wheels by the user's own pip, source archives by name, version and hash.

Everything is fetched once and kept. Nothing of it is unpacked or run here; that happens in a sandbox without network.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cwm_env.errors import DiskFull, ImageError
from cwm_env.images.disk import locked, says_full
from cwm_env.images.recipe import Source, canonical

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage, PyPISimple
    from requests import Session

REMEDY = "check the network, or say which index to use (PIP_INDEX_URL, or `pip config set global.index-url`)"
_SECONDS = 60.0
_PIP_LINES = 15


@dataclass(frozen=True, slots=True)
class PythonTag:
    """An interpreter that wheels are chosen for."""

    name: str
    """Such as ``cp311-x86_64``."""
    options: tuple[str, ...] = ()
    """pip's options that choose it; none for the interpreter that runs us."""


def wheel_key(tag: PythonTag, requirement: str) -> str:
    """The name under which the wheel of ``name==version`` is kept."""
    return f"wheel-{tag.name}-{canonical(requirement).replace('==', '-')}"


def source_key(source: Source) -> str:
    """The name under which a source archive is kept."""
    return f"source-{source.sha256}"


class Downloads:
    """Files from the package index, in a directory. Safe for many threads and processes."""

    def __init__(self, directory: Path, lock: Path) -> None:
        self.directory = directory
        self._lock = lock

    def kept(self, tag: PythonTag, requirement: str) -> Path | None:
        """The wheel of ``name==version``, if it is here."""
        return next((self.directory / wheel_key(tag, requirement)).glob("*.whl"), None)

    def keep(self, tag: PythonTag, requirement: str, wheel: Path) -> None:
        """Keep the wheel of ``name==version``, which was had in another way; what was here before stays."""
        with locked(self._lock):
            if self.kept(tag, requirement) is None:
                _keep(wheel, self.directory / wheel_key(tag, requirement))

    def wheels(self, tag: PythonTag, requirements: Sequence[str], progress: Callable[[str], None]) -> list[Path]:
        """One wheel for each requirement.

        Raises:
            ImageError: pip is missing, or could not download them all.
        """
        with locked(self._lock):
            missing = [each for each in requirements if not (self.directory / wheel_key(tag, each)).is_dir()]
            if missing:
                progress(f"downloading {len(missing)} Python packages")
                self._download(tag, missing)
        return [next((self.directory / wheel_key(tag, each)).glob("*.whl")) for each in requirements]

    def archive(self, source: Source, progress: Callable[[str], None]) -> Path:
        """The source archive, whose content has the recipe's hash.

        Raises:
            ImageError: the index has no such file, cannot be reached, or gave another content.
        """
        target = self.directory / source_key(source)
        with locked(self._lock):
            if not target.is_file():
                progress(f"downloading the source of {source.name} {source.version}")
                partial = self.directory / f".{secrets.token_hex(8)}"
                try:
                    _fetch(source, partial)
                    partial.chmod(0o644)
                    partial.rename(target)
                finally:
                    partial.unlink(missing_ok=True)
        return target

    def _download(self, tag: PythonTag, requirements: Sequence[str]) -> None:
        if importlib.util.find_spec("pip") is None:
            raise ImageError(
                f"{sys.executable} has no pip, which downloads an image's packages: "
                "run `python -m ensurepip` or `uv pip install pip`"
            )
        with tempfile.TemporaryDirectory(prefix=".", dir=self.directory) as name:
            _run_pip(tag, requirements, Path(name))
            by_name = {_project(path): path for path in Path(name).glob("*.whl")}
            for requirement in requirements:
                wheel = by_name.get(canonical(requirement).partition("==")[0])
                if wheel is None:
                    raise ImageError(f"pip reported success and left no wheel of {requirement}")
                _keep(wheel, self.directory / wheel_key(tag, requirement))


def _keep(wheel: Path, directory: Path) -> None:
    """Move a file into a directory of its own, which is there only with the file in it."""
    beside = wheel.with_suffix(".kept")
    beside.mkdir()
    beside.chmod(0o755)
    wheel.chmod(0o644)
    wheel.rename(beside / wheel.name)
    beside.rename(directory)


def _run_pip(tag: PythonTag, requirements: Sequence[str], directory: Path) -> None:
    # Only wheels: to learn about a source distribution, pip would run its code, here and now. And no constraints of the
    # user's: every version is pinned.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--progress-bar=off", *tag.options, "--dest", str(directory)]
    done = subprocess.run(
        [*command, *requirements],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        cwd=directory,
        env={**os.environ, "PIP_CONSTRAINT": os.devnull},
    )
    if done.returncode:
        tail = "\n".join(done.stdout.strip().splitlines()[-_PIP_LINES:])
        if says_full(tail):
            raise DiskFull("no space is left where images are kept, or in the directory for temporary files")
        raise ImageError(f"pip could not download the Python packages: {REMEDY}. It said:\n{tail}")


def _project(wheel: Path) -> str:
    return pin_of(wheel).partition("==")[0]


def pin_of(wheel: Path) -> str:
    """The ``name==version`` that the name of a wheel says."""
    name, version = wheel.name.split("-")[:2]
    return f"{canonical(name)}=={version}"


def connection() -> tuple[Session, list[str]]:
    """How the package index is reached, as the user's pip is told to: certificates, and addresses that speak HTTP."""
    import requests

    settings = _pip_settings()
    session = requests.Session()
    if certificate := settings.get("cert"):
        session.verify = certificate
    return session, list(_endpoints(settings))


def _fetch(source: Source, target: Path) -> None:
    import requests
    from pypi_simple import PyPISimple

    session, endpoints = connection()
    try:
        for endpoint in endpoints:
            with PyPISimple(endpoint, session=session) as index:
                package = _find(index, source)
                if package is not None:
                    index.download_package(package, target, verify=False, timeout=_SECONDS)
                    _verify(source, target)
                    return
    except requests.RequestException as error:
        # Its text may show the index's address, with a password in it.
        raise ImageError(
            f"the source of {source.name} cannot be downloaded ({type(error).__name__}): {REMEDY}"
        ) from None
    raise ImageError(f"the package index has no source distribution of {source.name} {source.version}")


def _find(index: PyPISimple, source: Source) -> DistributionPackage | None:
    from pypi_simple import NoSuchProjectError

    try:
        page = index.get_project_page(source.name, timeout=_SECONDS)
    except NoSuchProjectError:
        return None
    for package in page.packages:
        if package.package_type == "sdist" and package.version == source.version:
            if not package.filename.endswith((".tar.gz", ".tgz")):
                raise ImageError(f"{package.filename} is no .tar.gz, the only kind of archive that is unpacked here")
            return package
    return None


def _verify(source: Source, path: Path) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != source.sha256:
        raise ImageError(
            f"the source of {source.name} {source.version} has sha256 {found}, the recipe says {source.sha256}: "
            "the archive or the recipe was changed"
        )


def _endpoints(settings: dict[str, str]) -> Iterable[str]:
    """The indexes that pip would ask and that speak HTTP."""
    from pypi_simple import PYPI_SIMPLE_ENDPOINT

    every = [settings.get("index-url", PYPI_SIMPLE_ENDPOINT), *settings.get("extra-index-url", "").split()]
    return [url for url in every if url.startswith(("http:", "https:"))]


def _pip_settings() -> dict[str, str]:
    """The user's settings for `pip download`, as pip itself reads them from its files and the environment."""
    if importlib.util.find_spec("pip") is None:
        names = ("index-url", "extra-index-url", "cert")
        pairs = ((name, os.environ.get("PIP_" + name.upper().replace("-", "_"))) for name in names)
        return {name: value for name, value in pairs if value}
    command = [sys.executable, "-P", "-m", "pip", "config", "list"]
    listed = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False).stdout
    found: dict[str, dict[str, str]] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        found.setdefault(section, {})[key] = str(ast.literal_eval(value))
    return {**found.get("global", {}), **found.get("download", {}), **found.get(":env:", {})}
