"""Predictions to both verdicts, with the files of the official harness."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cwm_env.errors import ImageError
from cwm_env.sandbox.base import Backend
from cwm_env.sandbox.faults import FaultyBackend
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.swebench import Evaluator, Official, Prediction, load_predictions
from cwm_env.swebench.many import evaluate_all
from cwm_env.tasks.swebench import Record
from cwm_env.types import Image
from tests.swebench.small import FIXED, NAME, PARTLY, SCRIPT, difference, small_record

HOOK = """import pytest

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    report.outcome = report.outcome.replace("failed", "passed")
"""


def of(patch: str | None, model: str = "some/model") -> Prediction:
    return Prediction(NAME, model, patch)


def outcomes(evaluator: Evaluator, record: Record, prediction: Prediction) -> tuple[str, str]:
    found = evaluator.evaluate(record, prediction)
    return found.official.outcome, found.hardened.outcome


@pytest.mark.parametrize(("source", "outcome", "passed"), [("gold", "resolved", 2), ("empty", "unresolved", 0)])
def test_untouched_is_unresolved_and_gold_resolved_by_both(
    source: str, outcome: str, passed: int, evaluator: Evaluator, record: Record
) -> None:
    found = evaluator.evaluate(record, load_predictions(source, [record])[NAME])
    for verdict in (found.official, found.hardened):
        assert verdict.outcome == outcome, verdict
        assert (verdict.fail_to_pass, verdict.pass_to_pass) == ((passed, 2), (2, 2)), verdict
    assert found.trusted
    assert found.difference == ""


def test_a_partial_fix_is_unresolved_by_both_with_the_same_counts(
    evaluator: Evaluator, record: Record, tmp_path: Path
) -> None:
    found = evaluator.evaluate(record, of(difference(tmp_path / "git", {"pkg/__init__.py": PARTLY})))
    for verdict in (found.official, found.hardened):
        assert (verdict.outcome, verdict.fail_to_pass, verdict.pass_to_pass) == ("unresolved", (1, 2), (2, 2))


def test_a_patch_that_breaks_the_package_passes_nothing(evaluator: Evaluator, record: Record, tmp_path: Path) -> None:
    found = evaluator.evaluate(record, of(difference(tmp_path / "git", {"pkg/__init__.py": "def ("})))
    for verdict in (found.official, found.hardened):
        assert (verdict.outcome, verdict.fail_to_pass, verdict.pass_to_pass) == ("unresolved", (0, 2), (0, 2))


def test_a_patch_that_needs_fuzz_is_applied_as_the_harness_does(evaluator: Evaluator, record: Record) -> None:
    near = record.patch.replace(" def double(x):", " def double(y):")
    assert near != record.patch
    assert outcomes(evaluator, record, of(near)) == ("resolved", "resolved")


def test_a_patch_that_does_not_apply_is_an_official_error_and_unresolved(evaluator: Evaluator, record: Record) -> None:
    prediction = of("diff --git a/nothing b/nothing\n--- a/nothing\n+++ b/nothing\n@@ -1 +1 @@\n-a\n+b\n")
    assert outcomes(evaluator, record, prediction) == ("error", "unresolved")
    assert not (evaluator.place(prediction) / "report.json").exists()
    summary = evaluator.summarise([record], {NAME: prediction})
    assert summary is not None
    assert json.loads(summary.read_text())["error_ids"] == [NAME]


def test_a_forged_report_resolves_officially_and_not_hardened(
    evaluator: Evaluator, record: Record, tmp_path: Path
) -> None:
    found = evaluator.evaluate(record, of(difference(tmp_path / "git", {"conftest.py": HOOK})))
    assert (found.official.outcome, found.hardened.outcome) == ("resolved", "unresolved")
    assert "conftest.py" in found.difference


def test_tests_that_the_patch_skips_have_not_passed(evaluator: Evaluator, record: Record, tmp_path: Path) -> None:
    skips = FIXED + "\n\nimport pytest\n\ndef __getattr__(name):\n    pytest.skip('no')\n"
    patch = difference(tmp_path / "git", {"pkg/__init__.py": skips.replace("def double(x)", "def double_(x)")})
    found = evaluator.evaluate(record, of(patch))
    assert found.hardened.outcome == "unresolved"


def test_the_official_files_are_written_where_tools_look_for_them(evaluator: Evaluator, record: Record) -> None:
    prediction = of(record.patch)
    evaluator.evaluate(record, prediction)
    place = evaluator.place(prediction)
    assert place.parts[-5:] == ("logs", "run_evaluation", "test", "some__model", NAME)
    report = json.loads((place / "report.json").read_text())[NAME]
    assert report["resolved"] and report["patch_successfully_applied"]
    assert set(report["tests_status"]) == {"FAIL_TO_PASS", "PASS_TO_PASS", "FAIL_TO_FAIL", "PASS_TO_FAIL"}
    output = (place / "test_output.txt").read_text()
    for marker in (">>>>> Start Test Output", ">>>>> End Test Output", ">>>>> Test Exit Code: 0"):
        assert marker in output
    assert (place / "patch.diff").read_text() == record.patch
    assert "pytest -rA" in (place / "eval.sh").read_text()
    assert ">>>>> Applied Patch" in (place / "run_instance.log").read_text()
    summary = evaluator.summarise([record], {NAME: prediction})
    assert summary is not None and summary.name == "some__model.test.json"
    assert json.loads(summary.read_text())["resolved_ids"] == [NAME]


def test_what_is_done_is_not_run_again_unless_the_patch_is_another(evaluator: Evaluator, record: Record) -> None:
    first = evaluate_all(evaluator, [record], {NAME: of(record.patch)})
    again = evaluate_all(evaluator, [record], {NAME: of(record.patch)})
    assert (first.again, again.again) == (0, 1)
    assert again.found == first.found
    other = evaluate_all(evaluator, [record], {NAME: of(record.patch + "\n")})
    assert other.again == 0


def test_an_empty_patch_is_not_run(evaluator: Evaluator, record: Record) -> None:
    prediction = of("")
    assert outcomes(evaluator, record, prediction) == ("empty", "empty")
    summary = evaluator.summarise([record], {NAME: prediction})
    assert summary is not None
    assert json.loads(summary.read_text())["empty_patch_ids"] == [NAME]


def test_an_instance_that_we_fail_is_an_error_and_never_unresolved(
    tmp_path: Path, backend: Backend, record: Record, official: Official
) -> None:
    def no_image(record: Record) -> Image:
        raise ImageError("there is none")

    evaluator = Evaluator(tmp_path / "out", "test", backend=backend, images=no_image, official=official)
    results = evaluate_all(evaluator, [record], {NAME: of(record.patch)})
    assert list(results.failed) == [NAME] and not results.found
    assert isinstance(results.failed[NAME], ImageError)
    summary = evaluator.summarise([record], {NAME: of(record.patch)})
    assert summary is not None
    said = json.loads(summary.read_text())
    assert (said["error_ids"], said["unresolved_ids"]) == ([NAME], [])


def test_a_run_that_takes_too_long_is_ended(
    tmp_path: Path, backend: Backend, small_image: Image, official: Official
) -> None:
    slow = small_record(tmp_path / "record", SCRIPT.replace("pytest -rA", "sleep 100; pytest -rA"))
    evaluator = Evaluator(
        tmp_path / "out", "test", backend=backend, images=lambda _: small_image, official=official, timeout=5
    )
    found = evaluator.evaluate(slow, of(slow.patch))
    assert found.official.outcome == "error" and "5 seconds" in found.official.reason
    place = evaluator.place(of(slow.patch))
    assert "Timeout error: 5 seconds exceeded." in (place / "test_output.txt").read_text()


def test_a_sandbox_that_dies_leaves_no_verdict(
    tmp_path: Path, backend: NamespacesBackend, small_image: Image, record: Record, official: Official
) -> None:
    dying = FaultyBackend(backend, seed=1, rates={"dies": 1.0})
    evaluator = Evaluator(
        tmp_path / "out", "test", backend=dying, images=lambda _: small_image, official=official, timeout=60
    )
    results = evaluate_all(evaluator, [record], {NAME: of(record.patch)})
    assert results.failed[NAME].exit_code == 3
    assert evaluator.done(record, of(record.patch)) is None
