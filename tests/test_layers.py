"""Each part imports only from below, heavy libraries only where they belong, and a seam not its implementations."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "cwm_env"

FLOORS = (
    ("types", "errors", "paths", "text", "threads", "toml_errors", "_gymnasium"),
    ("sandbox", "tasks", "trajectories", "wire"),
    ("session", "images"),
    ("tracing", "grading"),
    ("envs", "synthesis", "policies", "integrations"),
    ("rl", "server", "client", "swebench"),
    ("cli",),
    ("__main__",),
)

ONLY_IN = {
    "fastapi": ("server",),
    "uvicorn": ("server",),
    "prometheus_client": ("server",),
    "aiohttp": ("client",),
    "docker": ("sandbox/docker",),
    "harbor": ("integrations/harbor.py",),
    "swebench": ("grading", "tasks"),
    "openai": ("policies/chat.py",),
    "click": ("cli",),
    "rich": ("cli", "tracing/stepping/screen.py"),
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(module: str) -> str:
    """``cwm_env.session.blocking`` belongs to ``session``; the package itself to ``""``."""
    return module.split(".")[1] if "." in module else ""


def floor_of(part: str) -> int:
    return next(number for number, names in enumerate(FLOORS) if part in names)


def imports(path: Path) -> Iterator[str]:
    """Modules that a file imports anywhere; ``from cwm_env.a import b`` counts as both ``cwm_env.a`` and its ``b``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_from_floors_below_its_own(path: Path) -> None:
    part = part_of(name_of(path))
    if not part:
        return  # the package itself names its public objects
    for module in imports(path):
        other = part_of(module) if module.startswith("cwm_env.") else ""
        if other in ("", "__version__", part):
            continue
        assert floor_of(other) < floor_of(part), f"{name_of(path)} imports {module}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_libraries_stay_where_they_belong(path: Path) -> None:
    place = path.relative_to(PACKAGE).as_posix()
    for module in imports(path):
        homes = ONLY_IN.get(module.split(".")[0])
        assert homes is None or place.startswith(homes), f"{place} imports {module}"


def test_implementations_do_not_import_their_registry() -> None:
    for registry in PACKAGE.rglob("registry.py"):
        beside = [path for path in registry.parent.rglob("*.py") if path.name not in ("__init__.py", "registry.py")]
        for path in beside:
            assert not any(module.startswith(name_of(registry)) for module in imports(path)), path


def test_the_sandboxs_inner_processes_load_the_standard_library_only() -> None:
    allowed = sys.stdlib_module_names | {"cwm_env"}
    for path in (PACKAGE / "sandbox" / "namespaces").glob("*.py"):
        for module in imports(path):
            assert module.split(".")[0] in allowed, f"{path} imports {module}"


def test_no_module_is_longer_than_300_lines() -> None:
    long = {name_of(path): count for path in MODULES if (count := len(path.read_text().splitlines())) > 300}
    assert not long
