"""The official package at arm's length says what it says when it is called directly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cwm_env.errors import GradingError, TaskError
from cwm_env.swebench import Evaluator, Official, Prediction, load_predictions
from cwm_env.swebench.official import unpacked
from cwm_env.tasks.swebench import Record, parse
from tests.swebench.small import NAME, PARTLY, difference

# The package's own modules, imported whole. What is not installed here (Modal, say: 490 MB in all) is only named while
# it is imported, in chains of calls and as decorators, which a mock takes and a plain stand-in does not.
DIRECTLY = """
import importlib, json, sys
from unittest.mock import MagicMock
sys.path.insert(0, sys.argv[1])
for name in ("bs4", "datasets", "docker", "dotenv", "modal", "requests", "tenacity", "tqdm"):
    try:
        importlib.import_module(name)
    except ImportError:
        sys.modules[name] = sys.modules[name + ".container_process"] = sys.modules[name + ".io_streams"] = MagicMock()
from swebench.harness.grading import get_eval_report
from swebench.harness.utils import make_test_spec
row, prediction, log = json.load(sys.stdin)
print(json.dumps(get_eval_report(make_test_spec(row), prediction, log, include_tests_status=True)))
"""
LAYOUT_4 = ("eval_script", "log_parser", "eval_type", "image")
DATA = Path(__file__).parent.parent / "tasks" / "data" / "swebench.jsonl"


def directly(record: Record, prediction: Prediction, log: Path) -> object:
    given = json.dumps([dict(record.raw), prediction.official, str(log)])
    command = [sys.executable, "-W", "ignore", "-c", DIRECTLY, str(unpacked("grade"))]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("what", ["gold", "empty", "partial", "broken"])
def test_our_reports_are_the_packages_own(what: str, evaluator: Evaluator, record: Record, tmp_path: Path) -> None:
    if what in ("gold", "empty"):
        prediction = load_predictions(what, [record])[NAME]
    else:
        package = PARTLY if what == "partial" else "def ("
        prediction = Prediction(NAME, what, difference(tmp_path / "git", {"pkg/__init__.py": package}))
    found = evaluator.evaluate(record, prediction)
    place = evaluator.place(prediction)
    report = json.loads((place / "report.json").read_text())
    assert report == directly(record, prediction, place / "test_output.txt")
    assert (found.official.outcome == "resolved") == report[NAME]["resolved"] == (what == "gold")


def test_a_row_of_the_older_layout_gets_the_script_that_its_specification_makes(official: Official) -> None:
    newer = json.loads(DATA.read_text().splitlines()[0])
    older = parse({key: value for key, value in newer.items() if key not in LAYOUT_4})
    made = official.row(older)
    assert official.script(made) == official.script(newer)
    assert made["image"] == newer["image"]


def test_a_row_that_no_specification_knows_is_refused_in_a_sentence(official: Official, record: Record) -> None:
    unknown = parse({key: value for key, value in record.raw.items() if key not in LAYOUT_4})
    with pytest.raises(TaskError, match="has no eval_script"):
        official.row(unknown)


def test_a_call_that_fails_says_so_and_the_next_one_works(official: Official, record: Record, tmp_path: Path) -> None:
    with pytest.raises(GradingError, match="failed"):
        official.statuses(record.raw, tmp_path / "no-log")
    (tmp_path / "log").write_text(">>>>> Start Test Output\nPASSED tests/a.py::b\n>>>>> End Test Output\n")
    assert official.statuses(record.raw, tmp_path / "log") == {"tests/a.py::b": "PASSED"}


def test_grading_needs_nothing_heavy(official: Official) -> None:
    lines = "".join(path.read_text() for path in unpacked("grade").glob("*.dist-info/RECORD"))
    assert "swebench/harness/grading.py" in lines
    assert {path.name.partition("-")[0] for path in unpacked("grade").iterdir()} == {"swebench", "unidiff"}
