"""Traces on disk: JSON lines compressed by zstd, or parquet; written unit by unit, so that a stop loses one unit.

Beside ``FILE`` lies ``FILE.state`` while it is made: one line for each finished unit of work, with the size that the
file then had. What comes after the last of them is cut off when the work goes on.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cwm_env.tracing.errors import TraceError
from cwm_env.tracing.tokens import split
from cwm_env.tracing.traces import Trace

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
    tokens: int
    """An estimate: special tokens, and words, groups of up to three digits, spaces and marks."""
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
        number, level, text, len(trace.frames), count_tokens(text), unit, outcome=trace.outcome, value=value, **more
    )


def count_tokens(text: str) -> int:
    """About how many tokens a text is."""
    return sum(1 if part.startswith("<|") else len(_PIECE.findall(part)) for part, _ in split(text))


@dataclass
class Summary:
    """What a data set holds and what it does not."""

    units: int = 0
    records: int = 0
    events: int = 0
    tokens: int = 0
    bytes: int = 0
    """Of text, before compression."""
    refused: dict[str, int] = field(default_factory=dict)
    """Reason to number."""

    def add(self, records: Sequence[Record], refused: dict[str, int]) -> None:
        """Count one more unit."""
        self.units += 1
        self.records += len(records)
        self.events += sum(record.events for record in records)
        self.tokens += sum(record.tokens for record in records)
        self.bytes += sum(len(record.text) for record in records)
        for reason, number in refused.items():
            self.refused[reason] = self.refused.get(reason, 0) + number


class DataSet:
    """A file of records that grows unit by unit and can be taken up again."""

    def __init__(self, path: Path) -> None:
        """Open ``path`` (``.jsonl.zst`` or ``.parquet``), or go on with it.

        Raises:
            TraceError: the name says no format that is known.
        """
        if not path.name.endswith((".jsonl.zst", ".parquet")):
            raise TraceError(f"{path.name} should end in .jsonl.zst or .parquet")
        self.path = path
        self._lines = path if path.name.endswith(".zst") else path.with_name(path.name + ".jsonl.zst")
        self._state = path.with_name(path.name + ".state")
        self.summary = Summary()
        self.done: set[str] = set()
        """Units that are finished."""
        self._restore()

    def _restore(self) -> None:
        size = 0
        for line in self._state.read_text().splitlines() if self._state.exists() else ():
            try:
                entry = json.loads(line)
            except ValueError:  # the stop came in the middle of this line
                break
            self.done.add(entry["unit"])
            size = entry["size"]
            self.summary = Summary(**entry["summary"])
        self._lines.touch()
        with self._lines.open("r+b") as file:
            file.truncate(size)

    def add(self, unit: str, records: Sequence[Record], refused: dict[str, int]) -> None:
        """Write what one unit gave, and that it is finished."""
        import zstandard

        data = "".join(json.dumps(asdict(record)) + "\n" for record in records).encode()
        with self._lines.open("ab") as file:
            if data:
                file.write(zstandard.ZstdCompressor(level=9).compress(data))
            size = file.tell()
        self.summary.add(records, refused)
        self.done.add(unit)
        entry = {"unit": unit, "size": size, "summary": asdict(self.summary)}
        with self._state.open("a") as state:
            state.write(json.dumps(entry) + "\n")

    def records(self) -> Iterator[Record]:
        """What is written so far."""
        return read(self._lines)

    def finish(self) -> Summary:
        """All units are done: leave the file alone in its place."""
        if self._lines != self.path:
            _to_parquet(self.records(), self.path)
            self._lines.unlink()
        self._state.unlink(missing_ok=True)
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

    kinds = {"events": pyarrow.int64(), "tokens": pyarrow.int64()}
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in Record.__slots__])
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        for record in records:
            rows.append(asdict(record))
            if len(rows) == 256:
                writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
                rows = []
        if rows:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
