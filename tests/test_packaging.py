"""What is installed is what is in the checkout: wheel, sdist, editable install and bare checkout all run an episode."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TASKS = sorted(path.parent.name for path in (ROOT / "tasks").glob("*/task.toml"))


def tracked() -> Iterator[str]:
    """Files of the checkout that are, or are about to be, in the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    yield from (name for name in listed.stdout.splitlines() if (ROOT / name).is_file())


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the repository and nothing else, as a clone has them."""
    where = tmp_path_factory.mktemp("checkout")
    for name in tracked():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, where / name)
    return where


@pytest.fixture(scope="module")
def built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """``wheel`` and ``sdist``; the wheel is built from the sdist, as an index's users get it."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(checkout)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return {"wheel": wheel, "sdist": sdist}


@pytest.fixture(scope="module")
def homes(checkout: Path, built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where the package lies in each of the forms it comes in."""
    found = {"checkout": checkout, "editable": ROOT}
    for form, archive in built.items():
        found[form] = tmp_path_factory.mktemp(form)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command = [*pip, "--no-deps", "--no-build-isolation", "--target", str(found[form]), str(archive)]
        subprocess.run(command, check=True)
    return found


def run_python(home: Path, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with the package of ``home``, started elsewhere."""
    environment = {**os.environ, "PYTHONPATH": str(home)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("form", ["checkout", "editable", "wheel", "sdist"])
def test_every_form_of_the_package_runs_an_episode(homes: dict[str, Path], tmp_path: Path, form: str) -> None:
    where = run_python(homes[form], tmp_path, "-c", "import cwm_env; print(cwm_env.__file__)")
    assert where.stdout.startswith(str(homes[form])), where.stderr
    listed = run_python(homes[form], tmp_path, "-m", "cwm_env", "tasks", "list", "--json")
    assert all(f'"{task}"' in listed.stdout for task in TASKS), listed.stderr
    ran = run_python(homes[form], tmp_path, "-m", "cwm_env", "run", TASKS[0], "--policy", "gold", "--json")
    assert ran.returncode == 0 and '"reward": 1.0' in ran.stdout, ran.stdout + ran.stderr


def test_the_archives_hold_the_data_and_no_rubbish(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as wheel:
        in_wheel = set(wheel.namelist())
    with tarfile.open(built["sdist"]) as sdist:
        in_sdist = {name.partition("/")[2] for name in sdist.getnames()}
    for name in tracked():
        top = name.split("/")[0]
        if top == "cwm_env":
            assert name in in_wheel
        if top in ("images", "tasks", "server"):
            assert f"cwm_env/_data/{name}" in in_wheel
        if top in ("cwm_env", "images", "tasks", "server", "tests", "docs", "scripts", "benchmarks"):
            assert name in in_sdist
    assert not [name for name in in_wheel | in_sdist if "__pycache__" in name or name.endswith(".pyc")]
    assert "cwm_env/py.typed" in in_wheel


def test_importing_the_package_costs_little() -> None:
    def fastest(code: str) -> float:
        times = []
        for _ in range(10):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times.append(time.perf_counter() - started)
        return min(times)

    extra = fastest("import cwm_env") - fastest("pass")
    assert extra < 0.05


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, cwm_env; print(*{m.split('.')[0] for m in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"gymnasium", "numpy", "pydantic", "rich", "click", "pexpect", "typing"} & set(loaded)
