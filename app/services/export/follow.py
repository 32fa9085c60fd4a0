"""The log as a stream of lines in the order of its commits: predictions, outcomes and corrections as they arrive.

Each line has `seq`, the position in the log behind it; a reader that starts again with it gets exactly what follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import IO, Any, Literal, get_args

import pyarrow as pa

from app.errors import DataRefused
from app.services.export.batches import batch_of, label, user_of
from app.services.export.columns import Contracts, FeatureColumns
from app.services.export.rows import LogOutcome, LogReads, LogRow, Position, RowForm
from app.services.export.schema import ExportSchema, schema_of
from app.services.export.writers import CsvWriter, LinesWriter, Writer

_LIMIT = 2_000
Line = LogRow | LogOutcome
_Kind = Literal["prediction", "outcome", "correction"]
_KINDS = get_args(_Kind)


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
        for kind, some in groupby(lines, key=_kind):
            self._write_all(list(some), kind)
        if lines:
            self._out.flush()
        return len(lines)

    def _write_all(self, lines: list[Any], kind: _Kind) -> None:
        if kind == "prediction":
            self._admit(lines)
        batch = batch_of(lines, self._schema) if kind == "prediction" else self._outcomes(lines)
        seqs, position = [], self.position
        for line in lines:
            position = position._replace(**{f"{kind}s": line.seq})
            seqs.append(str(position))
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
            f"{outcome.kind}_corrected_time": outcome.corrected_at_us,
        }


def in_order(rows: list[LogRow], outcomes: list[LogOutcome], limit: int) -> list[Line]:
    """The lines in the order of their commits; those whose predecessors may not have been read wait.

    `rows` and `outcomes` are up to `limit` of each kind of line that follow one position, of one snapshot.
    """
    lines: list[Line] = [*rows, *outcomes]
    placed = [(_place(line), line) for line in lines]
    ends = []
    for kind in _KINDS:
        places = [place for place, line in placed if _kind(line) == kind]
        if len(places) >= limit:
            ends.append(max(places))
    if ends:
        end = min(ends)
        placed = [(place, line) for place, line in placed if place <= end]
    return [line for _, line in sorted(placed, key=lambda entry: entry[0])]


def _kind(line: Line) -> _Kind:
    if isinstance(line, LogRow):
        return "prediction"
    return "outcome" if line.corrected_at_us is None else "correction"


def _place(line: Line) -> tuple[int, int, int, int]:
    if isinstance(line, LogRow):
        return line.seq, 0, 0, 0
    if line.corrected_at_us is None:
        return line.predictions_seen, 1, line.seq, 0
    return line.predictions_seen, 1, line.outcomes_seen, line.seq
