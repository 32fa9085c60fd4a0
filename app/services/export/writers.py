"""Writes record batches as Parquet, CSV or JSON lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any, Protocol

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

# A row group is as large as readers like it, unless it has so many columns that its cells would fill the memory.
_ROWS_PER_GROUP, _CELLS_PER_GROUP = 100_000, 4_000_000
# A spreadsheet takes such a text for a formula, and callers choose keys, request ids and categories.
_FORMULA = r"^([=+\-@\t\r])"
_ENCODER = msgspec.json.Encoder()


class Writer(Protocol):
    """Writes one export."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows; may keep some of them in memory."""
        ...

    def close(self) -> None:
        """Write what is left. Does not close the file."""
        ...


class ParquetWriter:
    """Parquet with zstd, in row groups. `facts` are the file's own metadata."""

    def __init__(self, out: IO[bytes], schema: pa.Schema, facts: Mapping[str, str]) -> None:
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0
        self._group = max(1, min(_ROWS_PER_GROUP, _CELLS_PER_GROUP // len(schema)))
        self._schema = schema.with_metadata({f"bakeoff.{name}": value for name, value in facts.items()})
        self._writer = pq.ParquetWriter(out, self._schema, compression="zstd")

    def write(self, batch: pa.RecordBatch) -> None:
        """Keep the rows until they fill a row group."""
        self._waiting.append(batch)
        self._rows += len(batch)
        if self._rows >= self._group:
            self._flush()

    def close(self) -> None:
        """Write the last row group and the file's metadata."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            table = pa.Table.from_batches(self._waiting).replace_schema_metadata(self._schema.metadata)
            self._writer.write_table(table, row_group_size=self._group)
        self._waiting, self._rows = [], 0


class CsvWriter:
    """CSV with a header line. A missing value is an empty cell, an empty text a pair of quotes."""

    def __init__(self, out: IO[bytes], schema: pa.Schema) -> None:
        self._writer = csv.CSVWriter(out, as_texts(pa.RecordBatch.from_pylist([], schema=schema)).schema)

    def write(self, batch: pa.RecordBatch) -> None:
        """Write the rows."""
        self._writer.write_batch(_without_formulas(as_texts(batch)))

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class LinesWriter:
    """JSON lines: an object for each row, with all columns, or only those that the row has."""

    def __init__(self, out: IO[bytes], *, sparse: bool = False) -> None:
        self._out = out
        self._sparse = sparse

    def write(self, batch: pa.RecordBatch) -> None:
        """Write the rows."""
        rows: list[dict[str, Any]] = as_texts(batch).to_pylist()
        if self._sparse:
            rows = [{name: value for name, value in row.items() if value is not None} for row in rows]
        self._out.write(_ENCODER.encode_lines(rows))

    def close(self) -> None:
        """There is nothing left."""


def as_texts(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows with dates and times as ISO 8601 texts."""
    columns = [_iso(column) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _iso(column: pa.Array) -> pa.Array:
    if not pa.types.is_temporal(column.type):
        return column
    # Arrow writes a time as `2026-11-20 12:00:00.123456Z`.
    return pc.replace_substring(column.cast(pa.string()), " ", "T", max_replacements=1)


def _without_formulas(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [
        pc.replace_substring_regex(column, _FORMULA, r"'\1") if pa.types.is_string(column.type) else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
