"""Runs in a process of its own beside the official package, and calls that: its parsers, its grading, its reports.

    python -I -S worker.py grade|specify DIRECTORY

Standard library only. ``DIRECTORY`` holds the unpacked package and nothing else: what the package imports for Docker,
for data sets and for other services has stand-ins here, because nothing of that is ever called. Each line of standard
input is a call ``{"call": NAME, "with": {…}}``; each line of standard output its answer ``{"gives": …}`` or
``{"failed": "…"}``.
"""

import importlib
import importlib.abc
import importlib.machinery
import json
import os
import sys
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

_NOT_NEEDED = ("bs4", "datasets", "docker", "dotenv", "ghapi", "modal", "requests", "tqdm")


class _Anything:
    """In the place of a class or function that is imported and never used."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Takes whatever it is given."""


class _StandIn(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a stand-in for what is not needed."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        """Of any module in one of those packages."""
        if fullname.partition(".")[0] not in _NOT_NEEDED:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        """An empty one that has every name."""
        made = _StandIn(spec.name)
        made.__path__ = []
        return made

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing runs."""


def _bare(name: str, directory: Path) -> None:
    """Have a package without its own ``__init__``, which would import everything."""
    package = types.ModuleType(name)
    package.__path__ = [str(directory.joinpath(*name.split(".")))]
    sys.modules[name] = package


def _part(name: str) -> Any:
    return importlib.import_module(f"swebench.{name}")


def script(row: dict[str, Any]) -> str:
    """The evaluation script of a row of ``swebench`` 5, as the harness runs it."""
    made: str = _part("harness.utils").make_test_spec(row).eval_script
    return made


def report(row: dict[str, Any], prediction: dict[str, Any], log: str) -> dict[str, Any]:
    """The official report on a log."""
    spec = _part("harness.utils").make_test_spec(row)
    found: dict[str, Any] = _part("harness.grading").get_eval_report(spec, prediction, log, include_tests_status=True)
    return found


def statuses(row: dict[str, Any], log: str) -> dict[str, str]:
    """What the record's parser finds in a log, by its own names; empty where the log does not count."""
    spec = _part("harness.utils").make_test_spec(row)
    found: dict[str, str] = _part("harness.grading").get_logs_eval(spec, log)[0]
    return found


def summary(rows: list[dict[str, Any]], predictions: dict[str, Any], run_id: str, directory: str) -> str:
    """Write the summary of a run whose logs lie below ``directory``; gives its path."""
    os.chdir(directory)
    return str(_part("harness.reporting").make_run_report(predictions, rows, run_id).absolute())


def upgraded(row: dict[str, Any]) -> dict[str, Any]:
    """A row of ``swebench`` 4 with what ``swebench`` 5 has besides, from the specifications of the former."""
    constants, scripts = _part("harness.constants"), _part("harness.test_spec.create_scripts")
    repo, version = row["repo"], str(row["version"])
    specs = constants.MAP_REPO_VERSION_TO_SPECS.get(repo, {}).get(version)
    if specs is None:
        raise LookupError(f"swebench 4 has no specification of {repo} {version}")
    commands = scripts.make_eval_script_list(row, specs, "testbed", "/testbed", row["base_commit"], row["test_patch"])
    name = row["instance_id"].lower().replace("__", "_1776_")
    return {
        **row,
        "eval_script": "\n".join(["#!/bin/bash", "set -uxo pipefail", *commands]) + "\n",
        "log_parser": _part("harness.log_parsers").MAP_REPO_TO_PARSER[repo].__name__,
        "eval_type": "fail_only" if repo in constants.FAIL_ONLY_REPOS else "pass_and_fail",
        "image": f"swebench/sweb.eval.x86_64.{name}:latest",
    }


_CALLS: dict[str, dict[str, Callable[..., Any]]] = {
    "grade": {"script": script, "report": report, "statuses": statuses, "summary": summary},
    "specify": {"upgraded": upgraded},
}
_BARE = {
    "grade": ("swebench", "swebench.harness", "swebench.image_builder"),
    "specify": ("swebench", "swebench.harness", "swebench.harness.test_spec"),
}


def main() -> None:
    """Answer calls until standard input ends."""
    kind, directory = sys.argv[1], Path(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the package prints is no answer
    sys.path.append(str(directory))
    sys.meta_path.append(_Finder())
    for name in _BARE[kind]:
        _bare(name, directory)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = {"gives": _CALLS[kind][asked["call"]](**asked["with"])}
        except Exception as error:
            traceback.print_exc()
            answer = {"failed": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
