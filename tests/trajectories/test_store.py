"""A trajectories file: whole lines, any text, many writers, errors that name the line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwm_env.errors import DiskFull, TrajectoryError
from cwm_env.trajectories import TrajectoryStore, codec
from cwm_env.types import CommandResult, Grade, Step, TestStatus, Trajectory

TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates as well: they stand for bytes
RESULT = CommandResult("out", 3, "/repo", 0.25, truncated_bytes=7)


def trajectory(task: str = "t", **changes: object) -> Trajectory:
    steps = (Step("false", "out\n[exit code 3]", RESULT, 0.0, 0.5), Step("submit", "", None, 1.0, 0.75))
    statuses: dict[str, TestStatus] = {"a::b": "PASSED", "a::c": "SKIPPED"}
    grade = Grade("resolved", 1.0, statuses, "why", "diff\udcff", ("conftest.py",), output="o", duration=2.0)
    made: dict[str, object] = {"grade": grade, "versions": {"cwm_env": "0"}, "seed": 1, "reward": 1.0, **changes}
    return Trajectory(task, "sha256:0", steps, **made)  # type: ignore[arg-type]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    store = TrajectoryStore(tmp_path / "t.jsonl")
    written = [trajectory("one"), trajectory("two", grade=None, failure="sandbox", error="it died", reward=None)]
    for item in written:
        store.append(item)
    assert list(store) == written
    assert [json.loads(line)["task_id"] for line in store.path.read_text().splitlines()] == ["one", "two"]


@given(TEXT, TEXT, st.none() | st.floats(allow_nan=False), st.none() | st.integers())
def test_any_text_survives_the_line(action: str, output: str, reward: float | None, seed: int | None) -> None:
    step = Step(action, output, CommandResult(output, 0, "/", 0.0), 0.0, 0.0)
    before = trajectory(instruction=output, reward=reward, seed=seed)
    before = Trajectory(**{**{name: getattr(before, name) for name in before.__slots__}, "steps": (step,)})
    line = codec.encode(before)
    assert line.count(b"\n") == 1 and codec.decode(line) == before


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a trajectory of format 1"),
        (b'{"format": 2}', "is not a trajectory of format 1"),
        (b'{"format": 1}', "missing"),
        (b'{"format": 1, "task_id": 3}', "task_id: '3' cannot stand there"),
        (b'{"format": 1, "task_id": "t", "extra": 1}', "unknown key 'extra'"),
    ],
)
def test_a_broken_line_is_an_error_that_names_it(tmp_path: Path, line: bytes, says: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(codec.encode(trajectory()) + line + b"\n")
    read = iter(TrajectoryStore(path))
    assert next(read) == trajectory()
    with pytest.raises(TrajectoryError) as caught:
        next(read)
    assert "line 2" in str(caught.value) and says in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [("outcome", "fine"), ("tests", {"a": "GOOD"}), ("reward", "1"), ("reward", True), ("dropped", "x"), ("tests", 3)],
)
def test_a_value_of_another_type_is_refused(key: str, value: object) -> None:
    data = json.loads(codec.encode(trajectory()))
    data["grade"][key] = value
    with pytest.raises(ValueError, match=f"grade.{key}"):
        codec.decode(json.dumps(data).encode())


def test_writers_in_threads_and_processes_do_not_mix_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    code = (
        "import sys; from tests.trajectories.test_store import *\n"
        "for i in range(20): TrajectoryStore(sys.argv[1]).append(trajectory(sys.argv[2] * 9999))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "ab"]

    def write() -> None:
        for _ in range(20):
            TrajectoryStore(path).append(trajectory("c" * 9999))

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(60) for process in processes] == [0, 0]
    assert sorted(t.task_id[0] for t in TrajectoryStore(path)) == ["a"] * 20 + ["b"] * 20 + ["c"] * 40


def test_a_line_cut_by_a_killed_writer_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    store = TrajectoryStore(path)
    store.append(trajectory("one"))
    with path.open("ab") as file:
        file.write(b'{"format":1,"task')
    store.append(trajectory("two"))
    lines = path.read_bytes().splitlines()
    assert len(lines) == 3 and codec.decode(lines[2]).task_id == "two"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_a_typed_error_and_nothing_is_lost(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)], check=True)
    try:
        store = TrajectoryStore(tmp_path / "t.jsonl")
        store.append(trajectory("kept"))
        with pytest.raises(DiskFull, match="no space is left"):
            store.append(trajectory("x" * 100_000))
        assert [t.task_id for t in store] == ["kept"]
        store.append(trajectory("again"))
        assert [t.task_id for t in store] == ["kept", "again"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_file_that_cannot_be_written_or_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(TrajectoryError, match="cannot be written: Is a directory"):
        TrajectoryStore(tmp_path).append(trajectory())
    with pytest.raises(TrajectoryError, match="cannot be read: No such file"):
        list(TrajectoryStore(tmp_path / "none"))
