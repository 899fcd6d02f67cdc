"""The official package, ``swebench``, at arm's length: unpacked in the cache, called in a process of its own.

Its install is 490 MB in 84 packages, and importing its harness imports Docker's SDK, ``datasets`` and Modal. What
parses logs and grades them needs none of that: two wheels, unpacked beside each other and never installed.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from cwm_env.errors import GradingError, ImageError, TaskError
from cwm_env.images.disk import locked, remove_tree
from cwm_env.images.downloads import Downloads, PythonTag
from cwm_env.paths import cache_dir
from cwm_env.tasks.swebench import Record

Kind = Literal["grade", "specify"]

WHEELS: Mapping[Kind, tuple[str, ...]] = {
    "grade": ("swebench==5.0.2", "unidiff==1.0.1"),
    "specify": ("swebench==4.1.0", "unidiff==1.0.1"),
}
"""What each kind of worker is made of: 5 grades; 4 knows the specifications that rows of its layout leave out."""

_WORKER = Path(__file__).with_name("worker.py")


class Official:
    """Calls of the official package. Safe for many threads; the processes start with the first call that needs them."""

    def __init__(self, *, progress: Callable[[str], None] = lambda _: None) -> None:
        """Nothing is fetched or started yet.

        Args:
            progress: called with a line of text when something that takes time begins.
        """
        self._progress = progress
        self._workers: dict[Kind, _Worker] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Official:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def row(self, record: Record) -> Mapping[str, Any]:
        """The record's row in the layout of ``swebench`` 5, which brings its evaluation script and its parser.

        Raises:
            TaskError: it brings none, and ``swebench`` 4 does not know its repository in that version.
            ImageError: the package cannot be fetched.
        """
        raw = {**json.loads(json.dumps(dict(record.raw), default=str))}
        if raw.get("eval_script") and raw.get("log_parser"):
            return {"image": "", "eval_type": "pass_and_fail", **raw}
        try:
            upgraded: Mapping[str, Any] = self._call("specify", "upgraded", row=raw)
        except GradingError as error:
            raise TaskError(
                f"{record.instance_id}: the record has no eval_script and no log_parser, and none can be made: {error}"
            ) from None
        return upgraded

    def script(self, row: Mapping[str, Any]) -> str:
        """The evaluation script, as the harness runs it: it also records the exit code of the tests."""
        return str(self._call("grade", "script", row=row))

    def report(self, row: Mapping[str, Any], prediction: Mapping[str, Any], log: Path) -> dict[str, Any]:
        """What ``get_eval_report`` says of a log.

        Raises:
            GradingError: it failed.
        """
        found: dict[str, Any] = self._call("grade", "report", row=row, prediction=prediction, log=str(log))
        return found

    def statuses(self, row: Mapping[str, Any], log: Path) -> dict[str, str]:
        """Every test that the record's parser finds in a log, with its status."""
        found: dict[str, str] = self._call("grade", "statuses", row=row, log=str(log))
        return found

    def summary(
        self, rows: Sequence[Mapping[str, Any]], predictions: Mapping[str, Any], run_id: str, directory: Path
    ) -> Path:
        """Have ``make_run_report`` write a run's summary into ``directory``, below which its logs lie."""
        where = str(directory.absolute())
        made = self._call("grade", "summary", rows=rows, predictions=predictions, run_id=run_id, directory=where)
        return Path(made)

    def close(self) -> None:
        """End the processes. Idempotent."""
        with self._lock:
            while self._workers:
                self._workers.popitem()[1].close()

    def _call(self, kind: Kind, name: str, **given: Any) -> Any:
        with self._lock:
            if kind not in self._workers or self._workers[kind].ended:
                self._workers[kind] = _Worker(kind, unpacked(kind, self._progress))
            return self._workers[kind].call(name, given)


def unpacked(kind: Kind, progress: Callable[[str], None] = lambda _: None) -> Path:
    """The directory that holds the unpacked package; it is fetched the first time.

    Raises:
        ImageError: it cannot be fetched or written.
    """
    wheels = WHEELS[kind]
    home = cache_dir() / "swebench"
    place = home / f"official-{wheels[0].rpartition('=')[2]}"
    if place.is_dir():
        return place
    try:
        for name in ("", "../downloads", "../locks"):
            (home / name).mkdir(parents=True, exist_ok=True)
        with locked(cache_dir() / "locks" / place.name):
            if not place.is_dir():
                _unpack(wheels, place, progress)
    except (OSError, zipfile.BadZipFile) as error:
        raise ImageError(f"{place}: the package {wheels[0]} cannot be unpacked: {error}") from None
    return place


def _unpack(wheels: tuple[str, ...], place: Path, progress: Callable[[str], None]) -> None:
    downloads = Downloads(cache_dir() / "downloads", cache_dir() / "locks" / "downloads")
    beside = place.with_name(f".{secrets.token_hex(8)}")
    try:
        for wheel in downloads.wheels(PythonTag("any"), wheels, progress):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(beside)
        beside.rename(place)
    finally:
        if beside.exists():
            remove_tree(beside)


class _Worker:
    """One process that answers calls, one at a time."""

    def __init__(self, kind: Kind, directory: Path) -> None:
        self._package = WHEELS[kind][0]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_WORKER), kind, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def call(self, name: str, given: Mapping[str, Any]) -> Any:
        """What the call gives.

        Raises:
            GradingError: it failed, or the process died.
        """
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps({"call": name, "with": given}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            raise GradingError(f"the process that runs {self._package} ended with {process.wait()} in {name!r}")
        answer = json.loads(line)
        if "failed" in answer:
            raise GradingError(f"{self._package} failed in {name!r}: {answer['failed']}")
        return answer["gives"]

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
        self._process.wait()
