"""Making a data set: units of work over sandboxes, in parallel, resumable, near-duplicates dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cwm_env.errors import InputError
from cwm_env.tracing.datasets.dataset import DataSet, Record, Summary, make_record
from cwm_env.tracing.datasets.duplicates import NearDuplicates
from cwm_env.tracing.datasets.inputs import find_calls
from cwm_env.tracing.datasets.parallel import in_order
from cwm_env.tracing.datasets.repository import Cut, Episode, trace_tests
from cwm_env.tracing.errors import Refused
from cwm_env.tracing.recording import TraceLimits, trace, trace_program
from cwm_env.tracing.stream import Place

Found = tuple[list[Record], dict[str, int]]
"""The records of one unit, and what was refused, by reason."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One piece of work: what it is called, and what does it."""

    name: str
    work: Callable[[], Found]


def produce(
    units: Iterable[Unit],
    path: Path,
    *,
    parallel: int = 2,
    similarity: float | None = 0.8,
    progress: Callable[[str, Summary], None] | None = None,
) -> Summary:
    """Do every unit that is not done yet, and write what comes of it.

    Args:
        path: ``.jsonl.zst`` or ``.parquet``; taken up where an earlier run was stopped.
        parallel: units at once, each with a sandbox of its own.
        similarity: from which Jaccard index on a trace is a near-duplicate; None keeps all.
        progress: called after each unit.

    Raises:
        InfrastructureError: a sandbox failed; what was finished is kept.
    """
    data = DataSet(path)
    near = NearDuplicates(similarity) if similarity is not None else None
    ids = set()
    for record in data.records():
        ids.add(record.id)
        if near is not None:
            near.seen(record.text)
    left = (unit for unit in units if unit.name not in data.done)
    for unit, (records, refused) in in_order(lambda unit: unit.work(), left, parallel):
        kept = []
        for record in records:
            if record.id in ids or (near is not None and near.seen(record.text)):
                refused["duplicate"] = refused.get("duplicate", 0) + 1
            else:
                ids.add(record.id)
                kept.append(record)
        data.add(unit.name, kept, refused)
        if progress is not None:
            progress(unit.name, data.summary)
    return data.finish()


def function_unit(
    name: str,
    source: str,
    place: Place,
    *,
    entry: str = "f",
    calls: Iterable[str] = (),
    tests: str = "",
    count: int = 10,
    seed: int = 0,
    limits: TraceLimits | None = None,
    timeout: float = 30.0,
) -> Unit:
    """A function with given calls, or with calls found for it."""

    def work() -> Found:
        records: list[Record] = []
        refused: dict[str, int] = {}
        try:
            chosen = list(calls) or find_calls(source, entry, tests=tests, count=count, seed=seed)
        except InputError:
            return records, {"input": 1}
        for call in chosen:
            try:
                made = trace(source, call=call, place=place, limits=limits, timeout=timeout)
                records.append(make_record(made, "function", name, function=entry, call=call))
            except InputError as error:
                reason = error.reason if isinstance(error, Refused) else "input"
                refused[reason] = refused.get(reason, 0) + 1
        return records, refused

    return Unit(name, work)


def program_unit(
    name: str,
    source: str,
    stdin: bytes,
    place: Place,
    *,
    limits: TraceLimits | None = None,
    timeout: float = 30.0,
) -> Unit:
    """A program with its standard input."""

    def work() -> Found:
        try:
            made = trace_program(source, stdin, place=place, limits=limits, timeout=timeout)
        except Refused as error:
            return [], {error.reason: 1}
        return [make_record(made, "program", name)], {}

    return Unit(name, work)


def tests_unit(tests: str, place: Place, *, cut: Cut, timeout: float = 300.0) -> Unit:
    """One file of a repository's tests."""

    def work() -> Found:
        records: list[Record] = []

        def take(episode: Episode) -> None:
            more = {"function": episode.function, "file": episode.file, "test": episode.test}
            records.append(make_record(episode.trace, "tests", tests, **more))

        _, refused = trace_tests(place, [tests], take, cut=cut, timeout=timeout)
        return records, refused

    return Unit(tests, work)
