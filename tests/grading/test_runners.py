"""Every runner tells the fixed tree from the broken one, and what a patch does to it is the patch's doing."""

from __future__ import annotations

from pathlib import Path

import pytest

from cwm_env.grading import Grader, record_expected
from cwm_env.grading.gold import gold_patch
from cwm_env.images import ImageStore
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.sandbox.run import run
from cwm_env.types import Grade, Task
from tests.grading.tasks import BUGGY, HIDDEN, write_task

UNITTEST = """
import unittest
import pkg

class Doubles(unittest.TestCase):
    def test_two(self):
        self.assertEqual(pkg.double(2), 4)

    @unittest.skip("later")
    def test_skipped(self):
        pass

    def test_parts(self):
        for n in range(3):
            with self.subTest(n=n):
                self.assertEqual(pkg.double(n), 2 * n)
"""
JUNIT = """
python3 - <<'EOF'
import os, sys
sys.path.insert(0, "/repo")
import pkg
bad = pkg.double(2) != 4
open(os.environ["RESULTS"] + "/one.xml", "w").write(
    '<testsuites><testsuite><testcase classname="a.B" name="two">%s</testcase>'
    '<testcase classname="a.B" name="skipped"><skipped/></testcase></testsuite></testsuites>'
    % ("<failure message='x'/>" if bad else ""))
EOF
"""
TAP = """
echo noise; echo 1..2
grep -q 'x + x$' pkg/__init__.py && echo 'ok 1 - doubles' || echo 'not ok 1 - doubles'
echo 'ok 2 - later # SKIP not now'
"""
SETTINGS = {
    "manage.py": "import os, sys\nos.environ['DJANGO_SETTINGS_MODULE'] = 'settings'\n"
    "from django.core.management import execute_from_command_line\nexecute_from_command_line(sys.argv)\n",
    "settings.py": "SECRET_KEY = 'x'\nINSTALLED_APPS = ['pkg']\n"
    "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}\n",
}
DJANGO = """
from django.test import TestCase
import pkg

class DoubleTests(TestCase):
    def test_two(self):
        self.assertEqual(pkg.double(2), 4)
"""

RUN = "import unittest\nunittest.main('test_it')\n"
PACKAGES = "$(echo $VIRTUAL_ENV/lib/python3*/site-packages)"


def both(backend: NamespacesBackend, task: Task) -> tuple[Grade, Grade]:
    """The verdicts on the untouched tree and on the fixed one."""
    image = ImageStore().get(task.image)
    grader = Grader(backend, image, task)
    return grader.grade_patch(""), grader.grade_patch(gold_patch(backend, image, task))


def added(path: str, text: str) -> str:
    """A patch that adds a file."""
    lines = text.splitlines()
    return f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{len(lines)} @@\n" + "".join(f"+{line}\n" for line in lines)


def made(directory: Path, kind: str) -> Task:
    """The task of a runner."""
    if kind == "pytest":
        ids = ["tests/test_it.py::test_double"]
        return write_task(directory, {"test_it.py": HIDDEN}, ids, pass_to_pass=["repo/tests/test_old.py::test_old"],
                          paths=["/tests", "/repo/tests"])  # fmt: skip
    if kind == "unittest":
        ids = ["test_it.Doubles.test_two", "test_it.Doubles.test_parts"]
        return write_task(directory, {"test_it.py": UNITTEST}, ids, runner="unittest")
    if kind == "functions":
        return write_task(directory, {"test_it.py": HIDDEN}, ["tests/test_it.py::test_double"], runner="functions")
    if kind == "django":
        hidden = {"test.patch": added("pkg/tests.py", DJANGO)}
        return write_task(directory, hidden, ["pkg.tests.DoubleTests.test_two"], runner="unittest",
                          args=["/repo/manage.py", "test", "pkg"], repository={**BUGGY, **SETTINGS},
                          packages=["django==5.2.8", "asgiref==3.13.0", "sqlparse==0.6.1"])  # fmt: skip
    if kind == "installed":  # as old Djangos are: a copy among the packages, and a script in a directory of its own
        copy = {f"{PACKAGES}/pkg/__init__.py": BUGGY["pkg/__init__.py"], "checks/run.py": RUN}
        hidden = {"test.patch": added("checks/test_it.py", UNITTEST)}
        return write_task(directory, hidden, ["test_it.Doubles.test_two"], runner="unittest",
                          args=["/repo/checks/run.py"], repository={**BUGGY, **copy})  # fmt: skip
    if kind == "script":
        script = "grep -cx '    return x + x' /repo/pkg/__init__.py > /logs/verifier/reward.txt"
        return write_task(directory, {"test.sh": script}, [])
    name = {"junit": "a.B::two", "tap": "doubles", "exit": "exit"}[kind]
    script = {"junit": JUNIT, "tap": TAP, "exit": "grep -q 'x + x$' pkg/__init__.py"}[kind]
    return write_task(directory, {"run.sh": script}, [name], runner=kind)


@pytest.mark.parametrize(
    "kind", ["pytest", "unittest", "functions", "django", "installed", "junit", "tap", "exit", "script"]
)
def test_a_fix_is_told_from_no_fix(kind: str, tmp_path: Path, backend: NamespacesBackend) -> None:
    untouched, fixed = both(backend, made(tmp_path, kind))
    assert untouched.outcome == "unresolved" and untouched.reward == 0.0 and untouched.trusted, untouched
    assert fixed.outcome == "resolved" and fixed.reward == 1.0, (fixed.reason, fixed.output)
    assert fixed.trusted == (kind not in ("junit", "tap", "exit", "script"))


@pytest.mark.parametrize("kind", ["pytest", "unittest", "functions", "django", "junit", "tap"])
def test_expected_tests_are_recorded(kind: str, tmp_path: Path, backend: NamespacesBackend) -> None:
    task = made(tmp_path, kind)
    found = record_expected(backend, ImageStore().get(task.image), task)
    assert found == (sorted(task.tests.fail_to_pass), list(task.tests.pass_to_pass))


FORGERY = """
cat >> pkg/__init__.py <<'EOF'

import unittest
def _pass(self, result=None):
    result = result or self.defaultTestResult()
    result.startTest(self); result.addSuccess(self); result.stopTest(self)
unittest.TestCase.run = _pass
unittest.TestCase.__call__ = _pass
EOF
"""


@pytest.mark.parametrize("kind", ["unittest", "django"])
def test_forged_results_of_unittest_are_tampering(kind: str, tmp_path: Path, backend: NamespacesBackend) -> None:
    task = made(tmp_path, kind)
    image = ImageStore().get(task.image)
    sandbox = backend.create(image, task.limits)
    try:
        run(sandbox, ["bash", "-c", FORGERY], cwd="/repo", timeout=20)
        grade = Grader(backend, image, task).grade(sandbox)
    finally:
        sandbox.close()
    assert (grade.outcome, grade.reward) == ("tampered", 0.0), grade.reason
    assert "canaries passed" in grade.reason and "unittest.TestCase.run" in grade.patch


@pytest.mark.parametrize(
    "left",
    [
        "echo nonsense",
        "echo nan",
        "echo inf",
        "echo 1e9",
        "echo -1",
        ":",
        "mkfifo $F; :",
        "ln -sf /dev/zero $F; :",
        "mkdir $F; :",
    ],
)
def test_a_script_that_leaves_no_reward_gives_none(left: str, tmp_path: Path, backend: NamespacesBackend) -> None:
    script = f'F=/logs/verifier/reward.txt; out=$({left}); [ -e $F ] || echo "$out" > $F'
    task = write_task(tmp_path, {"test.sh": script}, [])
    grade = Grader(backend, ImageStore().get(task.image), task).grade_patch("")
    assert (grade.outcome, grade.reward) == ("unresolved", 0.0)


def test_a_script_may_give_a_part_and_write_json(tmp_path: Path, backend: NamespacesBackend) -> None:
    task = write_task(tmp_path, {"test.sh": "echo '{\"reward\": 0.25}' > /logs/verifier/reward.json"}, [])
    grade = Grader(backend, ImageStore().get(task.image), task).grade_patch("")
    assert (grade.outcome, grade.reward) == ("unresolved", 0.25)


def test_a_patch_to_hidden_places_is_overruled_by_the_hidden_patch(tmp_path: Path, backend: NamespacesBackend) -> None:
    patch = "--- a/pkg/checks.py\n+++ b/pkg/checks.py\n@@ -1 +1,2 @@\n-limit = 5\n+limit = 4\n+# hidden\n"
    patch += "--- /dev/null\n+++ b/pkg/new/more.py\n@@ -0,0 +1 @@\n+limit = 4\n"
    hidden = "import pkg, pkg.checks, pkg.new.more as more\ndef test_limit(): assert pkg.double(2) == more.limit\n"
    task = write_task(tmp_path, {"test_it.py": hidden, "test.patch": patch}, ["tests/test_it.py::test_limit"],
                      repository={**BUGGY, "pkg/checks.py": "limit = 5\n"})  # fmt: skip
    image = ImageStore().get(task.image)
    cheat = "--- a/pkg/checks.py\n+++ b/pkg/checks.py\n@@ -1 +1 @@\n-limit = 5\n+limit = 5.0\n"
    assert Grader(backend, image, task).grade_patch(cheat).outcome == "unresolved"
    for mode, content in (("100644", "x"), ("120000", "../tests")):  # in the place of a directory that the tests need
        new = f"diff --git a/pkg/new b/pkg/new\nnew file mode {mode}\n--- /dev/null\n+++ b/pkg/new\n"
        new += f"@@ -0,0 +1 @@\n+{content}\n"
        grade = Grader(backend, image, task).grade_patch(f"{new}\\ No newline at end of file\n")
        assert grade.reason.startswith("1 of 1 tests did not pass")
    assert Grader(backend, image, task).grade_patch(gold_patch(backend, image, task)).outcome == "resolved"


def test_reinstall_builds_the_patched_tree_and_touches_nothing_else(tmp_path: Path, backend: NamespacesBackend) -> None:
    """What it does outside the repository, and to protected files in it, is gone."""
    build = "grep ^gen pkg/source.txt > pkg/generated.py; echo > $VIRTUAL_ENV/marker; echo > conftest.py; rm -r tests"
    hidden = (
        "import os, pathlib, pkg.generated\ndef test_built():\n    assert pkg.generated.generated == 2\n"
        "    assert not pathlib.Path(os.environ['VIRTUAL_ENV'], 'marker').exists()\n"
        "    assert not pathlib.Path('/repo/conftest.py').exists()\n"
        "    assert pathlib.Path('/repo/tests/test_old.py').exists()\n"
    )
    repository = {**BUGGY, "pkg/source.txt": "generated = 1\n", ".gitignore": "pkg/generated.py\n"}
    task = write_task(tmp_path, {"test_it.py": hidden}, ["tests/test_it.py::test_built"], repository=repository,
                      fix="sed -i s/1/2/ pkg/source.txt", reinstall=build)  # fmt: skip
    untouched, fixed = both(backend, task)
    assert (untouched.outcome, fixed.outcome) == ("unresolved", "resolved"), fixed.reason
    assert "generated.py" not in fixed.patch
