"""Runs pytest, unittest or plain functions in the grading sandbox, and reports each test over a descriptor of its own.

    python launcher.py pytest|unittest|functions WORKDIR PYTHONPATH ARGUMENT...

Standard library and the runner only, and any Python since 3.6: it runs with the image's interpreter. Its first line of
standard input is a nonce. Every record it writes to descriptor 9 is one line of JSON that carries the nonce; the
last one says that the run came to its end. It is started by file name, so that the working directory is not on the
module path.
"""

import contextlib
import importlib
import json
import os
import runpy
import sys
import traceback
from typing import Any, List, Optional

_CHANNEL = 9
# What the runners load only when they need it, and what a file of the same name in the repository would then replace.
_LATER = {
    "pytest": ["pytest", "_pytest.pastebin", "_pytest.junitxml", "_pytest.doctest", "_pytest.pytester_assertions"],
    "unittest": ["unittest", "unittest.mock", "unittest.async_case"],
    "functions": ["random", "types"],
}
_STANDARD = [
    "argparse",
    "code",
    "difflib",
    "inspect",
    "multiprocessing",
    "pdb",
    "platform",
    "subprocess",
    "tempfile",
    "traceback",
]


class Channel:
    """Where results go: this process's own, and no child's."""

    def __init__(self, nonce: str) -> None:
        self._nonce = nonce
        self._process = os.getpid()

    def write(self, **record: object) -> None:
        """Write one record, in one piece."""
        if os.getpid() != self._process:
            return  # a fork of ours that a test let run on
        record["nonce"] = self._nonce
        data = (json.dumps(record) + "\n").encode()
        while data:
            data = data[os.write(_CHANNEL, data) :]


class PytestReporter:
    """A pytest plugin that writes one record per test phase that decides something."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._root = ""

    def pytest_configure(self, config: Any) -> None:
        """Called by pytest before anything else: ids are relative to its root, ours to that of the file system."""
        root = str(getattr(config, "rootpath", None) or config.rootdir).strip("/")
        self._root = root + "/" if root else ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Called by pytest for setup, call and teardown of each test."""
        status = _status(report)
        if status:
            self._channel.write(id=self._root + report.nodeid, status=status)

    def pytest_collectreport(self, report: Any) -> None:
        """Called by pytest for each file and class that it collected."""
        if report.failed:
            self._channel.write(id=self._root + report.nodeid, status="ERROR")


def _status(report: Any) -> Optional[str]:
    expected_to_fail = hasattr(report, "wasxfail")
    if report.when == "call":
        if expected_to_fail:
            return "XFAIL" if report.skipped else "XPASS"
        return {"passed": "PASSED", "failed": "FAILED", "skipped": "SKIPPED"}[report.outcome]
    if report.failed:
        return "ERROR"
    if report.skipped:
        return "XFAIL" if expected_to_fail else "SKIPPED"
    return None


def run_pytest(channel: Channel, arguments: List[str]) -> int:
    """Run pytest; returns its exit code."""
    import pytest

    return int(pytest.main(arguments, plugins=[PytestReporter(channel)]))


def run_unittest(channel: Channel, arguments: List[str]) -> int:
    """Run a script that runs unittest or Django's tests, or else what is found in directories; returns the exit code.

    Every runner that is built on ``unittest.TextTestRunner``, as Django's is, makes the result class that stands there.
    """
    import unittest

    def report(test: Any, status: str) -> None:
        channel.write(id=test.id(), status=status, title=test.shortDescription())

    class Result(unittest.TextTestResult):
        """Writes one record per test, and per part of a test that fails."""

        def addSuccess(self, test: Any) -> None:  # noqa: N802 - unittest's names, as are the next five
            super().addSuccess(test)
            report(test, "PASSED")

        def addFailure(self, test: Any, err: Any) -> None:  # noqa: N802
            super().addFailure(test, err)
            report(test, "FAILED")

        def addError(self, test: Any, err: Any) -> None:  # noqa: N802
            super().addError(test, err)
            report(test, "ERROR")

        def addSkip(self, test: Any, reason: str) -> None:  # noqa: N802
            super().addSkip(test, reason)
            report(getattr(test, "test_case", test), "SKIPPED")

        def addExpectedFailure(self, test: Any, err: Any) -> None:  # noqa: N802
            super().addExpectedFailure(test, err)
            report(test, "XFAIL")

        def addUnexpectedSuccess(self, test: Any) -> None:  # noqa: N802
            super().addUnexpectedSuccess(test)
            report(test, "XPASS")

        def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802
            super().addSubTest(test, subtest, err)
            if err is not None:
                failed = issubclass(err[0], test.failureException)
                report(test, "FAILED" if failed else "ERROR")

    unittest.TextTestRunner.resultclass = Result  # type: ignore[assignment]
    if arguments and arguments[0].endswith(".py"):
        return _run_script(arguments)
    suite = unittest.TestSuite()
    for path in arguments:
        place, pattern = (path, "test*.py") if os.path.isdir(path) else os.path.split(path)
        suite.addTests(unittest.TestLoader().discover(place, pattern, place))
    return 0 if unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful() else 1


def run_functions(channel: Channel, arguments: List[str]) -> int:
    """Run the functions ``test_…`` of modules, as sympy's runner does; returns the exit code.

    ``NAME=VALUE`` among the arguments sets a variable of the environment.
    A module is run in a fresh name space; what raises says by its exception how the test ended.
    """
    words = {"AssertionError": "FAILED", "Failed": "FAILED", "XFail": "XFAIL", "XPass": "XPASS", "Skipped": "SKIPPED"}
    settings = [each for each in arguments if "=" in each and not os.path.isabs(each)]
    os.environ.update(dict(each.split("=", 1) for each in settings))
    good = True
    paths = []  # type: List[str]
    for each in arguments:
        inside = sorted(os.listdir(each)) if os.path.isdir(each) else []
        paths += [os.path.join(each, name) for name in inside if name.startswith("test_") and name.endswith(".py")]
        paths += [each] if each not in settings and not os.path.isdir(each) else []
    for path in paths:
        names: Any = {"__file__": path, "__name__": os.path.splitext(os.path.basename(path))[0]}
        place = path.strip("/")
        try:
            with open(path, "rb") as file:
                exec(compile(file.read(), path, "exec"), names)  # noqa: S102
        except Exception:
            traceback.print_exc()
            channel.write(id=place, status="ERROR")
            good = False
        for name, test in list(names.items()):
            code = getattr(test, "__code__", None) if name.startswith("test_") else None
            if code is None or getattr(test, "_slow", False):
                continue
            status = "PASSED"
            try:
                test()
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # pytest's own are no Exception
                traceback.print_exc()
                status = words.get(type(error).__name__, "ERROR")
            good = good and status not in ("FAILED", "ERROR")
            channel.write(id=place + "::" + name, status=status)
    return 0 if good else 1


def _run_script(arguments: List[str]) -> int:
    sys.argv = arguments
    # A copy that `setup.py install` made is the image's, without the change: the repository comes before it.
    installed = (index for index, path in enumerate(sys.path) if "site-packages" in path.split(os.sep))
    sys.path.insert(next(installed, len(sys.path)), os.getcwd())
    sys.path.insert(0, os.path.dirname(os.path.abspath(arguments[0])))
    try:
        runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    return 0


def _load(runner: str, workdir: str) -> None:
    """Load the runner while nothing of the repository can stand in for a part of it, or be asked for one."""
    everything = sys.path[:]
    inside = os.path.realpath(workdir)
    sys.path[:] = [path for path in everything if path and (os.path.realpath(path) + "/").find(inside + "/") != 0]
    for name in _STANDARD + _LATER[runner]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    sys.path[:] = everything[1:]  # without this file's own directory


def main() -> None:
    """Run, report the end, and be gone before anything that the tests left behind can speak."""
    channel = Channel(sys.stdin.readline().strip())
    sys.stdin = open(os.devnull)
    os.dup2(sys.stdin.fileno(), 0)
    os.set_inheritable(_CHANNEL, False)
    runner, workdir, path = sys.argv[1:4]
    _load(runner, workdir)
    if path:
        os.environ["PYTHONPATH"] = path
        sys.path[:0] = path.split(":")
    code = {"pytest": run_pytest, "unittest": run_unittest, "functions": run_functions}[runner](channel, sys.argv[4:])
    channel.write(end=code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
