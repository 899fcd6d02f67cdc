"""Data sets: made in parallel, taken up again, without near-duplicates, the same from the same input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from click.testing import CliRunner

from cwm_env.cli.trace import trace as command
from cwm_env.errors import InputError
from cwm_env.tracing import Place, Trace, TraceError, trace
from cwm_env.tracing.datasets.dataset import DataSet, estimate_tokens, make_record, read
from cwm_env.tracing.datasets.duplicates import NearDuplicates
from cwm_env.tracing.datasets.inputs import calls_in, find_calls
from cwm_env.tracing.datasets.producing import Unit, function_unit, produce
from tests.tracing.programs import program

TYPED = "def f(a: int, b: list[str], *, c: dict[str, bool] | None = None) -> int:\n    return a + len(b)\n"


def unit(name: str, seed: int, ran: list[str] | None = None, fail: bool = False) -> Unit:
    def work() -> Any:
        if fail:
            raise RuntimeError("stop")
        if ran is not None:
            ran.append(name)
        return [make_record(trace(program(seed), in_process=True), "function", name)], {"time": 1}

    return Unit(name, work)


@pytest.mark.parametrize("name", ["out.jsonl.zst", "out.parquet"])
def test_a_data_set_comes_back_as_it_was_written(name: str, tmp_path: Path) -> None:
    summary = produce([unit(f"u{i}", i) for i in range(6)], tmp_path / name, parallel=1, similarity=None)
    records = list(read(tmp_path / name))
    assert (summary.units, summary.records, summary.refused) == (6, 6, {"time": 6})
    assert summary.events == sum(record.events for record in records)
    for i, record in enumerate(records):
        made = Trace.from_cwm(record.text)
        assert record.unit == f"u{i}" and len(made.frames) == record.events and made.to_cwm() == record.text
        assert record.tokens_estimate == estimate_tokens(record.text) > record.events * 3
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["out.jsonl.zst", "out.parquet"])
def test_a_stopped_run_is_taken_up_again(name: str, tmp_path: Path) -> None:
    out = tmp_path / name
    ran: list[str] = []
    units = [unit(f"u{i}", i, ran) for i in range(5)]
    with pytest.raises(RuntimeError):
        produce([*units[:3], unit("bad", 0, fail=True)], out, parallel=1, similarity=None)
    lines = next(path for path in tmp_path.iterdir() if path.name.endswith(".zst"))
    with lines.open("ab") as file:
        file.write(b"half a unit")  # what a kill in the middle of a write leaves
    summary = produce(units, out, parallel=1, similarity=None)
    assert ran == ["u0", "u1", "u2", "u3", "u4"]
    assert summary.records == 5 and [record.unit for record in read(out)] == ran


@pytest.mark.parametrize("name", ["out.jsonl.zst", "out.parquet"])
def test_a_finished_data_set_is_never_written_over(name: str, tmp_path: Path) -> None:
    produce([unit("a", 1)], tmp_path / name)
    before = (tmp_path / name).read_bytes()
    with pytest.raises(TraceError, match="finished already"):
        produce([unit("b", 2)], tmp_path / name)
    assert (tmp_path / name).read_bytes() == before


def test_parquet_is_written_in_groups_that_fit_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cwm_env.tracing.datasets.dataset._GROUP_CHARACTERS", 1)
    out = tmp_path / "o.parquet"
    produce([unit(f"u{i}", i) for i in range(4)], out, similarity=None)
    with parquet.ParquetFile(out) as file:
        assert file.num_row_groups == 4
    assert [record.unit for record in read(out)] == ["u0", "u1", "u2", "u3"]


def test_equal_and_similar_traces_are_dropped(tmp_path: Path) -> None:
    units = [unit("a", 1), unit("again", 1), unit("other", 2)]
    summary = produce(units, tmp_path / "o.jsonl.zst", parallel=1)
    assert (summary.records, summary.refused["duplicate"]) == (2, 1)
    long = "def f(n):\n" + "".join(f"    a{i} = n + {i}\n" for i in range(40)) + "    return n\n"
    near, texts = NearDuplicates(0.7), [trace(long, args=(n,), in_process=True).to_cwm() for n in (1, 1)]
    assert [near.seen(text) for text in texts] == [False, True]
    assert not near.seen(trace(TYPED, args=(1, ["a"]), in_process=True).to_cwm())


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl.zst").write_bytes(b"nonsense")
    (tmp_path / "x.parquet").write_bytes(b"nonsense")
    for name in ("x.jsonl.zst", "x.parquet"):
        with pytest.raises(TraceError, match="no data set"):
            list(read(tmp_path / name))
    with pytest.raises(TraceError, match="should end in"):
        DataSet(tmp_path / "x.txt")


def test_inputs_follow_annotations_and_repeat() -> None:
    calls = find_calls(TYPED, "f", count=12, seed=4)
    assert calls == find_calls(TYPED, "f", count=12, seed=4) != find_calls(TYPED, "f", count=12, seed=5)
    assert len(set(calls)) == 12
    for call in calls:
        assert trace(TYPED, call=call, in_process=True).outcome == "returned"


def test_inputs_that_tests_use_come_first() -> None:
    tests = "def test_it():\n    assert lib.f(1, ['a']) == 2\n    f(x)\n    f(2, [], c={'k': True})\n"
    assert calls_in(tests, "f") == ["f(1, ['a'])", "f(2, [], c={'k': True})"]
    assert find_calls(TYPED, "f", tests=tests, count=3)[:2] == calls_in(tests, "f")
    with pytest.raises(InputError, match="no function 'g'"):
        find_calls(TYPED, "g")


def test_refusals_are_counted_by_reason(place: Place, tmp_path: Path) -> None:
    sources = {"loop": "def f():\n    while 1: pass\n", "bad": "def f(:\n", "early": "1/0\ndef f(): pass\n"}
    limits = {name: 1.0 if name == "loop" else 60.0 for name in sources}  # a busy machine takes long to begin
    units = [function_unit(name, text, place, calls=["f()"], timeout=limits[name]) for name, text in sources.items()]
    units.append(function_unit("ok", "def f(): return 1\n", place, calls=["f()"]))
    summary = produce(units, tmp_path / "o.jsonl.zst")
    assert (summary.records, summary.refused) == (1, {"time": 1, "syntax": 1, "import": 1})


def test_the_commands_make_evaluate_and_summarise(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Place, "default", lambda image="python": place)
    source, out = tmp_path / "f.py", str(tmp_path / "o.jsonl.zst")
    source.write_text(TYPED)
    run = CliRunner().invoke
    done = run(command, ["function", str(source), "--count", "3", "--out", out, "--similarity", "0"])
    assert done.exit_code == 0, done.output
    assert "records" in done.output and len(list(read(Path(out)))) == 3
    done = run(command, ["program", str(source), "--out", str(tmp_path / "p.parquet")])
    assert done.exit_code == 0 and len(list(read(tmp_path / "p.parquet"))) == 1
    done = run(command, ["evaluate", out, "--halting", "4", "--json"])
    assert done.exit_code == 0, done.output
    assert '"oracle"' in done.output and '"constant"' in done.output
