"""Rows of the log as record batches of Arrow, column by column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pyarrow as pa

from app.domain.classes import boolean_of
from app.services.export.columns import ColumnType
from app.services.export.rows import Answer, LogRow, RowForm
from app.services.export.schema import ExportSchema, VersionColumns, type_of

Unmatched = dict[int, dict[str, Any]]
_NO_ANSWER = Answer()


def batch_of(rows: Sequence[LogRow], schema: ExportSchema) -> pa.RecordBatch:
    """The rows with the columns of `schema`. What fits none of them is JSON in the column `unmatched`."""
    unmatched: Unmatched = {}
    columns = [*_facts(rows), *_outcomes(rows, schema), *_features(rows, schema, unmatched)]
    for version in schema.versions:
        columns += _answers(rows, version, unmatched)
    known = {version.version for version in schema.versions}
    for place, row in enumerate(rows):
        if not row.answers.keys() <= known:
            others = {name: each for name, each in row.answers.items() if name not in known}
            unmatched.setdefault(place, {}).setdefault("answers", {}).update(others)
    columns.append([_text(unmatched[place]) if place in unmatched else None for place in range(len(rows))])
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, field.type)
        for column, field in zip(columns, schema.arrow, strict=True)
    ]
    return pa.record_batch(arrays, schema=schema.arrow)


def label(value: float | None, classes: Sequence[str], *, as_number: bool) -> str | float | None:
    """A label as its column has it: a number, or the name of the class with this id."""
    if value is None or as_number:
        return value
    is_id = isinstance(value, int) and 0 <= value < len(classes)
    return classes[int(value)] if is_id else _text(value)


def user_of(user_hash: int) -> str | None:
    """The hash of a user's id in hexadecimal, as the API shows it; None where no user was named."""
    return f"{user_hash:012x}" if user_hash else None


def _facts(rows: Sequence[LogRow]) -> list[list[Any]]:
    return [
        [row.seq for row in rows],
        [row.prediction_id for row in rows],
        [row.served_at_us for row in rows],
        [row.request_id for row in rows],
        [row.own_key for row in rows],
        [user_of(row.user_hash) for row in rows],
        [row.experiment_id for row in rows],
        [row.epoch for row in rows],
        [row.version for row in rows],
        [row.chosen for row in rows],
        [row.assignment for row in rows],
        [row.propensity for row in rows],
        [row.counts for row in rows],
        [row.synthetic for row in rows],
        [row.latency_us / 1000 for row in rows],
    ]


def _outcomes(rows: Sequence[LogRow], schema: ExportSchema) -> list[list[Any]]:
    as_number = schema.actual_is_number
    return [
        [None if row.actual is None else _actual(row, schema, as_number) for row in rows],
        [row.actual_at_us for row in rows],
        [row.reward for row in rows],
        [row.reward_at_us for row in rows],
        [row.actual_corrected_at_us for row in rows],
        [row.reward_corrected_at_us for row in rows],
    ]


def _actual(row: LogRow, schema: ExportSchema, as_number: bool) -> str | float | None:
    return label(row.actual, schema.classes_of(row.version), as_number=as_number)


def _features(rows: Sequence[LogRow], schema: ExportSchema, unmatched: Unmatched) -> list[Any]:
    grouped = _by_form(rows)
    at = {position: place for place, position in enumerate(schema.features)}
    columns: list[list[Any]] = [[None] * len(rows) for _ in schema.features]
    for form, members in grouped.items():
        positions = schema.columns.places(form)
        # A reported exposure has no features at all.
        members = [place for place in members if rows[place].features]
        for place in members if positions is None else [m for m in members if len(rows[m].features) != len(positions)]:
            unmatched.setdefault(place, {})["features"] = rows[place].features
        if positions is None or any(position not in at for position in positions):
            continue
        fitting = [place for place in members if len(rows[place].features) == len(positions)]
        for position, values in zip(
            positions, zip(*(rows[place].features for place in fitting), strict=True), strict=False
        ):
            _put(columns[at[position]], fitting, values)
    return [
        column_of(values, column.type, type_of(column), column.feature.name, unmatched)
        for values, column in zip(columns, schema.feature_columns, strict=True)
    ]


def _by_form(rows: Sequence[LogRow]) -> dict[RowForm, list[int]]:
    """The places of the rows of each form."""
    # By the layout's id: a layout itself would be hashed with all its columns, for every row.
    places: dict[tuple[str, int | None], list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault((row.version, None if row.layout is None else row.layout.id), []).append(place)
    return {RowForm(rows[some[0]].version, rows[some[0]].layout): some for some in places.values()}


def _put(column: list[Any], places: Sequence[int], values: Sequence[Any]) -> None:
    if len(places) == len(column):
        column[:] = values
        return
    for place, value in zip(places, values, strict=True):
        column[place] = value


def column_of(values: list[Any], kind: ColumnType, arrow: pa.DataType, name: str, unmatched: Unmatched) -> pa.Array:
    """The values of a feature as a column of this kind; those of another kind go to `unmatched`, by place."""
    if kind in ("number", "text"):
        try:
            return pa.array(values, arrow)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            pass  # a value of another type is among them
    converted = [_NULL if value is None else _CONVERSIONS[kind](value) for value in values]
    for place, value in enumerate(converted):
        if value is _MISFIT:
            unmatched.setdefault(place, {}).setdefault("features", {})[name] = values[place]
    return pa.array([None if value is _MISFIT else value for value in converted], arrow)


_MISFIT = object()
_NULL = None


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, int | float) else _MISFIT


def _as_text(value: Any) -> Any:
    return value if isinstance(value, str) else _text(value)


def _boolean(value: Any) -> Any:
    if isinstance(value, str):
        flag = boolean_of(value)
        return _MISFIT if flag is None else flag
    return bool(value) if value in (0, 1) else _MISFIT


def _date(value: Any) -> Any:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        return _MISFIT


def _time(value: Any) -> Any:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return _MISFIT
    return moment if moment.tzinfo is None else _MISFIT


def _time_utc(value: Any) -> Any:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return _MISFIT
    return _MISFIT if moment.tzinfo is None else moment.astimezone(UTC)


_CONVERSIONS: Mapping[ColumnType, Callable[[Any], Any]] = {
    "number": _number,
    "text": _as_text,
    "boolean": _boolean,
    "date": _date,
    "time": _time,
    "time_utc": _time_utc,
}


def _answers(rows: Sequence[LogRow], version: VersionColumns, unmatched: Unmatched) -> list[Any]:
    name, classes = version.version, version.classes
    given = [row.answers.get(name, _NO_ANSWER) for row in rows]
    status = [
        "answered" if each is not _NO_ANSWER else _silence(row, name) for each, row in zip(given, rows, strict=True)
    ]
    if version.is_number:
        _note(given, [each.c is not None for each in given], name, unmatched)
        return [[each.v for each in given], status]
    width = len(classes)
    nowhere = [
        each.v is not None
        or (each.c is not None and not 0 <= each.c < width)
        or (each.p is not None and len(each.p) != width)
        for each in given
    ]
    _note(given, nowhere, name, unmatched)
    ids = [None if odd else each.c for each, odd in zip(given, nowhere, strict=True)]
    nulls = (None,) * width
    shares = [nulls if odd or each.p is None else each.p for each, odd in zip(given, nowhere, strict=True)]
    names = pa.array(classes, pa.string()).take(pa.array(ids, pa.int64()))
    return [names, *zip(*shares, strict=True), status]


def _note(given: Sequence[Answer], odd: Sequence[bool], name: str, unmatched: Unmatched) -> None:
    for place, (answer, is_odd) in enumerate(zip(given, odd, strict=True)):
        if is_odd:
            unmatched.setdefault(place, {}).setdefault("answers", {})[name] = answer


def _silence(row: LogRow, version: str) -> str | None:
    """Why the version gave no answer; None where it was not asked."""
    if version in row.failed:
        return "failed"
    return "lacks_column" if version in row.lacking else None


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
