"""What a record's environment is made of where no pinned one is given: which Python, which packages, how it installs.

In this order: the record itself (``install_config``, as SWE-rebench writes it), the tables of the official package
``swebench`` 4, which ``swebench`` 5 no longer has, and the command that the record's ``eval_script`` installs with. The
tables are read out of the package as the index has it, without its dependencies; nothing of it is copied here.
"""

from __future__ import annotations

import re
import shlex
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cwm_env.errors import ImageError
from cwm_env.images.swebench.index import File, Upstream
from cwm_env.tasks.swebench import Record

_OFFICIAL = File("swebench-4.1.0-py3-none-any.whl", "1243776f720047cc9e20a427f7a52b75c13a07abda6154fb60fe77f82ec8af57")
_TABLES = "swebench/harness/constants/python.py"
_INSTALL = "python -m pip install -e ."
_SYSTEM = re.compile(r"\b(apt-get|apt|locale-gen|locale\.gen|conda|sudo)\b")


@dataclass(frozen=True, slots=True)
class Spec:
    """How an environment is made."""

    origin: str
    """Who says so, for people."""
    python: str = ""
    """Such as ``3.9``; empty where nobody says it."""
    requirements: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    """Files of requirements in the repository; the first that is there counts."""
    conda_files: tuple[str, ...] = ()
    """The same in conda's format."""
    pre_install: tuple[str, ...] = ()
    """Bash, before the repository is installed."""
    install: str = _INSTALL
    """Bash that installs the repository."""
    dropped: tuple[str, ...] = ()
    """Commands that are left out, for they change the machine's system."""


def spec_of(record: Record, upstream: Upstream) -> Spec:
    """How the environment of a record is made.

    Raises:
        ImageError: the official tables cannot be had.
    """
    if isinstance(config := record.raw.get("install_config"), Mapping) and config.get("python"):
        return _spec("the record's install_config", config, _listed(config.get("reqs_path")), ("environment.yml",))
    tables = _tables(upstream)
    versions = tables["MAP_REPO_VERSION_TO_SPECS_PY"].get(record.repo, {})
    if record.version in versions:
        files = tables["MAP_REPO_TO_REQS_PATHS"].get(record.repo, ())
        conda = tables["MAP_REPO_TO_ENV_YML_PATHS"].get(record.repo, ())
        return _spec(f"swebench 4's table for {record.version}", versions[record.version], files, conda)
    return Spec("the record's eval_script", install=_install_of(record.eval_script), requirements=("pytest",))


def _spec(origin: str, table: Mapping[str, Any], files: Any, conda: Any) -> Spec:
    packages = table.get("packages") or ""
    commands = _listed(table.get("pre_install"))
    named = (
        () if packages in ("requirements.txt", "environment.yml") else tuple(map(_from_conda, shlex.split(packages)))
    )
    return Spec(
        origin=origin,
        python=str(table["python"]),
        requirements=(*map(_from_conda, named), *_listed(table.get("pip_packages"))),
        files=tuple(files) if packages == "requirements.txt" else (),
        conda_files=tuple(conda) if packages == "environment.yml" else (),
        pre_install=tuple(each for each in commands if not _SYSTEM.search(each)),
        install=_linked(table.get("install") or _INSTALL),
        dropped=tuple(each for each in commands if _SYSTEM.search(each)),
    )


def extras_of(install: str) -> str:
    """The extras that a command installs the repository with, such as ``[dev]``; empty for none."""
    found = re.search(r"(?:^|[\s'\"])\.(\[[A-Za-z0-9_.,\s-]+\])", install)
    return found[1] if found else ""


def _install_of(script: str) -> str:
    found = re.search(r"^(?:python -m )?pip install .*$|^python setup\.py (?:install|develop).*$", script, re.MULTILINE)
    return _linked(found[0]) if found else _INSTALL


def _linked(command: str) -> str:
    """The command, with the repository installed as a link where it says as a copy.

    What an agent edits is then what tests import. The official script installs as it likes before it runs them.
    """
    linked = re.sub(r"\bpython setup\.py install\b", _INSTALL, command)
    return re.sub(r"\bpip install (?=['\"]?\.(?:\[|['\"\s]|$))", "pip install -e ", linked)


def _from_conda(requirement: str) -> str:
    """``numpy=1.19`` means ``numpy==1.19.*`` to conda."""
    return re.sub(r"(?<![=<>!~])=(?!=)(.+)$", r"==\1.*", requirement)


def _listed(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(str(each) for each in value or ())


def _tables(upstream: Upstream) -> dict[str, Any]:
    found = upstream.memory.get(_OFFICIAL)
    if found is None:
        path = upstream.fetch(_OFFICIAL)
        found = {}
        try:
            with zipfile.ZipFile(path) as wheel:
                exec(compile(wheel.read(_TABLES), _TABLES, "exec"), found)  # noqa: S102 - constants, by their hash
        except (zipfile.BadZipFile, KeyError) as error:
            raise ImageError(f"{_OFFICIAL.name}: holds no {_TABLES}: {error}") from None
        upstream.memory[_OFFICIAL] = found
    return found
