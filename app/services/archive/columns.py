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
    # Of a packed row, in place of the texts: its form, and the tail of its body. Absent in files of schema 1.
    ("log.form", pa.string()),
    ("log.packed", pa.binary()),
)
_TEXTS = (
    *("seq", "prediction_id", "time", "epoch", "version", "chosen", "assignment", "propensity", "counts", "synthetic"),
    *("user", "log.features", "log.answers", "latency_ms", "id", "log.failed", "log.layout", "log.lacking"),
)
# What a replay reads of a file of predictions; the rest is for people.
REPLAYED = (*_TEXTS, "log.follows_outcome", "log.form", "log.packed")
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
_NUMBERS = msgspec.json.Decoder(list[float])


def with_replay(export: pa.Schema) -> pa.Schema:
    """The columns of a file of predictions, given those of an export of the same rows."""
    return pa.schema([*export, *_REPLAY])


def predictions_batch(
    export: pa.RecordBatch,
    rows: Sequence[PredictionRow],
    follow_outcome: Collection[str],
    packed: Mapping[int, tuple[str, bytes]],
) -> pa.RecordBatch:
    """The rows as columns. `export` has the same rows; before those with ids in `follow_outcome`, an outcome came.

    `packed` has the forms and the tails of those rows that are packed, by seq.
    """
    texts = [None if row.seq in packed else row for row in rows]
    both = [packed.get(row.seq, (None, None)) for row in rows]
    added = (
        [row and row.features for row in texts],
        [row and row.answers for row in texts],
        [row and row.failed for row in texts],
        [row and row.lacking for row in texts],
        [row and row.layout for row in texts],
        follows([row.prediction_id for row in rows], follow_outcome),
        [form for form, _ in both],
        [tail for _, tail in both],
    )
    arrays = [pa.array(values, kind) for values, (_, kind) in zip(added, _REPLAY, strict=True)]
    return pa.record_batch([*export.columns, *arrays], schema=with_replay(export.schema))


def follows(ids: Sequence[str], follow_outcome: Collection[str]) -> list[bool]:
    """Whether an outcome came before each of the predictions with these ids."""
    return [each in follow_outcome for each in ids] if follow_outcome else [False] * len(ids)


def predictions_of_texts(table: pa.Table) -> list[PredictionRow]:
    """The rows in a table with the columns `REPLAYED`; none of them is packed."""
    columns = [_listed(table, name) for name in _TEXTS]
    return [PredictionRow(*values) for values in zip(*columns, strict=True)]


def follow_outcome_in(table: pa.Table) -> set[str]:
    """The ids of the predictions in a table before which an outcome of theirs was written."""
    flags = table.column("log.follows_outcome").to_pylist()
    return {id_ for id_, flag in zip(table.column("prediction_id").to_pylist(), flags, strict=True) if flag}


def outcomes_batch(
    fields: Sequence[Sequence[Any]], versions: Mapping[int, str], experiments: Mapping[int, str]
) -> pa.RecordBatch:
    """Outcomes as columns, given as the fields of `OutcomeRow` that the log has, a column for each.

    `versions` are names by ordinal, `experiments` ids by config revision.
    """
    seqs, ids, kinds, values, times, ordinals, epochs, counts, randomised, answers, users, seen = fields
    columns: list[Sequence[Any]] = [
        seqs,
        ids,
        kinds,
        _NUMBERS.decode(f"[{','.join(values)}]"),
        times,
        [experiments.get(epoch) for epoch in epochs],
        epochs,
        [versions.get(ordinal) for ordinal in ordinals],
        [*map(bool, counts)],  # SQLite gives 0 and 1
        [*map(bool, randomised)],
        answers,
        [*map(user_of, users)],
        values,
        ordinals,
        seen,
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, OUTCOMES, strict=True)]
    return pa.record_batch(arrays, schema=OUTCOMES)


# The place of the config revision among them.
EPOCH = 6
_OUTCOME_FIELDS = (
    *("seq", "prediction_id", "kind", "log.outcome", "time", "log.version_ordinal", "epoch", "counts", "randomised"),
    *("answer", "user", "log.predictions_seen"),
)


def outcomes_of(table: pa.Table) -> list[OutcomeRow]:
    """The outcomes in a table with the columns of `OUTCOMES`."""
    return list(map(OutcomeRow, *outcome_columns(table)))


def outcome_columns(table: pa.Table) -> list[list[Any]]:
    """The fields of the outcomes in a table with the columns of `OUTCOMES`, a list for each."""
    return [_listed(table, name) for name in _OUTCOME_FIELDS]


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
