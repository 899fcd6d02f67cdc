"""Tasks written on the spot: a package with a bug on the shipped image ``python``, and hidden tests of any kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from cwm_env.tasks import load_task
from cwm_env.types import Task

BUGGY = {"pkg/__init__.py": "def double(x):\n    return x + x + 1\n", "tests/test_old.py": "def test_old(): pass\n"}
FIX = "sed -i 's/ + 1$//' pkg/__init__.py"
HIDDEN = "import pkg\n\ndef test_double():\n    assert pkg.double(2) == 4\n"


def write_task(
    directory: Path,
    hidden: Mapping[str, str],
    fail_to_pass: list[str],
    *,
    repository: Mapping[str, str] = BUGGY,
    pass_to_pass: list[str] | None = None,
    fix: str = FIX,
    packages: list[str] | None = None,
    timeout: float = 30.0,
    **own: object,
) -> Task:
    """Write a task's directory and read it; ``own`` is what stands in ``[metadata.cwm_env]``."""
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in own.items())
    setup = "for place in $VIRTUAL_ENV/lib/python3*/site-packages; do echo /repo > $place/repo.pth; done\n"
    for name, text in repository.items():
        setup += f"mkdir -p $(dirname {name}); cat > {name} <<'EOF_'\n{text}EOF_\n"
    files = {
        "task.toml": f"[metadata.cwm_env]\n{lines}[verifier]\ntimeout_sec = {timeout}\n",
        "instruction.md": "Repair it.\n",
        "environment/image.toml": f"base = 'python'\npython = {json.dumps(packages or [])}\nsetup = '''\n{setup}'''\n",
        "tests/expected.json": json.dumps({"FAIL_TO_PASS": fail_to_pass, "PASS_TO_PASS": pass_to_pass or []}),
        "solution/solve.sh": f"cd /repo\n{fix}\n",
        **{f"tests/{name}": text for name, text in hidden.items()},
    }
    for name, text in files.items():
        path = directory / "task" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return load_task(directory / "task")
