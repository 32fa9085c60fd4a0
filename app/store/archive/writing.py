"""Writes a span of the log as files, one for each day and kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from app.services.archive.columns import outcomes_batch, predictions_batch
from app.services.archive.manifest import ARCHIVE_SCHEMA, ArchivedFile, FileKind, file_name
from app.services.archive.plan import Span
from app.services.export.batches import batch_of
from app.services.export.columns import Contracts, FeatureColumns
from app.services.export.rows import Position, RowForm
from app.services.export.schema import ExportSchema, schema_of
from app.store.archive.arrays import digest_of_columns, is_ascending
from app.store.archive.log import ArchivableLog, PackedPart, Part
from app.store.archive.packed import batch_of_packed, text_of
from app.store.archive.places import sum_of
from app.store.event_rows import prediction_of
from app.store.unpacking import FORM, unpacked

_ROWS_PER_READ = 10_000
# Small enough that a replay keeps several in memory; fewer rows where there are many columns.
_ROWS_PER_GROUP, _CELLS_PER_GROUP = 10_000, 1_000_000
_DAY_US = 86_400 * 1_000_000


class _DayFile:
    """A file that is being written, and what is in it."""

    def __init__(self, path: Path, kind: FileKind, day: int, schema: pa.Schema) -> None:
        self.path = path
        self._kind: FileKind = kind
        self._day = datetime.fromtimestamp(day * _DAY_US / 1e6, UTC).date().isoformat()
        self._group = max(100, min(_ROWS_PER_GROUP, _CELLS_PER_GROUP // len(schema)))
        facts = {"bakeoff.archive_schema": str(ARCHIVE_SCHEMA), "bakeoff.day": self._day}
        self._schema = schema.with_metadata(facts)
        self._writer = parquet_writer(path, self._schema)
        self._waiting: list[pa.Table] = []
        self._rows = self._written = 0
        # The least and the greatest value of each addition.
        self._ends: dict[str, list[Any]] = {"seq": [], "time": [], "prediction_id": []}

    def add(self, rows: pa.Table) -> None:
        """Add rows, which follow those before by their seqs."""
        self._waiting.append(rows)
        self._rows += len(rows)
        for name, ends in self._ends.items():
            values = rows.column(name)
            ends += pc.min_max(values.cast(pa.int64()) if name == "time" else values).as_py().values()
        if self._rows - self._written >= self._group:
            self._flush()

    def close(self) -> ArchivedFile:
        """Finish the file, and say what is in it."""
        self._flush()
        self._writer.close()
        (first, last), (first_us, last_us), (first_id, last_id) = (
            (min(each), max(each)) for each in self._ends.values()
        )
        size, digest = sum_of(self.path.open("rb"))
        return ArchivedFile(
            name=file_name(self._kind, self._day, first, last),
            kind=self._kind,
            day=self._day,
            rows=self._rows,
            first_seq=first,
            last_seq=last,
            first_us=first_us,
            last_us=last_us,
            first_id=first_id,
            last_id=last_id,
            bytes=size,
            sha256=digest,
            schema=ARCHIVE_SCHEMA,
        )

    def _flush(self) -> None:
        if self._waiting:
            table = pa.concat_tables(self._waiting).replace_schema_metadata(self._schema.metadata)
            self._writer.write_table(table, row_group_size=self._group)
        self._written, self._waiting = self._rows, []


Files: TypeAlias = dict[tuple[FileKind, int], _DayFile]
# Of the rows of a kind with seqs above the first number and up to the second.
Digests: TypeAlias = dict[tuple[FileKind, int, int], bytes]


class SpanWriter:
    """Writes spans of `log` to files. `contracts` and `versions` (names by ordinal) are those of the registry."""

    def __init__(self, log: ArchivableLog, contracts: Contracts, versions: Mapping[int, str]) -> None:
        self._log = log
        self._contracts = contracts
        self._versions = versions

    def write(
        self, span: Span, end: Position, folder: Path, progress: Callable[[int], None]
    ) -> tuple[dict[Path, ArchivedFile], Digests]:
        """The files with the rows of `span`, in `folder`, what is in each, and digests of the rows as the log had them.

        Outcomes in columns are as of `end`.

        `progress` gets the number of seqs since the last call. Raises `StoreUnavailable` and `OSError`.
        """
        files: Files = {}
        digests: Digests = {}
        schema = self._schema(*span.predictions)
        for after, until in _parts(*span.predictions):
            digests["predictions", after, until] = self._predictions(after, until, end, schema, folder, files)
            progress(until - after)
        for after, until in _parts(*span.outcomes):
            digests["outcomes", after, until] = self._outcomes(after, until, folder, files)
            progress(until - after)
        return {file.path: file.close() for file in files.values()}, digests

    def digests(self, span: Span, end: Position) -> Digests:
        """Digests of the rows of `span` as the log has them. Raises `StoreUnavailable`."""
        found: Digests = {}
        for after, until in _parts(*span.predictions):
            found["predictions", after, until] = self._log.predictions(after, until, end).digest()
        for after, until in _parts(*span.outcomes):
            found["outcomes", after, until] = digest_of_columns(self._log.outcomes(after, until).columns)
        return found

    def _schema(self, after: int, until: int) -> ExportSchema:
        forms: dict[RowForm, None] = {}
        epochs: set[int] = set()
        for start, end in _parts(after, until):
            for count in self._log.counts(start, end):
                forms[count.form] = None
                epochs.add(count.epoch)
        versions = self._log.versions_of(epochs) | {form.version for form in forms}
        return schema_of(FeatureColumns(self._contracts), self._contracts, forms, versions)

    def _predictions(
        self,
        after: int,
        until: int,
        end: Position,
        schema: ExportSchema,
        folder: Path,
        files: Files,
    ) -> bytes:
        part = self._log.predictions(after, until, end)
        batches, odd = [], []
        for each in part.packed:
            form = each.rows.form
            layout = None if form.layout is None else part.layouts[form.layout]
            experiment = part.experiments.get(form.epoch)
            batch = batch_of_packed(each.rows, each.tails, schema, part.known, part.follow_outcome, experiment, layout)
            odd += [each] if batch is None else []
            batches += [] if batch is None else [batch]
        if odd or part.others:
            batches.append(self._row_by_row(odd, part, end, schema))
        if batches:
            _by_day("predictions", batches, folder, files)
        return part.digest()

    def _row_by_row(self, odd: Sequence[PackedPart], part: Part, end: Position, schema: ExportSchema) -> pa.RecordBatch:
        """The rows that are not packed, and packed ones that hold what the columns do not."""
        packed: dict[int, tuple[str, bytes]] = {}
        rows = [*part.others]
        for each in odd:
            form, tails = text_of(each.rows.form), each.rows.tails.to_pylist()
            packed |= {seq: (form, tail) for seq, tail in zip(each.rows.seqs.tolist(), tails, strict=True)}
            rows += unpacked(each.raw, {each.raw[0][FORM]: each.rows.form})
        export = batch_of(self._log.exported(rows, end), schema)
        return predictions_batch(export, [prediction_of(row) for row in rows], part.follow_outcome, packed)

    def _outcomes(self, after: int, until: int, folder: Path, files: Files) -> bytes:
        logged = self._log.outcomes(after, until)
        if len(logged):
            experiments = self._log.experiments_of({*logged.column("epoch").unique().to_pylist()})
            _by_day("outcomes", [outcomes_batch(logged, self._versions, experiments)], folder, files)
        return digest_of_columns(logged.columns)


def _by_day(kind: FileKind, batches: Sequence[pa.RecordBatch], folder: Path, files: Files) -> None:
    """Add the rows of each day to its file, in the order of their seqs."""
    table = pa.Table.from_batches(batches)
    if not is_ascending(table.column("seq")):
        table = table.sort_by("seq")
    days = table.column("time").cast(pa.int64()).to_numpy() // _DAY_US
    for day in np.unique(days).tolist():
        key: tuple[FileKind, int] = (kind, day)
        if key not in files:
            files[key] = _DayFile(folder / f"{kind}-{day}.parquet", kind, day, table.schema)
        own = days == day
        files[key].add(table if own.all() else table.filter(pa.array(own)))


def parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Writes a file of the archive."""
    # Statistics of ids and seqs are how single rows are found again; a dictionary of ids would only take room.
    return pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=_repeating(schema), write_statistics=True)


def _repeating(schema: pa.Schema) -> list[str]:
    """The columns of text with few values."""
    unique = {"prediction_id", "request_id", "id", "log.features", "log.answers", "unmatched"}
    return [field.name for field in schema if pa.types.is_string(field.type) and field.name not in unique]


def _parts(after: int, until: int) -> Iterator[tuple[int, int]]:
    for start in range(after, until, _ROWS_PER_READ):
        yield start, min(start + _ROWS_PER_READ, until)
