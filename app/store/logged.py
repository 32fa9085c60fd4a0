"""The rows of the log, whichever table they are in: `log` has packed ones, `predictions` has those of before.

Both tables share one run of numbers (`seq`), in the order of commits. A prediction is in one of them. Rows that cannot
be packed go to `predictions` for good; in a store of an earlier release all rows do, until `bakeoff finish-migration`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

import msgspec
from sqlalchemy import Connection, text

from app.domain.log_event import EVERY
from app.domain.prediction_id import RAW_LENGTH, raw_bounds, raw_ids, served_at_bytes
from app.services.export.rows import Selection
from app.services.queries.history import Name, Place
from app.store.forms import Form, FormReads, StoredRow
from app.store.packing import KEY_LENGTH, TIME_LENGTH
from app.store.request_ids import REQUEST_US, hash_of_request, made_at_us, request_bytes
from app.store.statements import in_dialect, statements
from app.store.unpacking import FORM, unpacked

PACKED = "packed"
_SEQ = itemgetter(0)
Parts: TypeAlias = tuple[Sequence[Any], Mapping[int, Form], list[StoredRow]]
_COUNTS, _SYNTHETIC = StoredRow._fields.index("counts"), StoredRow._fields.index("synthetic")


class _Condition(NamedTuple):
    """What follows `WHERE` in a statement on one of the tables, with its parameters."""

    sql: str
    parameters: Mapping[str, object]


class LoggedRows:
    """Reads rows of both tables, in the transaction of a connection."""

    def __init__(self) -> None:
        self._forms = FormReads()

    def after(self, connection: Connection, after: int, until: int, limit: int) -> list[StoredRow]:
        """Up to `limit` rows with seqs above `after` and up to `until`, in order."""
        values = {"after": after, "until": until, "limit": limit}
        rest = statements("logged")["after"]
        rows = [*self._old(connection, rest, values), *self._packed(connection, rest, values)]
        return sorted(rows, key=_SEQ)[:limit]

    def parts(self, connection: Connection, after: int, until: int, limit: int | None = None) -> Parts:
        """The rows of this span, up to `limit` of each kind: packed ones, their forms by number, and the others."""
        values = {"after": after, "until": until, "limit": until - after if limit is None else limit}
        rest = statements("logged")["after"]
        raw = self._found(connection, "packed", rest, values)
        return raw, self._forms.forms(connection, {row[FORM] for row in raw}), self._old(connection, rest, values)

    def parts_of_ids(self, connection: Connection, ids: Collection[str]) -> Parts:
        """As `parts`, the rows with these ids; packed ones may be others too."""
        old: list[StoredRow] = []
        if connection.execute(text(statements("logged")["any_old"])).first():
            rest = statements("logged", connection.dialect.name)["old_of_ids"]
            old = self._old(connection, rest, {"ids": msgspec.json.encode(sorted(ids)).decode()})
        return *self._raw_of_ids(connection, ids), old

    def selected(self, connection: Connection, after: int, until: int, selection: Selection) -> list[StoredRow]:
        """The selected rows with seqs above `after` and up to `until`, in order."""
        old, packed = _selected_old(after, until, selection), _selected_packed(after, until, selection)
        rows = self._old(connection, f"WHERE {old.sql}", old.parameters)
        return sorted([*rows, *self._packed(connection, f"WHERE {packed.sql}", packed.parameters)], key=_SEQ)

    def counts(self, connection: Connection, after: int, until: int, selection: Selection) -> Sequence[Any]:
        """How many of the selected rows have each version, layout and config revision, with these."""
        old, packed = _selected_old(after, until, selection), _selected_packed(after, until, selection)
        named = statements("logged")
        of_old = text(f"{named['count_old']} WHERE {old.sql} {named['grouped_old']}")
        of_packed = text(f"{named['count_packed']} WHERE {packed.sql} {named['grouped_packed']}")
        return [*connection.execute(of_old, old.parameters), *connection.execute(of_packed, packed.parameters)]

    def old_after(self, connection: Connection, after: int, limit: int) -> list[StoredRow]:
        """Up to `limit` rows of `predictions` with seqs above `after`, in order."""
        return self._old(connection, statements("logged")["after"], {"after": after, "until": EVERY, "limit": limit})

    def of_ids(self, connection: Connection, ids: Collection[str]) -> list[StoredRow]:
        """The rows with these ids, in order."""
        raw, forms, old = self.parts_of_ids(connection, ids)
        return sorted([*old, *(row for row in unpacked(raw, forms) if row.prediction_id in ids)], key=_SEQ)

    def packed_of_ids(self, connection: Connection, ids: Collection[str]) -> list[StoredRow]:
        """Those rows of `log` that have these ids."""
        return [row for row in unpacked(*self._raw_of_ids(connection, ids)) if row.prediction_id in ids]

    def _raw_of_ids(self, connection: Connection, ids: Collection[str]) -> tuple[Sequence[Any], Mapping[int, Form]]:
        """Packed rows whose keys are those of these ids, and their forms by number."""
        keys = keys_of(set(ids))
        if not keys:
            return (), {}
        given = keys if connection.dialect.name == "postgresql" else b"".join(keys)
        rest = statements("logged", connection.dialect.name)["packed_of_ids"]
        raw = self._found(connection, "packed", rest, {"keys": given})
        return raw, self._forms.forms(connection, {row[FORM] for row in raw})

    def of_own_keys(self, connection: Connection, own_keys: Collection[str], since_us: int) -> list[StoredRow]:
        """The rows with these own keys that were served since then (µs since 1970)."""
        rest = statements("logged", connection.dialect.name)["of_own_keys"]
        values = {"own_keys": msgspec.json.encode(sorted(own_keys)).decode()}
        old = self._old(connection, f"{rest} AND served_at_us >= :since_us", {**values, "since_us": since_us})
        since = {"since": served_at_bytes(since_us)}
        return [*old, *self._packed(connection, f"{rest} AND id >= :since", {**values, **since})]

    def newest(
        self, connection: Connection, limit: int, version: str | None, before: Place | None, name: Name | None
    ) -> list[StoredRow]:
        """Up to `limit` rows, newest first; of one `version`, older than `before` and of that `name`, where given."""
        return self._named(connection, limit, version, before, name, descending=True)

    def oldest(self, connection: Connection, name: Name) -> StoredRow | None:
        """The first row of that name, None without one."""
        found = self._named(connection, 1, None, None, name, descending=False)
        return found[0] if found else None

    def _named(
        self,
        connection: Connection,
        limit: int,
        version: str | None,
        before: Place | None,
        name: Name | None,
        *,
        descending: bool,
    ) -> list[StoredRow]:
        order = "DESC" if descending else "ASC"
        # Ids sort by the time of serving, `seq` only by the time of writing. Each order has an index.
        by = f"prediction_id {order}" if version is None else f"served_at_us {order}, prediction_id {order}"
        rows: list[StoredRow] = []
        for condition in _of_old(version, before, name):
            rest = f"WHERE {condition.sql} ORDER BY {by} LIMIT :limit"
            rows += self._old(connection, rest, {**condition.parameters, "limit": limit})
        number = None if version is None else _number(connection, version)
        by = f"id {order}" if version is None else f"$moment {order}, id {order}"
        for condition in _of_packed(number, before, name) if version is None or number is not None else ():
            rest = f"WHERE {condition.sql} ORDER BY {by} LIMIT :limit"
            found = self._packed(connection, rest, {**condition.parameters, "limit": limit})
            rows += [row for row in found if _is_named(row, name)]
        rows.sort(key=lambda row: (row.served_at_us, row.prediction_id), reverse=descending)
        return rows[:limit]

    def _old(self, connection: Connection, rest: str, values: Mapping[str, object]) -> list[StoredRow]:
        rows, is_server = self._found(connection, "old", rest, values), connection.dialect.name == "postgresql"
        return [StoredRow(*row) if is_server else _as_stored(row) for row in rows]

    def _packed(self, connection: Connection, rest: str, values: Mapping[str, object]) -> list[StoredRow]:
        rows = self._found(connection, "packed", rest, values)
        return unpacked(rows, self._forms.forms(connection, {row[FORM] for row in rows})) if rows else []

    def _found(self, connection: Connection, table: str, rest: str, values: Mapping[str, object]) -> Sequence[Any]:
        query = f"{statements('logged')[table]} {in_dialect(rest, connection.dialect.name)}"
        return connection.execute(text(query), values).all()


def keys_of(ids: Collection[str]) -> list[bytes]:
    """What those of the ids that a prediction can have begin with, as in the column `id`."""
    raw = raw_ids([*ids])
    if raw is None:
        return [each[:KEY_LENGTH] for each in map(raw_ids, ([prediction_id] for prediction_id in ids)) if each]
    return [raw[start : start + KEY_LENGTH] for start in range(0, len(raw), RAW_LENGTH)]


def mark(connection: Connection, name: str) -> int | None:
    """The mark of the log with this name, None where it is not set."""
    found: int | None = connection.execute(text(statements("logged")["mark"]), {"name": name}).scalar()
    return found


def set_mark(connection: Connection, name: str, value: int) -> None:
    """Set the mark of the log with this name."""
    connection.execute(text(statements("logged")["set_mark"]), {"name": name, "value": value})


def span_of_numbers(connection: Connection) -> tuple[int | None, int]:
    """The numbers of the first row that is in the log, None in an empty one, and of the last, 0 in an empty one."""
    ends = connection.execute(text(statements("logged")["span"])).one()
    first = min((each for each in (ends.first_old, ends.first_packed) if each is not None), default=None)
    return first, max(ends.last_old or 0, ends.last_packed or 0)


def last_number(connection: Connection) -> int:
    """The last number that any prediction got, 0 before the first; exact under the write lock."""
    return int(connection.execute(text(statements("logged", connection.dialect.name)["last"])).scalar_one())


def newest_served_at_us(connection: Connection) -> int | None:
    """When the last prediction that was logged was served (µs since 1970); None in an empty log."""
    row = connection.execute(text(statements("logged")["newest"])).one()
    packed = 0 if row.key is None else int.from_bytes(row.key[:TIME_LENGTH])
    return max(row.old or 0, packed) or None


def _as_stored(row: Sequence[Any]) -> StoredRow:
    values = list(row)
    values[_COUNTS], values[_SYNTHETIC] = bool(values[_COUNTS]), bool(values[_SYNTHETIC])  # SQLite gives 0 and 1
    return StoredRow(*values)


def _number(connection: Connection, version: str) -> int | None:
    query = text(statements("logged")["number_of_version"])
    found: int | None = connection.execute(query, {"version": version}).scalar()
    return found


def _selected_old(after: int, until: int, selection: Selection) -> _Condition:
    sql, values = _span(after, until)
    if selection.experiment is not None:
        sql.append("epoch IN (SELECT c.epoch FROM config AS c WHERE c.experiment_id = :experiment)")
        values["experiment"] = selection.experiment
    if selection.since_us is not None:
        sql.append("served_at_us >= :since")
        values["since"] = selection.since_us
    if selection.until_us is not None:
        sql.append("served_at_us < :before")
        values["before"] = selection.until_us
    return _Condition(" AND ".join(sql), values)


def _selected_packed(after: int, until: int, selection: Selection) -> _Condition:
    sql, values = _span(after, until)
    if selection.experiment is not None:
        of_experiment = "SELECT f.id FROM forms AS f INNER JOIN config AS c ON c.epoch = f.epoch"
        sql.append(f"form IN ({of_experiment} WHERE c.experiment_id = :experiment)")
        values["experiment"] = selection.experiment
    if selection.since_us is not None:
        sql.append("log.id >= :since")
        values["since"] = served_at_bytes(selection.since_us)
    if selection.until_us is not None:
        sql.append("log.id < :before")
        values["before"] = served_at_bytes(selection.until_us)
    return _Condition(" AND ".join(sql), values)


def _span(after: int, until: int) -> tuple[list[str], dict[str, object]]:
    return ["seq > :after AND seq <= :until"], {"after": after, "until": until}


def _of_old(version: str | None, before: Place | None, name: Name | None) -> list[_Condition]:
    sql, values = ["TRUE"], dict[str, object]()
    if version is not None:
        sql.append("version = :version")
        values["version"] = version
    if before is not None:
        sql.append("served_at_us <= :before_us AND prediction_id < :before_id")
        values |= {"before_us": before.served_at_us, "before_id": before.prediction_id}
    if name is not None:
        # By its beginning: readers may get ids without the signature. No character of an id comes behind the tilde.
        beginning = "prediction_id >= :name AND prediction_id < :name || '~'"
        sql.append(beginning if name.kind == "prediction_id" else f"{name.kind} = :name")
        values["name"] = name.value
    return [_Condition(" AND ".join(sql), values)]


def _of_packed(number: int | None, before: Place | None, name: Name | None) -> list[_Condition]:
    sql, values = ["TRUE"], dict[str, object]()
    if number is not None:
        sql.append("version = :number")
        values["number"] = number
    if before is not None:
        keys = keys_of([before.prediction_id])
        sql.append("id < :before" if number is None else "$earlier")
        values["before"] = keys[0] if keys else served_at_bytes(before.served_at_us)
    return [
        _Condition(" AND ".join([*sql, condition.sql]), {**values, **condition.parameters})
        for condition in (_by_name(name) if name is not None else [_Condition("TRUE", {})])
    ]


def _by_name(name: Name) -> list[_Condition]:
    """Where rows of that name can be; a condition may find others, too."""
    if name.kind == "own_key":
        return [_Condition("own_key = :name", {"name": name.value})]
    if name.kind == "prediction_id":
        bounds = raw_bounds(name.value)
        if bounds is None:
            return []
        first, last = (each[:KEY_LENGTH] for each in bounds)
        return [_Condition("id >= :first AND id <= :last", {"first": first, "last": last})]
    found = [_Condition("request = :request", {"request": hash_of_request(name.value)})]
    made_at = made_at_us(name.value)
    if made_at is not None:
        ends = {"from": served_at_bytes(made_at), "to": served_at_bytes(made_at + REQUEST_US)}
        values = {**ends, "raw": request_bytes(name.value)}
        found.append(_Condition("id >= :from AND id < :to AND substr(body, 1, 16) = :raw", values))
    return found


def _is_named(row: StoredRow, name: Name | None) -> bool:
    if name is None:
        return True
    if name.kind == "prediction_id":
        return row.prediction_id.startswith(name.value)
    return bool(getattr(row, name.kind) == name.value)
