"""What is run under trace: a call in a source, a program, the tests of a repository."""

import linecache
import os
import sys
import traceback
from json import dumps
from types import ModuleType
from typing import Any, Dict

from cwm_env.tracing.inside.recorder import Recorder
from cwm_env.tracing.inside.settrace import SetTrace


def run(request: Dict[str, Any], recorder: Recorder) -> int:
    """Run what the request asks for, and return the exit code that the program has."""
    mode = {"function": _function, "program": _program, "tests": _tests, "loops": _loops}[request["mode"]]
    return mode(request, recorder)


def engine(recorder: Recorder, kind: str = "") -> Any:
    """What feeds the recorder: ``monitoring`` where the interpreter has it, ``settrace`` elsewhere."""
    if kind != "settrace" and hasattr(sys, "monitoring"):
        from cwm_env.tracing.inside.monitor import Monitor

        return Monitor(recorder)
    return SetTrace(recorder)


def _refuse(recorder: Recorder, reason: str, detail: str) -> int:
    recorder.put("R\t{}\n".format(dumps({"reason": reason, "detail": detail[:2000]})).encode())
    return 2


def _load(request: Dict[str, Any], recorder: Recorder) -> Any:
    """The compiled source, known to tracebacks and to the recorder."""
    source, name = request["source"], request["file"]
    recorder.sources.given(name, source)
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    return compile(source, name, "exec")


def _function(request: Dict[str, Any], recorder: Recorder) -> int:
    """Execute a source, then call its entry under trace."""
    try:
        code = _load(request, recorder)
    except (SyntaxError, ValueError) as error:
        return _refuse(recorder, "syntax", "{}: {}".format(type(error).__name__, error))
    module = ModuleType(request["module"])
    sys.modules[request["module"]] = module
    try:
        exec(code, module.__dict__)
    except BaseException as error:
        return _refuse(recorder, "import", "{}: {}".format(type(error).__name__, error))
    return _traced(request, recorder, module.__dict__[request["entries"][1]])


def _program(request: Dict[str, Any], recorder: Recorder) -> int:
    """Execute a source as ``__main__`` under trace."""
    try:
        code = _load(request, recorder)
    except (SyntaxError, ValueError) as error:
        return _refuse(recorder, "syntax", "{}: {}".format(type(error).__name__, error))
    module = ModuleType("__main__")
    module.__file__ = request["file"]
    sys.modules["__main__"] = module
    sys.argv = [request["file"]] + list(request.get("argv", ()))
    return _traced(request, recorder, lambda: exec(code, module.__dict__))


def _traced(request: Dict[str, Any], recorder: Recorder, entry: Any) -> int:
    # One call, all of it recorded: from 3.13 on, `sys.settrace` takes less for each line than `sys.monitoring`, whose
    # strength is that code which is not recorded costs nothing, and that the program may have a trace function itself.
    fastest = "settrace" if sys.version_info >= (3, 13) and "settrace" not in request["source"] else ""
    feeder = engine(recorder, request.get("engine") or fastest) if request.get("trace", True) else None
    recorder.sources.watch(lambda frame: recorder.policy.covers(frame.f_code.co_filename))
    try:
        if feeder is not None:
            feeder.start()
        entry()
    except SystemExit:
        raise
    except BaseException as error:
        if feeder is not None:
            feeder.stop()
        trail = error.__traceback__
        while trail is not None and not recorder.policy.covers(trail.tb_frame.f_code.co_filename):
            trail = trail.tb_next
        traceback.print_exception(type(error), error, trail)
        return 1
    finally:
        if feeder is not None:
            feeder.stop()
        recorder.sources.rest()
    return 0


def _loops(request: Dict[str, Any], recorder: Recorder) -> int:
    """Run an instrumented program and tell whether it halts."""
    from cwm_env.tracing.inside.loops import run as watch

    found = watch(request["source"], request["steps"], request["seconds"])
    recorder.put("H\t{}\n".format(dumps(found)).encode())
    return 0


def _tests(request: Dict[str, Any], recorder: Recorder) -> int:
    """Run pytest, each test under trace, and tell each test's outcome."""
    os.chdir(request["directory"])
    sys.path.insert(0, request["directory"])
    sys.argv = ["pytest"] + list(request["args"])
    try:
        import pytest
    except ImportError as error:
        return _refuse(recorder, "no-pytest", "the image's Python has no pytest: {}".format(error))
    plugin = _Plugin(recorder, engine(recorder, request.get("engine", "")) if request.get("trace", True) else None)
    recorder.sources.watch(lambda frame: recorder.policy.covers(frame.f_code.co_filename))
    return int(pytest.main(list(request["args"]), plugins=[plugin]))


class _Plugin:
    """A pytest plugin: traces while a test runs, with its fixtures, and reports."""

    def __init__(self, recorder: Recorder, feeder: Any) -> None:
        self._recorder, self._feeder = recorder, feeder

    def pytest_runtest_logstart(self, nodeid: str, location: Any) -> None:
        """Called by pytest before a test's setup."""
        self._recorder.put("T\t{}\n".format(dumps({"test": nodeid})).encode())
        if self._feeder is not None:
            self._feeder.start()  # again for each test: the one before may have set a trace function of its own

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Called by pytest after each phase of a test."""
        if report.when == "call" or report.outcome != "passed":
            outcome = "xfail" if hasattr(report, "wasxfail") and report.outcome == "skipped" else report.outcome
            record = {"test": report.nodeid, "when": report.when, "outcome": outcome}
            self._recorder.put("V\t{}\n".format(dumps(record)).encode())

    def pytest_runtest_logfinish(self, nodeid: str, location: Any) -> None:
        """Called by pytest after a test's teardown."""
        thread = self._recorder.thread()
        thread.lose()
        thread.flush()

    def pytest_collectreport(self, report: Any) -> None:
        """Called by pytest for each file that it collected."""
        if report.failed:
            record = {"test": report.nodeid, "when": "collect", "outcome": "failed"}
            self._recorder.put("V\t{}\n".format(dumps(record)).encode())
