"""Canaries fail, look like other tests, and leave their module as it was."""

from __future__ import annotations

import ast
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from cwm_env.grading import canaries
from cwm_env.grading.altering import altered
from cwm_env.grading.outline import outline
from cwm_env.types import Runner

PLAIN = b'''"""Doc."""
from __future__ import annotations

__all__ = ["test_one"]
import pytest


@pytest.mark.parametrize("n", [1, 2, 3], ids=["a", "b", "c"])
def test_one(n):
    """Doc of it."""
    text = """
several
lines"""
    assert str(n) + text == f"{n}\\nseveral\\nlines"


class TestGroup:
    def setup_method(self):
        self.x = 1

    def test_in_group(self):
        assert self.x == 1


@pytest.fixture
def two():
    return 2


def test_fixture(two):
    assert 2 == two'''
UNITTEST = b"""import unittest
class Case(unittest.TestCase):
    def test_it(self):
        self.assertEqual(len("ab"), 2)
"""
PARAMETRISED = b"import pytest\npytestmark = pytest.mark.parametrize('x', [1, 2])\ndef test_it(x): assert x\n"
GENERATED = b"def pytest_generate_tests(metafunc): metafunc.parametrize('x', [1])\ndef test_it(x): assert x == 1\n"
CRLF = PLAIN.replace(b"\n", b"\r\n")
NUMPY = b"from numpy.testing import assert_allclose, assert_equal\ndef test_it():\n    assert_equal(1, 1)\n"
LATIN = "# -*- coding: latin-1 -*-\ndef test_it():\n    assert 'é' == 'é'\n".encode("latin-1")


def outcomes(directory: Path, source: bytes, *arguments: str) -> dict[str, list[str]]:
    """What pytest says of each test of a module, by the last part of its id."""
    (directory / "test_module.py").write_bytes(source)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rA",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
        *arguments,
        "test_module.py",
    ]
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True)
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        word, _, rest = line.partition(" ")
        if word in ("PASSED", "FAILED", "ERROR"):
            found.setdefault(canaries.last_part(rest.partition(" - ")[0]), []).append(word)
    return found


@pytest.mark.parametrize(
    "source", [PLAIN, UNITTEST, PARAMETRISED, GENERATED, CRLF, LATIN, NUMPY, b"", b"def test_x(): pass"]
)
def test_every_canary_fails_and_nothing_else_changes(source: bytes, tmp_path: Path) -> None:
    before = outcomes(tmp_path, source)
    for several in (True, False):
        planted = canaries.plant(source, runner="pytest", taken=set(), copied=set(before), several=several)
        after = outcomes(tmp_path, planted.source)
        assert len(planted.names) >= 2
        for name in planted.names:
            assert set(after.pop(name)) == {"FAILED"}, planted.source.decode(errors="replace")
        assert after == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["--deselect=test_module.py::test_wraps_async", "--deselect", "test_module.py::TestLeft"],
        ["-knot (wraps or left)"],
    ],
)
def test_no_canary_is_where_the_arguments_of_a_run_leave_tests_out(arguments: list[str], tmp_path: Path) -> None:
    tests = "".join(f"def test_wraps_async_{n}(): assert [n] == [n]\n".replace("n]", f"{n}]") for n in range(20))
    left = "class TestLeft:\n" + "".join(f"    def test_{n}(self): assert 1 + {n} == {n + 1}\n" for n in range(20))
    source = (tests + left).encode()
    left_out = canaries.LeftOut.of(arguments)
    planted: list[str] = []
    taken: set[str] = set()
    for _ in range(20):
        copied = {f"test_{n}" for n in range(20)}
        module = canaries.plant(source, runner="pytest", taken=taken, copied=copied, left_out=left_out)
        planted += module.names
        source = module.source
    found = outcomes(tmp_path, source, *arguments)
    assert {name: found.get(name) for name in planted} == {name: ["FAILED"] for name in planted}


def test_a_module_for_unittest_gets_methods(tmp_path: Path) -> None:
    planted = canaries.plant(UNITTEST, runner="unittest", taken=set(), copied={"test_it"})
    (tmp_path / "test_module.py").write_bytes(planted.source)
    command = [sys.executable, "-m", "unittest", "-v", "test_module"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stderr
    assert "test_it (test_module.Case.test_it) ... ok" in said
    assert said.count("... FAIL") + said.count("... ERROR") == len(planted.names) == 6


def test_each_of_numpys_comparisons_that_a_module_names_is_tried() -> None:
    planted = canaries.plant(NUMPY, runner="pytest", taken=set(), copied=())
    assert {planted.source.count(b"." + helper + b"(") for helper in (b"assert_allclose", b"assert_equal")} == {1}


@pytest.mark.parametrize("runner", ["pytest", "unittest"])
def test_names_are_new_and_never_the_same(runner: Runner) -> None:
    taken: set[str] = set()
    names = [name for _ in range(50) for name in canaries.plant(PLAIN, runner=runner, taken=taken, copied=()).names]
    assert len(names) == len(set(names)) and not {"test_one", "test_in_group", "test_fixture"} & set(names)


def test_a_copy_expects_another_value_of_the_same_kind() -> None:
    tests = {test.name: test for test in outline(PLAIN).copyable}
    assert set(tests) == {"test_one", "test_in_group", "test_fixture"}
    copy = altered(tests["test_in_group"], 0, "test_new", random.Random(1))
    assert copy.startswith("    def test_new(self):") and not copy.endswith("self.x == 1")
    (function,) = ast.parse(altered(tests["test_one"], 0, "test_new", random.Random(1))).body
    assert isinstance(function, ast.FunctionDef) and len(function.decorator_list) == 1
    assert "[1]" in ast.unparse(function.decorator_list[0]) and "ids" not in ast.unparse(function.decorator_list[0])
    assert altered(tests["test_fixture"], 0, "test_new", random.Random(1)).endswith("== two")
    assert "assert 2 ==" not in altered(tests["test_fixture"], 0, "test_new", random.Random(1))


@pytest.mark.parametrize(
    "source",
    [
        b"import pytest\n@pytest.mark.skipif(True, reason='')\ndef test_it(): assert f() == 1\n",
        b"import pytest\ndef test_it():\n    pytest.skip()\n    assert f() == 1\n",
        b"async def test_it(): assert f() == 1\n",
        b"def test_it():\n    if f():\n        assert f() == 1\n",
        b"def test_it(: assert\n",
    ],
)
def test_what_need_not_reach_its_comparison_is_not_copied(source: bytes) -> None:
    assert outline(source).copyable == ()


def test_the_output_does_not_speak_of_canaries() -> None:
    said = "== FAILURES ==\n__ test_a __\nx\n__ TestB.test_canary __\nsecret\n__ test_c[1] __\ny\n== summary ==\n"
    said += "FAILED f::test_canary\nFAILED f::test_c\n"
    shown = canaries.hide(said, ["test_canary"])
    assert "secret" not in shown and "canary" not in shown
    assert all(word in shown for word in ("test_a", "x\n", "test_c[1]", "y\n", "FAILED f::test_c"))
    assert canaries.hide(said, []) == said


ASSERTING = """
import contextlib
import unittest

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal, assert_equal


def assert_identical(one, other):
    assert one is other, "not the same"


def test_statements():
    nothing, some = None, [1, 2]
    assert len(some) == 2
    assert nothing is None
    assert 1 in some
    assert 1 in set(some)
    assert "a" in "abc"
    assert not nothing and some
    assert 3 not in some
    assert isinstance(some, list), "no list"
    assert (np.array([1]) == [1]).all()
    assert some[0] < some[1] <= 2
    assert {1: 2} == dict([some])
    assert set(some) == {1, 2}
    assert -some[0] == -1
    assert 1e300 == float("1e300")
    assert bytes(some) == b"\\1\\2"
    assert bool(some) == True


def test_exceptions():
    with pytest.raises(ValueError):
        int("x")
    with pytest.raises((KeyError, IndexError), match="range") as caught:
        [][1]
    with contextlib.nullcontext(), pytest.raises(Exception):
        int("x")
    pytest.raises(ValueError, int, "x")


def test_contexts():
    with contextlib.nullcontext(1) as one:
        assert one == 1
        with contextlib.nullcontext(2) as two:
            assert two == 2
    try:
        assert one
    finally:
        one = None
    with contextlib.suppress(AssertionError):
        assert one == 2


def test_tidied():
    with contextlib.nullcontext([1]) as some:
        assert some == [1]
        some.clear()
        assert some == []


def test_helpers():
    same, empty = object(), np.array([])
    assert_identical(same, same)
    assert_equal(empty, [])
    assert_array_equal(np.arange(3), np.arange(3))
    assert_allclose(np.ones(2), 1.0)
    assert_allclose(1.0, 1 + 1e-9)
    np.testing.assert_almost_equal(1, 1)
    np.testing.assert_array_almost_equal(empty, empty)


class TestMethods(unittest.TestCase):
    def test_methods(self):
        self.assertEqual(len("ab"), 2)
        self.assertAlmostEqual(1.0, 1 + 1e-9)
        self.assertCountEqual([1, 2], (2, 1))
        self.assertDictEqual({}, {})
        self.assertTrue([1])
        self.assertIn(1, [1])
        self.assertIs(None, None)
        self.assertIsNone(None)
        with self.assertRaises(ValueError):
            int("x")
        with self.assertRaisesRegex(ValueError, "x"):
            int("x")
        self.assertRaises(ValueError, int, "x")
"""


def test_a_copy_fails_whatever_of_it_was_altered_and_runs_once_more(tmp_path: Path) -> None:
    tests = [test for test in outline(ASSERTING.encode()).copyable if test.name.startswith("test_")]
    assert [(test.name, test.ways) for test in tests] == [
        ("test_statements", 16), ("test_exceptions", 7), ("test_contexts", 3), ("test_tidied", 1),
        ("test_helpers", 7), ("test_methods", 13)
    ]  # fmt: skip
    copies = [
        altered(test, way, f"test_copy_{test.name}_{way}", random.Random(1))
        for test in reversed(tests)  # the methods first, for theirs is the class that the source ends with
        for way in range(test.ways)
    ]
    found = outcomes(tmp_path, (ASSERTING + "\n\n".join(["", *copies])).encode())
    assert {name: found.pop(name) for name in [test.name for test in tests]} == {
        test.name: ["PASSED"] for test in tests
    }
    assert len(found) == len(copies) and all(outcome == ["FAILED"] for outcome in found.values()), found


@pytest.mark.parametrize(
    "body",
    [
        "    if not x: return\n    assert x == 1",
        "    for _ in x:\n        assert x == 1",
        "    pytest.skip('no')\n    assert x == 1",
        "    with pytest.raises(SystemExit): exit_()",
        "    with pytest.raises(KeyboardInterrupt): x()",
        "    with pytest.raises(unittest.SkipTest): x()",
        "    check_everything(x, 1)",
        "    assert_equal(*x)",
        "    yield\n    assert x == 1",
        "    with suppress(AssertionError):\n        assert x == 1",
        "    assert x == 1\n    x.close()",
        "    assert x == 1\n    for one in x:\n        one.close()",
        "    assert x == 1\n    del x",
    ],
)
def test_what_might_not_fail_or_would_end_the_run_is_not_copied(body: str) -> None:
    assert outline(f"def test_it(x):\n{body}\n".encode()).copyable == ()


def test_what_is_asserted_after_the_last_change_is_altered() -> None:
    source = "def test_it(x):\n    assert not x\n    x.add(1)\n    assert x\n    y = sum(x)\n    assert y == 1\n"
    (test,) = outline(source.encode()).copyable
    copies = [altered(test, way, "test_copy", random.Random(1)) for way in range(test.ways)]
    assert len(copies) == 2 and all("assert not x\n" in copy for copy in copies)


def test_a_function_in_a_test_may_return() -> None:
    assert outline(b"def test_it():\n    def one(): return 1\n    assert one() == 1\n").copyable
