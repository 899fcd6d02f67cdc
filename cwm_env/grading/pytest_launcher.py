"""Runs pytest inside the grading sandbox and reports each test over a descriptor of its own.

Standard library and pytest only, and any Python since 3.6: it runs with the image's interpreter. Its first line of
standard input is a nonce. Every record it writes to descriptor 9 is one line of JSON that carries the nonce; the
last one says that the run came to its end. It is started by file name, so its own directory, which only root can
write, stands where the working directory otherwise would on the module path.
"""

import json
import os
import sys
from typing import Any

_CHANNEL = 9


class Reporter:
    """A pytest plugin that writes one record per test phase that decides something."""

    def __init__(self, nonce: str) -> None:
        self._nonce = nonce

    def write(self, **record: object) -> None:
        record["nonce"] = self._nonce
        data = (json.dumps(record) + "\n").encode()
        while data:
            data = data[os.write(_CHANNEL, data) :]

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Called by pytest for setup, call and teardown of each test."""
        status = _status(report)
        if status:
            self.write(id=report.nodeid, status=status)

    def pytest_collectreport(self, report: Any) -> None:
        """Called by pytest for each file and class that it collected."""
        if report.failed:
            self.write(id=report.nodeid, status="ERROR")


def _status(report: Any) -> str | None:
    if report.when != "call":
        if report.failed:
            return "ERROR"
        return (
            "SKIPPED"
            if report.skipped and report.when == "setup" and not hasattr(report, "wasxfail")
            else ("XFAIL" if report.skipped else None)
        )
    if hasattr(report, "wasxfail"):
        return "XFAIL" if report.skipped else "XPASS"
    return {"passed": "PASSED", "failed": "FAILED", "skipped": "SKIPPED"}[report.outcome]


def main() -> None:
    nonce = sys.stdin.readline().strip()
    sys.stdin = open(os.devnull)
    os.dup2(sys.stdin.fileno(), 0)
    os.set_inheritable(_CHANNEL, False)
    import pytest

    reporter = Reporter(nonce)
    code = int(pytest.main(sys.argv[1:], plugins=[reporter]))
    reporter.write(end=code)
    sys.stdout.flush()
    os._exit(code)


main()
