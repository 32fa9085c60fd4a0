"""Writes a span of the log as files, one for each day and kind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from app.domain.log_event import OutcomeRow, PredictionRow
from app.services.archive.columns import outcomes_batch, predictions_batch
from app.services.archive.manifest import ARCHIVE_SCHEMA, ArchivedFile, FileKind, file_name
from app.services.archive.plan import Span
from app.services.export.batches import batch_of
from app.services.export.columns import Contracts, FeatureColumns
from app.services.export.rows import Position, RowForm
from app.services.export.schema import ExportSchema, schema_of
from app.store.archive.log import ArchivableLog

_ROWS_PER_READ = 5_000
# Small enough that a replay keeps several in memory; fewer rows where there are many columns.
_ROWS_PER_GROUP, _CELLS_PER_GROUP = 10_000, 1_000_000
_DAY_US = 86_400 * 1_000_000
_PIECE_BYTES = 1024 * 1024


class _DayFile:
    """A file that is being written, and what is in it."""

    def __init__(self, path: Path, kind: FileKind, day: int, schema: pa.Schema) -> None:
        self.path = path
        self._kind: FileKind = kind
        self._day = datetime.fromtimestamp(day * _DAY_US / 1e6, UTC).date().isoformat()
        self._group = max(100, min(_ROWS_PER_GROUP, _CELLS_PER_GROUP // len(schema)))
        facts = {"bakeoff.archive_schema": str(ARCHIVE_SCHEMA), "bakeoff.day": self._day}
        self._schema = schema.with_metadata(facts)
        # Statistics of ids and seqs are how single rows are found again; a dictionary of ids would only take room.
        self._writer = pq.ParquetWriter(
            path, self._schema, compression="zstd", use_dictionary=_repeating(schema), write_statistics=True
        )
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._written = 0
        self._spans: list[tuple[int, int]] = []
        self._times: list[int] = []
        self._ids: list[str] = []

    def add(self, batch: pa.RecordBatch, seqs: Sequence[int], times: Sequence[int], ids: Sequence[str]) -> None:
        """Add rows, which follow those before by their seqs."""
        self._waiting.append(batch)
        self._rows += len(batch)
        self._spans.append((seqs[0], seqs[-1]))
        self._times += [min(times), max(times)]
        self._ids += [min(ids), max(ids)]
        if self._rows - self._written >= self._group:
            self._flush()

    def close(self) -> ArchivedFile:
        """Finish the file, and say what is in it."""
        self._flush()
        self._writer.close()
        first, last = self._spans[0][0], self._spans[-1][1]
        size, digest = sum_of(self.path.open("rb"))
        return ArchivedFile(
            name=file_name(self._kind, self._day, first, last),
            kind=self._kind,
            day=self._day,
            rows=self._rows,
            first_seq=first,
            last_seq=last,
            first_us=min(self._times),
            last_us=max(self._times),
            first_id=min(self._ids),
            last_id=max(self._ids),
            bytes=size,
            sha256=digest,
        )

    def _flush(self) -> None:
        if self._waiting:
            table = pa.Table.from_batches(self._waiting).replace_schema_metadata(self._schema.metadata)
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

    def digests(self, span: Span) -> Digests:
        """Digests of the rows of `span` as the log has them. Raises `StoreUnavailable`."""
        found: Digests = {}
        for after, until in _parts(*span.predictions):
            found["predictions", after, until] = digest_of(*self._log.predictions(after, until))
        for after, until in _parts(*span.outcomes):
            found["outcomes", after, until] = digest_of(self._log.outcomes(after, until))
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
        rows, follow, export = self._log.to_write(after, until, end)
        if rows:
            batch = predictions_batch(batch_of(export, schema), rows, follow)
            _by_day("predictions", batch, rows, [row.served_at_us for row in rows], folder, files)
        return digest_of(rows, follow)

    def _outcomes(self, after: int, until: int, folder: Path, files: Files) -> bytes:
        rows = self._log.outcomes(after, until)
        if rows:
            experiments = self._log.experiments_of({row.epoch for row in rows})
            batch = outcomes_batch(rows, self._versions, experiments)
            _by_day("outcomes", batch, rows, [row.received_at_us for row in rows], folder, files)
        return digest_of(rows)


def _by_day(
    kind: FileKind,
    batch: pa.RecordBatch,
    rows: Sequence[PredictionRow] | Sequence[OutcomeRow],
    times: Sequence[int],
    folder: Path,
    files: Files,
) -> None:
    """Add the rows of each day to its file."""
    days: dict[int, list[int]] = {}
    for place, at_us in enumerate(times):
        days.setdefault(at_us // _DAY_US, []).append(place)
    for day, places in days.items():
        key: tuple[FileKind, int] = (kind, day)
        if key not in files:
            files[key] = _DayFile(folder / f"{kind}-{day}.parquet", kind, day, batch.schema)
        some = batch if len(places) == len(rows) else batch.take(pa.array(places))
        files[key].add(
            some,
            [rows[place].seq for place in places],
            [times[place] for place in places],
            [rows[place].prediction_id for place in places],
        )


def digest_of(
    rows: Sequence[PredictionRow] | Sequence[OutcomeRow], follow_outcome: Collection[str] = frozenset()
) -> bytes:
    """A digest of all values of the rows, and of which of them an outcome came before."""
    digest = hashlib.sha256(msgspec.msgpack.encode(rows))
    digest.update(msgspec.msgpack.encode(sorted(follow_outcome)))
    return digest.digest()


def sum_of(file: object) -> tuple[int, str]:
    """The size in bytes, and the SHA-256, of what is left to read of an open file; closes it."""
    size, digest = 0, hashlib.sha256()
    with file:  # type: ignore[attr-defined]
        while piece := file.read(_PIECE_BYTES):  # type: ignore[attr-defined]
            size += len(piece)
            digest.update(piece)
    return size, digest.hexdigest()


def _repeating(schema: pa.Schema) -> list[str]:
    """The columns of text with few values."""
    unique = {"prediction_id", "request_id", "id", "log.features", "log.answers", "unmatched"}
    return [field.name for field in schema if pa.types.is_string(field.type) and field.name not in unique]


def _parts(after: int, until: int) -> Iterator[tuple[int, int]]:
    for start in range(after, until, _ROWS_PER_READ):
        yield start, min(start + _ROWS_PER_READ, until)
