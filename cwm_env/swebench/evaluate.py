"""Predictions to verdicts: each in fresh clones, officially and by our own grading, with the official files."""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import cwm_env.grading
import cwm_env.swebench
import cwm_env.tasks.swebench
from cwm_env.errors import InputError
from cwm_env.sandbox.base import Backend
from cwm_env.swebench import harness, verdicts
from cwm_env.swebench.hardened import Hardened
from cwm_env.swebench.official import Official
from cwm_env.swebench.predictions import Prediction
from cwm_env.swebench.verdicts import Evaluation, Verdict
from cwm_env.tasks.swebench import Record, no_tests
from cwm_env.types import Image

Images = Callable[[Record], Image]
"""Gives the image of a record, built if it must be."""


class Evaluator:
    """One run: its files lie where the official harness would put them, below a directory of the caller's."""

    def __init__(
        self,
        directory: Path,
        run_id: str,
        *,
        backend: Backend,
        images: Images,
        official: Official,
        timeout: float = harness.SECONDS,
    ) -> None:
        """Nothing runs yet.

        Args:
            timeout: seconds for each run of an instance's tests.

        Raises:
            InputError: ``run_id`` is no name of a directory.
        """
        if run_id in ("", ".", "..") or "/" in run_id or "\0" in run_id:
            raise InputError(f"{run_id!r} is no name of a run: take letters, digits, '-' and '_'")
        self._directory, self._run_id, self._timeout = directory, run_id, timeout
        self._backend, self._images, self._official = backend, images, official

    def place(self, prediction: Prediction) -> Path:
        """Where the files of one instance lie."""
        logs = self._directory / "logs" / "run_evaluation"
        return logs / self._run_id / prediction.directory / prediction.instance_id

    def done(self, record: Record, prediction: Prediction) -> Evaluation | None:
        """What an earlier run with the same files has found of the same patch; None where it has not."""
        try:
            data = json.loads((self.place(prediction) / "verdicts.json").read_bytes())
            return verdicts.from_json(data["found"]) if data["of"] == _fingerprint(record, prediction) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def evaluate(self, record: Record, prediction: Prediction) -> Evaluation:
        """Both verdicts, with all files.

        Raises:
            InputError: the record has no script, or there is no image for it.
            InfrastructureError: something of ours failed; there is no verdict then, and no report.
        """
        place = self.place(prediction)
        place.mkdir(parents=True, exist_ok=True)
        for name in ("report.json", "verdicts.json"):
            (place / name).unlink(missing_ok=True)
        (place / "patch.diff").write_bytes((prediction.patch or "").encode("utf-8", "surrogateescape"))
        if not prediction.untouched and not (prediction.patch or "").strip():
            nothing = "the patch is empty"
            verdict = verdicts.without_tests(record, "empty", nothing)
            found = Evaluation(prediction.instance_id, prediction.model, verdict, verdict, trusted=True)
        else:
            found = self._run(record, prediction, place)
        _write_json(place / "verdicts.json", {"of": _fingerprint(record, prediction), "found": found.as_json()})
        return found

    def summarise(self, records: Sequence[Record], predictions: Mapping[str, Prediction]) -> Path | None:
        """Write the official summary of the run; gives its path, or None where there are no predictions.

        Raises:
            GradingError: the official package failed.
        """
        given = {name: each.official for name, each in predictions.items()}
        rows = [{"instance_id": each.instance_id} for each in records]
        return self._official.summary(rows, given, self._run_id, self._directory) if given else None

    def _run(self, record: Record, prediction: Prediction, place: Path) -> Evaluation:
        image = self._images(record)
        started = time.monotonic()
        official, tests = self._officially(record, prediction, image, place)
        between = time.monotonic()
        hardened = Hardened(self._backend, image, record, no_tests(), self._timeout)
        grade, passed = hardened.grade("" if prediction.untouched else prediction.patch or "")
        seconds = {
            "official": between - started,
            "official_tests": tests,
            "hardened": time.monotonic() - between,
            "hardened_tests": grade.phases.get("tests", 0.0),
        }
        return Evaluation(
            prediction.instance_id,
            prediction.model,
            official,
            verdicts.of_grade(record, grade, passed),
            grade.trusted,
            grade.suspicions,
            grade.dropped,
            seconds,
        )

    def _officially(self, record: Record, prediction: Prediction, image: Image, place: Path) -> tuple[Verdict, float]:
        row = self._official.row(record)
        script = self._official.script(row)
        (place / "eval.sh").write_text(script, encoding="utf-8")
        clone = self._backend.create(image, harness.LIMITS)
        try:
            patch = None if prediction.untouched else prediction.patch
            ran = harness.evaluate(clone, image, patch, script, self._timeout)
        finally:
            clone.close()
        log = place / "test_output.txt"
        if ran.output is not None:
            log.write_text(ran.output, encoding="utf-8")
        if ran.error:
            ran.log.append(ran.error)
            verdict = verdicts.without_tests(record, "error", ran.error)
        else:
            report = self._official.report(row, prediction.official, log)
            verdict = verdicts.of_report(record, report)
            resolved = verdict.outcome == "resolved"
            ran.log.append(f"report: {report}\nResult for {record.instance_id}: resolved: {resolved}")
            _write_json(place / "report.json", report)
        _write_log(place / "run_instance.log", ran.log)
        return verdict, ran.seconds


@functools.cache
def _judge() -> str:
    """What the verdicts are formed by: our code, and the official package."""
    digest = hashlib.sha256()
    for package in (cwm_env.grading, cwm_env.swebench, cwm_env.tasks.swebench):
        for path in sorted(Path(package.__path__[0]).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _fingerprint(record: Record, prediction: Prediction) -> str:
    """What a verdict is of: the record's tests and script, the patch, and who judges."""
    what = [_judge(), record.test_patch, record.fail_to_pass, record.pass_to_pass, record.eval_script]
    return hashlib.sha256(json.dumps([*what, prediction.patch, prediction.untouched]).encode()).hexdigest()


def _write_json(path: Path, value: Any) -> None:
    """Write a file that is there only whole."""
    beside = path.with_name(f".{path.name}")
    beside.write_text(json.dumps(value, indent=4), encoding="utf-8")
    beside.rename(path)


def _write_log(path: Path, entries: Sequence[str]) -> None:
    moment = datetime.now().strftime("%Y-%m-%d %H:%M:%S,%f")[:-3]
    text = "".join(f"{moment} - INFO - {entry}\n" for entry in entries)
    path.write_text(text, encoding="utf-8", errors="replace")
