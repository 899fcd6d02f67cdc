"""A small repository with two bugs, and a SWE-bench record of it, in the layout of ``swebench`` 5."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from cwm_env.tasks.swebench import Record, parse

NAME = "example__small-1"
PACKAGE = "def double(x):\n    return x + x + 1\n\n\ndef half(x):\n    return x\n"
FIXED = "def double(x):\n    return x + x\n\n\ndef half(x):\n    return x / 2\n"
PARTLY = FIXED.replace("x / 2", "x")
OLD_TESTS = "import pkg\n\n\ndef test_old():\n    assert pkg.double\n"
NEW_TESTS = """import pytest

import pkg


def test_old():
    assert pkg.double
    with open("left-by-a-test", "w") as file:
        file.write("as root may")


def test_double():
    assert pkg.double(2) == 4


@pytest.mark.parametrize("given", ["four of them"])
def test_half(given):
    assert pkg.half(len(given)) == 6


@pytest.mark.xfail
def test_known():
    assert pkg.double(1) == "two"
"""
SCRIPT = """#!/bin/bash
set -uxo pipefail
cd /testbed
git config --global --add safe.directory /testbed
git status
git checkout HEAD tests/test_pkg.py
git apply -v - <<'EOF_114329324912'
{patch}
EOF_114329324912
: '>>>>> Start Test Output'
pytest -rA tests/test_pkg.py
: '>>>>> End Test Output'
git checkout HEAD tests/test_pkg.py
"""
BEFORE = {"pkg/__init__.py": PACKAGE, "tests/test_pkg.py": OLD_TESTS, "pyproject.toml": "[project]\nname = 'pkg'\n"}


def difference(directory: Path, after: Mapping[str, str], before: Mapping[str, str] = BEFORE) -> str:
    """What makes the repository hold other files, as git says it."""

    def git(*arguments: str) -> str:
        names = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(["git", *names, *arguments], cwd=directory, check=True, capture_output=True, text=True)
        return done.stdout

    directory.mkdir(parents=True, exist_ok=True)
    git("init", "-q")
    for files in (before, after):
        for name, text in files.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text)
        git("add", "-A")
        if files is before:
            git("commit", "-qm", "first")
    return git("diff", "--cached")


def small_record(directory: Path, script: str = SCRIPT) -> Record:
    """The record; ``directory`` is for git."""
    test_patch = difference(directory / "tests", {"tests/test_pkg.py": NEW_TESTS})
    row = {
        "instance_id": NAME,
        "repo": "example/small",
        "base_commit": "HEAD",
        "version": "1.0",
        "patch": difference(directory / "gold", {"pkg/__init__.py": FIXED}),
        "test_patch": test_patch,
        "problem_statement": "Doubling and halving are wrong.",
        "FAIL_TO_PASS": ["tests/test_pkg.py::test_double", "tests/test_pkg.py::test_half[four"],
        "PASS_TO_PASS": [f"tests/test_pkg.py::{name}" for name in ("test_old", "test_known")],
        "eval_script": script.format(patch=test_patch),
        "log_parser": "parse_log_pytest",
        "eval_type": "pass_and_fail",
        "image": "example/small:latest",
    }
    return parse(row)


def write_recipe(directory: Path, before: Mapping[str, str] = BEFORE) -> Path:
    """An image's recipe that has the repository in ``/testbed``."""
    setup = "for place in $VIRTUAL_ENV/lib/python3*/site-packages; do echo /testbed > $place/testbed.pth; done\n"
    for name, text in before.items():
        setup += f"mkdir -p $(dirname {name}); cat > {name} <<'EOF_'\n{text}EOF_\n"
    directory.mkdir(parents=True)
    (directory / "image.toml").write_text(f"base = 'python'\nworkdir = '/testbed'\nsetup = '''\n{setup}'''\n")
    return directory
