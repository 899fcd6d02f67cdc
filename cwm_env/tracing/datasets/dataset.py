"""Traces on disk: JSON lines compressed by zstd, or parquet; written unit by unit, so that a stop loses one unit."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cwm_env.tracing.datasets.journal import Journal
from cwm_env.tracing.errors import TraceError
from cwm_env.tracing.tokens import split
from cwm_env.tracing.traces import Trace

_GROUP_ROWS, _GROUP_CHARACTERS = 256, 32 << 20
"""What one row group of parquet holds at the most: it is built in memory."""
_PIECE = re.compile(r"[^\W\d_]+|\d{1,3}|\s+|[^\w\s]+|_+")


@dataclass(frozen=True, slots=True)
class Record:
    """One trace with where it is from."""

    id: str
    """Of the text: equal traces have equal ids."""
    level: str
    """function, program or tests."""
    text: str
    """In the Code World Model's format."""
    events: int
    """Frames."""
    tokens_estimate: int
    """About how many tokens the text is: special tokens, and words, groups of up to three digits, spaces and marks."""
    unit: str
    function: str = ""
    file: str = ""
    test: str = ""
    call: str = ""
    outcome: str = ""
    value: str = ""


def make_record(trace: Trace, level: str, unit: str, **more: str) -> Record:
    """A record of a trace."""
    text = trace.to_cwm()
    number = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]
    value = trace.value or ""
    return Record(
        number, level, text, len(trace.frames), estimate_tokens(text), unit, outcome=trace.outcome, value=value, **more
    )


def estimate_tokens(text: str) -> int:
    """About how many tokens a text is; ``tokens.encode`` with a model's own tokenizer says it exactly."""
    return sum(1 if part.startswith("<|") else len(_PIECE.findall(part)) for part, _ in split(text))


@dataclass
class Summary:
    """What a data set holds and what it does not."""

    units: int = 0
    records: int = 0
    events: int = 0
    tokens_estimate: int = 0
    bytes: int = 0
    """Of text, before compression."""
    refused: dict[str, int] = field(default_factory=dict)
    """Reason to number."""

    def add(self, records: Sequence[Record], refused: dict[str, int]) -> None:
        """Count one more unit."""
        self.units += 1
        self.records += len(records)
        self.events += sum(record.events for record in records)
        self.tokens_estimate += sum(record.tokens_estimate for record in records)
        self.bytes += sum(len(record.text) for record in records)
        for reason, number in refused.items():
            self.refused[reason] = self.refused.get(reason, 0) + number


class DataSet:
    """A file of records that grows unit by unit and can be taken up again."""

    def __init__(self, path: Path) -> None:
        """Open ``path`` (``.jsonl.zst`` or ``.parquet``), or go on with it.

        Raises:
            TraceError: the name says no format that is known, or the file is finished.
        """
        if not path.name.endswith((".jsonl.zst", ".parquet")):
            raise TraceError(f"{path.name} should end in .jsonl.zst or .parquet")
        self.path = path
        state = path.with_name(path.name + ".state")
        if not path.name.endswith(".zst") and path.exists() and not state.exists():
            raise TraceError(f"{path} is finished already: remove it, or write to another file")
        self._lines = path if path.name.endswith(".zst") else path.with_name(path.name + ".jsonl.zst")
        self._journal = Journal(self._lines, state)
        self.summary = Summary()
        self.done: set[str] = {entry["unit"] for entry in self._journal.entries}
        """Units that are finished."""
        if self._journal.entries:
            self.summary = Summary(**self._journal.entries[-1]["summary"])

    def add(self, unit: str, records: Sequence[Record], refused: dict[str, int]) -> None:
        """Write what one unit gave, and that it is finished."""
        import zstandard

        data = "".join(json.dumps(asdict(record)) + "\n" for record in records).encode()
        self.summary.add(records, refused)
        self.done.add(unit)
        packed = zstandard.ZstdCompressor(level=9).compress(data) if data else b""
        self._journal.add(packed, {"unit": unit, "summary": asdict(self.summary)})

    def records(self) -> Iterator[Record]:
        """What is written so far."""
        return read(self._lines)

    def finish(self) -> Summary:
        """All units are done: leave the file alone in its place."""
        if self._lines != self.path:
            _to_parquet(self.records(), self.path)
            self._lines.unlink()
        self._journal.finish()
        return self.summary


def read(path: Path) -> Iterator[Record]:
    """The records of a data set.

    Raises:
        TraceError: the file cannot be read as one.
    """
    try:
        yield from (Record(**row) for row in (_parquet_rows(path) if path.suffix == ".parquet" else _lines_of(path)))
    except (OSError, ValueError, TypeError) as error:
        raise TraceError(f"{path} is no data set of traces: {error}") from None


def _lines_of(path: Path) -> Iterator[dict[str, Any]]:
    import io

    import zstandard

    with path.open("rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        try:
            yield from map(json.loads, io.TextIOWrapper(reader, encoding="utf-8"))
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from None


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(256):
            yield from batch.to_pylist()


def _to_parquet(records: Iterable[Record], path: Path) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    kinds = {"events": pyarrow.int64(), "tokens_estimate": pyarrow.int64()}
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in Record.__slots__])
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in _groups(records):
            writer.write_table(pyarrow.Table.from_pylist([asdict(record) for record in group], schema=schema))


def _groups(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Records by row groups, so that memory holds one group and not the data set."""
    group: list[Record] = []
    size = 0
    for record in records:
        group.append(record)
        size += len(record.text)
        if len(group) == _GROUP_ROWS or size > _GROUP_CHARACTERS:
            yield group
            group, size = [], 0
    if group:
        yield group
