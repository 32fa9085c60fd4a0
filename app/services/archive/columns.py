"""Rows of the log as columns of an archive's files, and back to the last character.

A file of predictions has the columns of an export, and a few that only a replay needs: their names begin with `log.`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from app.domain.log_event import OutcomeRow, PredictionRow
from app.services.export.batches import user_of
from app.services.export.schema import UTC

_REPLAY: tuple[tuple[str, pa.DataType], ...] = (
    ("log.features", pa.string()),
    ("log.answers", pa.string()),
    ("log.failed", pa.string()),
    ("log.lacking", pa.string()),
    ("log.layout", pa.int64()),
    # Whether an outcome was written before the row: it joins the row then, which the outcome cannot tell.
    ("log.follows_outcome", pa.bool_()),
)
# What a replay reads of a file of predictions; the rest is for people.
REPLAYED = (
    *("seq", "prediction_id", "time", "epoch", "version", "chosen", "assignment", "propensity", "counts", "synthetic"),
    *("user", "log.features", "log.answers", "latency_ms", "id", "log.failed", "log.layout", "log.lacking"),
    "log.follows_outcome",
)
OUTCOMES = pa.schema(
    [
        ("seq", pa.int64()),
        ("prediction_id", pa.string()),
        ("kind", pa.string()),
        ("value", pa.float64()),
        ("time", UTC),
        ("experiment", pa.string()),
        ("epoch", pa.int64()),
        ("version", pa.string()),
        ("counts", pa.bool_()),
        ("randomised", pa.bool_()),
        ("answer", pa.float64()),
        ("user", pa.string()),
        ("log.outcome", pa.string()),
        ("log.version_ordinal", pa.int64()),
        ("log.predictions_seen", pa.int64()),
    ]
)
_NUMBER = msgspec.json.Decoder(float)


def with_replay(export: pa.Schema) -> pa.Schema:
    """The columns of a file of predictions, given those of an export of the same rows."""
    return pa.schema([*export, *_REPLAY])


def predictions_batch(
    export: pa.RecordBatch, rows: Sequence[PredictionRow], follow_outcome: Collection[str]
) -> pa.RecordBatch:
    """The rows as columns. `export` has the same rows; before those with ids in `follow_outcome`, an outcome came."""
    added = (
        [row.features for row in rows],
        [row.answers for row in rows],
        [row.failed for row in rows],
        [row.lacking for row in rows],
        [row.layout for row in rows],
        [row.prediction_id in follow_outcome for row in rows],
    )
    arrays = [pa.array(values, kind) for values, (_, kind) in zip(added, _REPLAY, strict=True)]
    return pa.record_batch([*export.columns, *arrays], schema=with_replay(export.schema))


def predictions_of(table: pa.Table) -> list[PredictionRow]:
    """The rows in a table with the columns `REPLAYED`."""
    columns = [_listed(table, name) for name in REPLAYED[:-1]]
    return [PredictionRow(*values) for values in zip(*columns, strict=True)]


def follow_outcome_in(table: pa.Table) -> set[str]:
    """The ids of the predictions in a table before which an outcome of theirs was written."""
    flags = table.column("log.follows_outcome").to_pylist()
    return {id_ for id_, flag in zip(table.column("prediction_id").to_pylist(), flags, strict=True) if flag}


def outcomes_batch(
    rows: Sequence[OutcomeRow], versions: Mapping[int, str], experiments: Mapping[int, str]
) -> pa.RecordBatch:
    """The outcomes as columns. `versions` are names by ordinal, `experiments` ids by config revision."""
    columns: list[list[Any]] = [
        [row.seq for row in rows],
        [row.prediction_id for row in rows],
        [row.kind for row in rows],
        [_NUMBER.decode(row.outcome) for row in rows],
        [row.received_at_us for row in rows],
        [experiments.get(row.epoch) for row in rows],
        [row.epoch for row in rows],
        [versions.get(row.version_ordinal) for row in rows],
        [row.counts for row in rows],
        [row.randomised for row in rows],
        [row.answer for row in rows],
        [user_of(row.user_hash) for row in rows],
        [row.outcome for row in rows],
        [row.version_ordinal for row in rows],
        [row.predictions_seen for row in rows],
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, OUTCOMES, strict=True)]
    return pa.record_batch(arrays, schema=OUTCOMES)


_OUTCOME_FIELDS = (
    *("seq", "prediction_id", "kind", "log.outcome", "time", "log.version_ordinal", "epoch", "counts", "randomised"),
    *("answer", "user", "log.predictions_seen"),
)


def outcomes_of(table: pa.Table) -> list[OutcomeRow]:
    """The outcomes in a table with the columns of `OUTCOMES`."""
    columns = [_listed(table, name) for name in _OUTCOME_FIELDS]
    return [OutcomeRow(*values) for values in zip(*columns, strict=True)]


def _listed(table: pa.Table, name: str) -> list[Any]:
    column = table.column(name)
    if name == "time":
        return list(column.cast(pa.int64()).to_pylist())
    values: list[Any] = column.to_pylist()
    if name == "latency_ms":
        return [round(value * 1000) for value in values]
    if name == "user":
        return [0 if value is None else int(value, 16) for value in values]
    return values
