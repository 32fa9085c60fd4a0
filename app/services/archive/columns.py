"""Rows of the log as columns of an archive's files, and back to the last character.

A file of predictions has the columns of an export, and a few that only a replay needs: their names begin with `log.`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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
# The fields of `OutcomeRow` that the log has, by the names of the columns that have them in a file.
_LOGGED = pa.schema(
    [
        ("seq", pa.int64()),
        ("prediction_id", pa.string()),
        ("kind", pa.string()),
        ("log.outcome", pa.string()),
        ("time", pa.int64()),
        ("log.version_ordinal", pa.int64()),
        ("epoch", pa.int64()),
        ("counts", pa.bool_()),
        ("randomised", pa.bool_()),
        ("answer", pa.float64()),
        ("user", pa.int64()),
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
    follow_outcome: Collection[int],
    packed: Mapping[int, tuple[str, bytes]],
) -> pa.RecordBatch:
    """The rows as columns. `export` has the same rows; before those with seqs in `follow_outcome`, an outcome came.

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
        [row.seq in follow_outcome for row in rows],
        [form for form, _ in both],
        [tail for _, tail in both],
    )
    arrays = [pa.array(values, kind) for values, (_, kind) in zip(added, _REPLAY, strict=True)]
    return pa.record_batch([*export.columns, *arrays], schema=with_replay(export.schema))


def predictions_of_texts(table: pa.Table) -> list[PredictionRow]:
    """The rows in a table with the columns `REPLAYED`; none of them is packed."""
    columns = [_listed(table, name) for name in _TEXTS]
    return [PredictionRow(*values) for values in zip(*columns, strict=True)]


def follow_outcome_in(table: pa.Table) -> set[str]:
    """The ids of the predictions in a table before which an outcome of theirs was written."""
    return {*table.column("prediction_id").filter(table.column("log.follows_outcome")).to_pylist()}


def logged_outcomes(rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    """Outcomes as the log has them, a column for each field, given as rows with the fields of `OutcomeRow`."""
    fields = [*zip(*rows, strict=True)] or [()] * len(_LOGGED)
    arrays = [
        # SQLite gives 0 and 1 for what is true or false.
        pa.array([*map(bool, values)] if field.type == pa.bool_() else values, field.type)
        for values, field in zip(fields, _LOGGED, strict=True)
    ]
    return pa.record_batch(arrays, schema=_LOGGED)


def outcomes_batch(
    logged: pa.RecordBatch, versions: Mapping[int, str], experiments: Mapping[int, str]
) -> pa.RecordBatch:
    """Outcomes with the columns of a file. `versions` are names by ordinal, `experiments` ids by config revision."""
    own = {field.name: column for field, column in zip(logged.schema, logged.columns, strict=True)}
    users = own["user"]
    values = {
        **own,
        "value": pa.array(_NUMBERS.decode(f"[{','.join(own['log.outcome'].to_pylist())}]"), pa.float64()),
        "time": own["time"].cast(UTC),
        "experiment": _named(own["epoch"], experiments),
        "version": _named(own["log.version_ordinal"], versions),
        "user": pa.array(map(user_of, users.to_pylist()), pa.string())
        if pc.max(users).as_py()
        else pa.nulls(len(users), pa.string()),
    }
    return pa.record_batch([values[field.name] for field in OUTCOMES], schema=OUTCOMES)


def _named(numbers: pa.Array, names: Mapping[int, str]) -> pa.Array:
    each = numbers.dictionary_encode()
    return pa.array([*map(names.get, each.dictionary.to_pylist())], pa.string()).take(each.indices)


def outcomes_of(table: pa.Table) -> list[OutcomeRow]:
    """The outcomes in a table with the columns of `OUTCOMES`."""
    return list(map(OutcomeRow, *(_listed(table, name) for name in _LOGGED.names)))


def logged_in(table: pa.Table) -> list[pa.Array]:
    """The columns of `logged_outcomes`, of the outcomes in a table with the columns of `OUTCOMES`."""
    columns = {name: table.column(name).combine_chunks() for name in _LOGGED.names}
    users = columns["user"]
    none = users.null_count == len(users)
    columns["user"] = pa.array(np.zeros(len(users), np.int64) if none else _listed(table, "user"), pa.int64())
    columns["time"] = columns["time"].cast(pa.int64())
    return [*columns.values()]


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
