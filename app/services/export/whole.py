"""A part of the log as a file: the log as it was at one position, in batches, so that no read is long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, Literal

import msgspec
import pyarrow as pa

from app.domain.log_columns import few_collections
from app.services.export.batches import batch_of
from app.services.export.columns import SCHEMA_VERSION, Contracts, FeatureColumns
from app.services.export.rows import LogReads, Position, RowForm, Selection
from app.services.export.schema import ExportSchema, schema_of
from app.services.export.writers import CsvWriter, LinesWriter, ParquetWriter, Writer

Format = Literal["parquet", "csv", "jsonl"]
Progress = Callable[[int, int], None]
# Seqs per read; fewer where the rows have so many columns that a batch would fill the memory.
_PORTION, _CELLS_PER_PORTION = 10_000, 2_000_000


class Found(msgspec.Struct, frozen=True):
    """What there is to export: `rows` of the log up to `end`, from the seq `first` on."""

    selection: Selection
    schema: ExportSchema
    rows: int
    first: int
    end: Position


def find(log: LogReads, selection: Selection, contracts: Contracts) -> Found:
    """The selected rows, and their schema. Raises `StoreUnavailable`."""
    first, end = log.ends()
    forms: dict[RowForm, None] = {}
    epochs: set[int] = set()
    rows = 0
    for after, until in _parts(first, end, _PORTION):
        for count in log.counts(after, until, selection):
            forms[count.form] = None
            epochs.add(count.epoch)
            rows += count.rows
    asked = {version for each in log.configurations(epochs).values() for version in each.weights}
    versions = asked | {form.version for form in forms}
    schema = schema_of(FeatureColumns(contracts), contracts, forms, versions)
    return Found(selection, schema, rows, first, end)


def write(log: LogReads, found: Found, form: Format, out: IO[bytes], progress: Progress) -> int:
    """Write the rows to `out` and return their number; `progress` gets rows so far and rows in all.

    Raises `StoreUnavailable`, and `OSError` where `out` cannot be written.
    """
    writer = _writer(form, found, out)
    written = 0
    with few_collections():
        for batch in _batches(log, found):
            writer.write(batch)
            written += len(batch)
            progress(written, found.rows)
        writer.close()
    return written


def facts_of(found: Found) -> dict[str, str]:
    """What a file says of itself: the version of the schema, what was selected, and where the log goes on."""
    return {
        "schema_version": str(SCHEMA_VERSION),
        "selection": msgspec.json.encode(found.selection).decode(),
        "after": str(found.end),
    }


def _writer(form: Format, found: Found, out: IO[bytes]) -> Writer:
    if form == "parquet":
        return ParquetWriter(out, found.schema.arrow, facts_of(found))
    return CsvWriter(out, found.schema.arrow) if form == "csv" else LinesWriter(out)


def _batches(log: LogReads, found: Found) -> Iterator[pa.RecordBatch]:
    size = max(100, min(_PORTION, _CELLS_PER_PORTION // len(found.schema.arrow)))
    for after, until in _parts(found.first, found.end, size):
        rows = log.rows(after, until, found.end, found.selection)
        if rows:
            yield batch_of(rows, found.schema)


def _parts(first: int, end: Position, size: int) -> Iterator[tuple[int, int]]:
    """Spans of seqs, each above its first and up to its last."""
    for after in range(first - 1, end.predictions, size):
        yield after, min(after + size, end.predictions)
