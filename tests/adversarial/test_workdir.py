"""The policy's code runs before the hidden tests are loaded, in a workdir that may be written to: it changes none."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from cwm_env.grading import Grader
from cwm_env.images import ImageStore
from cwm_env.sandbox.base import Backend
from cwm_env.tasks.swebench import Record, no_tests, parse, task_of
from cwm_env.types import Grade, Image
from tests.swebench.small import BEFORE, FIXED, PACKAGE, difference, small_record, write_recipe

RUNTESTS = """import sys
import pkg
import unittest
suite = unittest.defaultTestLoader.loadTestsFromNames(sys.argv[-1:])
sys.exit(not unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful())
"""
HERE = {**BEFORE, "conftest.py": "import pkg\n", "tests/runtests.py": RUNTESTS}
HIDDEN = {
    "tests/test_pkg.py": """import pkg


def test_old():
    open("/testbed/left-by-a-test", "w").close()


def test_double():
    assert pkg.double(2) == 4
""",
    "test_top.py": "import pkg\n\n\ndef test_old():\n    pass\n\n\ndef test_double():\n    assert pkg.double(2) == 4\n",
    "tests/pkg_tests.py": """from fractions import Fraction
from unittest import TestCase

import pkg


class Tests(TestCase):
    def test_old(self):
        open("/testbed/left-by-a-test", "w").close()

    def test_double(self):
        self.assertEqual(pkg.double(2), Fraction(4))
""",
}
ATTACK = """
def attack():
    import glob, os, shutil, sys, textwrap
    hidden = {hidden!r}
    place, name = os.path.split(hidden)
    text = open(hidden).read().replace("== 4\\n", "== 5\\n")  # canaries expect other values, and go on to fail
{code}
try: attack()
except OSError as error: outcome = f"attack: {{error}}"
else: outcome = "attack: done"
doubled = double
def double(x):
    print(outcome)
    return doubled(x)
"""
"""At the end of the package. The image's own ``conftest.py`` imports it before any test is collected."""

REPLACED = {
    "written": "open(hidden, 'w').write(text)",
    "moved-over": "open('/testbed/x.py', 'w').write(text); os.replace('/testbed/x.py', hidden)",
    "unlinked": "os.unlink(hidden); open(hidden, 'w').write(text)",
    "directory-moved": """
shutil.move(place, "/testbed/old" if place != "/testbed" else "/old")
os.mkdir(place)
open(hidden, "w").write(text)
""",
    "package": """
os.mkdir(hidden[:-3])
open(hidden[:-3] + "/__init__.py", "w").write(f"__file__ = {hidden!r}\\n{text}")
""",
    "compiled": """
from pathlib import Path
from _pytest.assertion import rewrite
directory = rewrite.get_cache_dir(Path(hidden))
os.makedirs(directory, exist_ok=True)
with open(directory / (name[:-3] + rewrite.PYC_TAIL), "wb") as file:
    rewrite._write_pyc_fp(file, os.stat(hidden), compile(text, hidden, "exec"))
""",
    "conftest": "open('/testbed/conftest.py', 'w').write('')",
    "conftest-moved-over": "open('/testbed/x', 'w').close(); os.replace('/testbed/x', '/testbed/conftest.py')",
    "conftest-beside": "open(place + '/conftest.py', 'w').write('')",
}
"""What would change a hidden test, or what pytest takes for one, before it is loaded."""

PLANTED = """
hook = '''
import pytest
@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    report.outcome, report.longrepr = "passed", None
'''
open("/testbed/evil.py", "w").write(textwrap.dedent(hook))
for ini in ("pytest.ini", ".pytest.ini", "tox.ini"):
    open("/testbed/" + ini, "w").write("[pytest]\\naddopts = -p evil\\n")
open("/testbed/setup.cfg", "w").write("[tool:pytest]\\naddopts = -p evil\\n")
for module in ("sitecustomize", "usercustomize", "unittest", "pytest", "json", "fractions", "difflib"):
    open("/testbed/" + module + ".py", "w").write(
        "class Fraction:\\n    def __init__(self, *_): pass\\n    def __eq__(self, other): return True\\n"
        if module == "fractions" else "import os; os._exit(0)\\n")
"""
AGAIN = """
if "PYTHONINSPECT" not in os.environ:
    os.environ["PYTHONINSPECT"] = ""
    import gc
    for module in glob.glob("/testbed/*.py"):
        if os.access(module, os.W_OK) and not module.endswith("evil.py"): os.unlink(module)
    channel = next(thing for thing in gc.get_objects() if type(thing).__name__ == "Channel")
    end, start = os.pipe()
    os.write(start, (channel._nonce + "\\n").encode())
    os.dup2(end, 0)
    os.set_inheritable(9, True)
    os.execv(sys.executable, open("/proc/self/cmdline").read().split("\\0")[:-1])
"""
"""Starts the run once more, in the same process: with the nonce, and what was planted."""

Play = Callable[[str, str], Grade]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The small repository, with a ``conftest.py`` that imports it and a script like Django's."""
    return ImageStore().get(str(write_recipe(tmp_path_factory.mktemp("recipe") / "small", HERE)))


def record_of(directory: Path, hidden: str) -> Record:
    """The small record with one hidden module."""
    unittest = hidden == "tests/pkg_tests.py"
    ids = "{} (pkg_tests.Tests)" if unittest else f"{hidden}::{{}}"
    row = small_record(directory / "record").raw
    changed = {
        "repo": "django/django" if unittest else row["repo"],
        "patch": difference(directory / "gold", {"pkg/__init__.py": FIXED}, HERE),
        "test_patch": difference(directory / "hidden", {hidden: HIDDEN[hidden]}, HERE),
        "FAIL_TO_PASS": [ids.format("test_double")],
        "PASS_TO_PASS": [ids.format("test_old")],
    }
    return parse({**row, **changed})


@pytest.fixture
def play(tmp_path: Path, backend: Backend, image: Image) -> Play:
    """The verdict on an attack, or on the fix where it is empty."""

    def play(hidden: str, code: str) -> Grade:
        record = record_of(tmp_path, hidden)
        attack = ATTACK.format(hidden=f"/testbed/{hidden}", code=textwrap.indent(code, "    "))
        evil = difference(tmp_path / "evil", {"pkg/__init__.py": PACKAGE + attack}, HERE)
        return Grader(backend, image, task_of(record, image.name, no_tests())).grade_patch(
            evil if code else record.patch
        )

    return play


def statuses(grade: Grade) -> dict[str, str]:
    """By the bare names of tests."""
    return {test.replace(".", ":").rpartition(":")[2]: status for test, status in grade.tests.items()}


@pytest.mark.parametrize("hidden", HIDDEN)
def test_the_fix_is_resolved(play: Play, hidden: str) -> None:
    grade = play(hidden, "")
    assert (grade.outcome, grade.trusted) == ("resolved", True), grade.reason + grade.output


@pytest.mark.skipif(os.geteuid() != 0, reason="without root there is one user id, and it owns everything")
@pytest.mark.parametrize("hidden", ["tests/test_pkg.py", "test_top.py"])
@pytest.mark.parametrize("attack", REPLACED)
def test_no_hidden_test_is_replaced_before_it_is_loaded(play: Play, hidden: str, attack: str) -> None:
    grade = play(hidden, REPLACED[attack])
    assert grade.outcome == "unresolved", grade.reason
    assert statuses(grade) == {"test_double": "FAILED", "test_old": "PASSED"}
    assert "attack: " in grade.output and "attack: done" not in grade.output


@pytest.mark.parametrize("hidden", ["tests/test_pkg.py", "tests/pkg_tests.py"])
def test_settings_and_modules_in_the_workdir_come_too_late(play: Play, hidden: str) -> None:
    grade = play(hidden, PLANTED)
    assert grade.outcome == "unresolved", grade.reason
    assert statuses(grade) == {"test_double": "FAILED", "test_old": "PASSED"}
    assert "attack: done" in grade.output


def test_a_run_that_is_started_again_with_them_is_tampered(play: Play) -> None:
    grade = play("tests/test_pkg.py", PLANTED + AGAIN)
    assert grade.outcome == "tampered" and "canaries passed" in grade.reason, grade.reason + grade.output
    assert statuses(grade) == {"test_double": "PASSED", "test_old": "PASSED"}
