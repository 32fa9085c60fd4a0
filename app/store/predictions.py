"""The log of predictions: appended in batches, never changed, and read by page for the history."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

import msgspec
from msgspec.structs import astuple
from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError

from app.domain.columns import LoggedLayout
from app.services.ports import KEY_DAYS, LoggedPrediction
from app.services.queries.history import Name, NameKind, Place
from app.services.queries.logged_answers import LoggedAnswer, LoggedCorrection
from app.store.engine import Database
from app.store.kinds import READING, RECORDING
from app.store.layouts import LayoutReads, LayoutWrites
from app.store.statements import in_dialect, statements

_COLUMNS = LoggedPrediction.__struct_fields__
_LAYOUT = _COLUMNS.index("layout")
_DAY_US = 86_400 * 1_000_000
_NAMED: Mapping[NameKind, str] = {
    # By its beginning: readers may get ids without the signature. No character of an id comes behind the tilde.
    "prediction_id": "p.prediction_id >= :name AND p.prediction_id < :name || '~'",
    "own_key": "p.own_key = :name",
    "request_id": "p.request_id = :name",
}
# 18 columns × 55 rows stay below 999 bound values, the lowest limit of any SQLite build (SQLITE_MAX_VARIABLE_NUMBER
# before 3.32); and sqlite3 keeps 128 statements prepared, enough for one of each size.
_ROWS_PER_STATEMENT = 55


class PredictionLog:
    """Appends to `predictions`; the columns are the fields of `LoggedPrediction`, in order. For one thread.

    A row's layout is the id of one in `layouts`, which has it before anybody sees the row.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._layouts = LayoutWrites()

    def append(self, rows: Sequence[LoggedPrediction]) -> None:
        """Add `rows` in one transaction; rows whose id is in the log already are ignored, so a retry is always safe.

        Raises `StoreUnavailable`, or `UnicodeError` or `OverflowError` for a row that no store can hold; then none was
        added.
        """
        if not rows:
            return
        with self._database.begin(RECORDING) as connection:
            layouts = self._layouts.put(connection, (row.layout for row in rows))
            _APPEND[connection.dialect.name](connection, rows)
        self._layouts.committed(layouts)


def _values(rows: Iterable[LoggedPrediction]) -> Iterable[tuple[Any, ...]]:
    """The rows as the table has them."""
    return (astuple(row) if row.layout is None else _with_id(astuple(row), row.layout) for row in rows)


def _with_id(values: tuple[Any, ...], layout: LoggedLayout) -> tuple[Any, ...]:
    return (*values[:_LAYOUT], layout.id, *values[_LAYOUT + 1 :])


def _append_values(connection: Connection, rows: Sequence[LoggedPrediction]) -> None:
    for start in range(0, len(rows), _ROWS_PER_STATEMENT):
        some = rows[start : start + _ROWS_PER_STATEMENT]
        connection.exec_driver_sql(_insert(len(some)), tuple(chain.from_iterable(_values(some))))


@cache
def _insert(rows: int) -> str:
    """The statement that appends `rows` rows."""
    # Not `executemany`: sqlite3 releases the interpreter's lock at every statement, and beside a busy request thread
    # each row would wait a whole switch interval (5 ms) to get it back.
    row = f"({', '.join('?' * len(_COLUMNS))})"
    return f"{statements('predictions')['append']} {', '.join([row] * rows)} ON CONFLICT (prediction_id) DO NOTHING"


def _append_arrays(connection: Connection, rows: Sequence[LoggedPrediction]) -> None:
    # One array a column: the same statement for any number of rows, which the server prepares once.
    columns = zip(*_values(rows), strict=True)
    arrays = {name: list(values) for name, values in zip(_COLUMNS, columns, strict=True)}
    try:
        connection.execute(text(statements("predictions")["append_arrays"]), arrays)
    except DataError as error:
        raise OverflowError(f"a value that the log cannot store: {error.orig}") from error


_APPEND: Mapping[str, Callable[[Connection, Sequence[LoggedPrediction]], None]] = {
    "sqlite": _append_values,
    "postgresql": _append_arrays,
}


class PredictionHistory:
    """Reads the log for the history. Every call raises `StoreUnavailable` where the store cannot be read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._layouts = LayoutReads(database)

    def page(
        self,
        limit: int,
        version: str | None = None,
        before: Place | None = None,
        name: Name | None = None,
    ) -> list[LoggedAnswer]:
        """Up to `limit` rows with their outcomes, newest first.

        Only those of one `version`, older than `before`, and of that `name`, if given.
        """
        conditions = ["TRUE"]
        parameters: dict[str, object] = {"limit": limit}
        if version is not None:
            conditions.append("p.version = :version")
            parameters["version"] = version
        if before is not None:
            conditions.append("p.served_at_us <= :before_us AND p.prediction_id < :before_id")
            parameters |= {"before_us": before.served_at_us, "before_id": before.prediction_id}
        if name is not None:
            conditions.append(_NAMED[name.kind])
            parameters["name"] = name.value
        # Ids sort by the time of serving, `seq` only by the time of writing. Each order has an index.
        order = "p.prediction_id DESC" if version is None else "p.served_at_us DESC, p.prediction_id DESC"
        return self._answers(f"WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT :limit", parameters)

    def _answers(self, rest: str, parameters: Mapping[str, object]) -> list[LoggedAnswer]:
        """The rows that the statement of a page finds, with the `rest` behind it."""
        with self._database.begin(READING) as connection:
            query = f"{statements('predictions')['page']} {in_dialect(rest, connection.dialect.name)}"
            rows = connection.execute(text(query), parameters).all()
            corrections = _corrections(connection, [row.prediction_id for row in rows])
        layouts = self._layouts.layouts(row.layout for row in rows if row.layout is not None)
        return [_corrected(_answer(row, layouts), corrections.get(row.prediction_id, ())) for row in rows]

    def of_ids(self, ids: Collection[str]) -> dict[str, LoggedAnswer]:
        """The rows with these ids that are in the log, by id."""
        rest = statements("predictions")["of_ids"]
        found = self._answers(rest, {"ids": msgspec.json.encode([*ids]).decode()})
        return {row.prediction_id: row for row in found}

    def first(self, name: Name) -> LoggedAnswer | None:
        """The first row of that name, None without one."""
        found = self._answers(f"WHERE {_NAMED[name.kind]} ORDER BY p.prediction_id LIMIT 1", {"name": name.value})
        return found[0] if found else None

    def place(self, prediction_id: str) -> Place | None:
        """The place of a prediction in the history; None where it is not in the log."""
        query = text(statements("predictions")["served_at"])
        with self._database.begin(READING) as connection:
            served_at_us = connection.execute(query, {"prediction_id": prediction_id}).scalar()
        return None if served_at_us is None else Place(prediction_id, served_at_us)

    def has_version(self, version: str) -> bool:
        """Whether the log has a prediction of `version`."""
        with self._database.begin(READING) as connection:
            found = connection.execute(text(statements("predictions")["has_version"]), {"version": version})
            return found.first() is not None


class OwnKeys:
    """Finds the predictions that callers' own keys are bound to; `now_us` is the clock (µs since 1970, UTC)."""

    def __init__(self, database: Database, now_us: Callable[[], int]) -> None:
        self._database = database
        self._now_us = now_us

    def bound(self, keys: Collection[str]) -> dict[str, str]:
        """The prediction id by key, for those keys that a prediction of the last 90 days has.

        A key is bound to the first prediction that counts, by the time of serving: several workers may log two in
        another order. Where none counts, it is the first one: an answer that was forced can be labelled by its key,
        too. Raises `StoreUnavailable`.
        """
        parameters = {
            "keys": msgspec.json.encode(sorted(keys)).decode(),
            "since_us": self._now_us() - KEY_DAYS * _DAY_US,
        }
        with self._database.begin(READING) as connection:
            query = text(statements("predictions", connection.dialect.name)["bound"])
            return {row.own_key: row.prediction_id for row in connection.execute(query, parameters)}


def _corrections(connection: Connection, ids: Sequence[str]) -> dict[str, list[LoggedCorrection]]:
    named = statements("predictions", connection.dialect.name)
    found: dict[str, list[LoggedCorrection]] = {}
    if connection.execute(text(named["any_correction"])).first() is not None:
        for row in connection.execute(text(named["corrections"]), {"ids": msgspec.json.encode(ids).decode()}):
            found.setdefault(row.prediction_id, []).append(LoggedCorrection(*row[1:]))
    return found


def _corrected(row: LoggedAnswer, corrections: Sequence[LoggedCorrection]) -> LoggedAnswer:
    """The row with the last value of each outcome."""
    if not corrections:
        return row
    last = {each.kind: each.outcome for each in corrections}
    return msgspec.structs.replace(row, corrections=tuple(corrections), **last)


def _answer(row: Any, layouts: Mapping[int, LoggedLayout]) -> LoggedAnswer:
    # A layout that is not there has no names; the contract of the version would give wrong ones.
    columns = None if row.layout is None else layouts.get(row.layout, LoggedLayout(row.layout, ()))
    flags = {"counts": bool(row.counts), "synthetic": bool(row.synthetic)}  # SQLite gives 0 and 1
    return LoggedAnswer(**{**row._mapping, **flags, "layout": columns})
