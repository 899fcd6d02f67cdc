"""A mirror with a repository of three commits, and records of SWE-bench in their layout for its second one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from cwm_env.tasks.swebench import Record, parse

REPO = "example/doubling"
PROJECT = """
[build-system]
requires = ["setuptools>=64"]
build-backend = "setuptools.build_meta"
[project]
name = "doubling"
version = "1.5"
dependencies = ["six"]
[tool.setuptools]
py-modules = ["doubling"]
[project.optional-dependencies]
test = ["iniconfig"]
"""
MODULE = "import six\n\n\ndef double(x):\n    return x + x + 1\n"
FIXED = MODULE.replace(" + 1", "")
INSTALL = "python -m pip install -e '.[test]'"
SCRIPT = """#!/bin/bash
set -uxo pipefail
source /opt/miniconda3/bin/activate
conda activate testbed
cd /testbed
git config --global --add safe.directory /testbed
git status
git show
git -c core.fileMode=false diff {commit}
source /opt/miniconda3/bin/activate
conda activate testbed
{install}
git checkout {commit} test_doubling.py
: '>>>>> Start Test Output'
python -c 'import doubling, sys; print(doubling.double(1), sys.executable)'
: '>>>>> End Test Output'
git checkout {commit} test_doubling.py
"""


HIDDEN = "import doubling\n\n\ndef test_old():\n    pass\n\n\ndef test_double():\n    assert doubling.double(2) == 4\n"


def git(directory: Path, *arguments: str) -> str:
    """What git says."""
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
    return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True).stdout.strip()


def make_mirror(mirrors: Path) -> str:
    """Make ``mirrors/OWNER/NAME``; the id of its second commit."""
    place = mirrors / REPO
    place.mkdir(parents=True)
    git(place, "init", "-q")
    files = {"pyproject.toml": PROJECT, "doubling.py": "", "test_doubling.py": "", "tox.ini": "[pytest]\n"}
    for module in ("# past\n", MODULE, FIXED):
        for name, text in {**files, "doubling.py": module}.items():
            (place / name).write_text(text)
        git(place, "add", ".")
        git(place, "commit", "-qm", module.splitlines()[-1])
        git(place, "tag", f"v1.{git(place, 'rev-list', '--count', 'HEAD')}")
    return git(place, "rev-parse", "HEAD~1")


def record(commit: str, number: int = 1, **other: object) -> Record:
    """A record; it says itself how its environment is made."""
    row = {
        "instance_id": f"example__doubling-{number}",
        "repo": REPO,
        "base_commit": commit,
        "version": "1.5",
        "created_at": "2025-03-01T00:00:00Z",
        "patch": "",
        "test_patch": "",
        "problem_statement": "Doubling is wrong.",
        "FAIL_TO_PASS": ["test_doubling.py::test_double"],
        "PASS_TO_PASS": [],
        "eval_script": SCRIPT.format(commit=commit, install=INSTALL),
        "image": f"example/doubling-{number}:latest",
        "install_config": {
            "python": ".".join(map(str, sys.version_info[:2])),
            "packages": "requirements.txt",
            "reqs_path": ["requirements.txt"],
            "pip_packages": ["toolz==1.0.0", "pytest==8.4.2", "no-such-package-of-anybody-1"],
            "pre_install": ["apt-get install -y locales", "sed -i 's/pytest/pytest:edited/' tox.ini"],
            "install": INSTALL,
        },
    }
    return parse({**row, **other})


def record_with_tests(mirrors: Path, commit: str, number: int) -> Record:
    """One that can be evaluated: a fix, tests, and a script that runs them."""
    place = mirrors / REPO

    def patch(name: str, text: str) -> str:
        (place / name).write_text(text)
        try:
            return git(place, "diff", commit, "--", name) + "\n"
        finally:
            git(place, "checkout", "-q", "HEAD", "--", name)

    tests = patch("test_doubling.py", HIDDEN)
    script = re.sub(": '>>>>> Start", lambda found: f"git apply -v - <<'E_'\n{tests}E_\n{found[0]}", SCRIPT, count=1)
    script = re.sub(r"python -c .*", "pytest -rA test_doubling.py", script).format(commit=commit, install=INSTALL)
    return record(
        commit,
        number,
        patch=patch("doubling.py", FIXED),
        test_patch=tests,
        PASS_TO_PASS=["test_doubling.py::test_old"],
        eval_script=script,
        log_parser="parse_log_pytest",
        eval_type="pass_and_fail",
    )
