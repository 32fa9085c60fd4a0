"""The log as a stream of lines in the order of its commits: predictions, and outcomes as they arrive.

Each line has `seq`, the position in the log behind it; a reader that starts again with it gets exactly what follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import IO, Any

import pyarrow as pa

from app.errors import DataRefused
from app.services.export.batches import batch_of, label, user_of
from app.services.export.columns import Contracts, FeatureColumns
from app.services.export.rows import LogOutcome, LogReads, LogRow, Position, RowForm
from app.services.export.schema import ExportSchema, schema_of
from app.services.export.writers import CsvWriter, LinesWriter, Writer

_LIMIT = 2_000
Line = LogRow | LogOutcome


class Follower:
    """Writes the lines after a position to `out`. `ordinals` has the versions by their numbers in prediction ids."""

    def __init__(
        self,
        log: LogReads,
        contracts: Contracts,
        ordinals: Mapping[int, str],
        out: IO[bytes],
        after: Position,
        *,
        as_csv: bool,
    ) -> None:
        self.position = after
        self._log = log
        self._contracts = contracts
        self._ordinals = ordinals
        self._out = out
        self._as_csv = as_csv
        self._columns = FeatureColumns(contracts)
        self._versions = set(contracts)
        self._forms: dict[RowForm, None] = {RowForm(version, None): None for version in contracts}
        self._schema = self._schema_now()
        self._writer: Writer | None = None

    def step(self) -> int:
        """Write what has been committed since, up to a limit, and return the number of lines; 0 at the log's end.

        Raises `StoreUnavailable`, `OSError` where `out` cannot be written, and `DataRefused` where a row has columns
        that the header of the CSV lacks.
        """
        rows, outcomes = self._log.news(self.position, _LIMIT)
        lines = in_order(rows, outcomes, _LIMIT)
        for is_row, some in groupby(lines, key=lambda line: isinstance(line, LogRow)):
            self._write_all(list(some), is_row=is_row)
        if lines:
            self._out.flush()
        return len(lines)

    def _write_all(self, lines: list[Any], *, is_row: bool) -> None:
        if is_row:
            self._admit(lines)
        batch = batch_of(lines, self._schema) if is_row else self._outcomes(lines)
        seqs, position = [], self.position
        for line in lines:
            position = position._replace(**{"predictions" if is_row else "outcomes": line.seq})
            seqs.append(str(position))
        kind = "prediction" if is_row else "outcome"
        first = [pa.array(seqs), pa.array([kind] * len(lines))]
        names = ["seq", "kind", *batch.schema.names[1:]]
        self._write(pa.RecordBatch.from_arrays([*first, *batch.columns[1:]], names=names))
        self.position = position

    def _write(self, batch: pa.RecordBatch) -> None:
        if self._writer is None:
            self._writer = CsvWriter(self._out, batch.schema) if self._as_csv else LinesWriter(self._out, sparse=True)
        self._writer.write(batch)

    def _admit(self, rows: list[LogRow]) -> None:
        """Extend the schema to what these rows have."""
        forms = dict.fromkeys(RowForm(row.version, row.layout) for row in rows)
        versions = {name for row in rows for name in row.answers} | {form.version for form in forms}
        if forms.keys() <= self._forms.keys() and versions <= self._versions:
            return
        self._forms |= forms
        self._versions |= versions
        schema = self._schema_now()
        if self._writer is not None and self._as_csv and schema.arrow != self._schema.arrow:
            raise DataRefused(
                "a row has columns that the header lacks, since a version was published: start again with "
                f"--after {self.position}, which writes a new header, or use --format jsonl"
            )
        self._schema = schema

    def _schema_now(self) -> ExportSchema:
        return schema_of(self._columns, self._contracts, self._forms, self._versions)

    def _outcomes(self, outcomes: list[LogOutcome]) -> pa.RecordBatch:
        return pa.RecordBatch.from_pylist([self._outcome(each) for each in outcomes], schema=self._schema.arrow)

    def _outcome(self, outcome: LogOutcome) -> dict[str, Any]:
        version = self._ordinals.get(outcome.version_ordinal)
        classes = self._schema.classes_of(version or "")
        value: str | float | None = float(outcome.value)
        if outcome.kind == "actual":
            value = label(outcome.value, classes, as_number=self._schema.actual_is_number)
        return {
            "prediction_id": outcome.prediction_id,
            "user": user_of(outcome.user_hash),
            "experiment": outcome.experiment_id,
            "epoch": outcome.epoch,
            "version": version,
            "counts": outcome.counts,
            outcome.kind: value,
            f"{outcome.kind}_time": outcome.received_at_us,
        }


def in_order(rows: list[LogRow], outcomes: list[LogOutcome], limit: int) -> list[Line]:
    """The lines in the order of their commits; those whose predecessors may not have been read wait.

    `rows` and `outcomes` are up to `limit` of each that follow one position, of one snapshot.
    """
    ends: list[tuple[int, int, int]] = []
    if len(rows) >= limit:
        ends.append((rows[-1].seq + 1, 0, 0))
    if len(outcomes) >= limit:
        ends.append((outcomes[-1].predictions_seen, 1, outcomes[-1].seq + 1))
    lines: list[Line] = [*rows, *outcomes]
    placed = [(_place(line), line) for line in lines]
    if ends:
        end = min(ends)
        placed = [(place, line) for place, line in placed if place < end]
    return [line for _, line in sorted(placed, key=lambda entry: entry[0])]


def _place(line: Line) -> tuple[int, int, int]:
    return (line.seq, 0, 0) if isinstance(line, LogRow) else (line.predictions_seen, 1, line.seq)
