"""How fast a SQLite log grows: its bytes a row, times the rows of the last day."""

from __future__ import annotations

import sqlite3

from app.store.packing import TIME_LENGTH

_DAY_US = 86_400_000_000
_LEAST_US = _DAY_US // 24  # less says nothing about a day
# Rows are in `log`, in a store of an earlier release in `predictions`, during a take-over in both. For each table: its
# first number, its last, and its first row from a number on. One statement for both ends would read all rows.
_STATEMENTS = {
    "log": (
        "SELECT min(seq) FROM log",
        "SELECT max(seq) FROM log",
        "SELECT seq, id FROM log WHERE seq >= ? ORDER BY seq LIMIT 1",
    ),
    "predictions": (
        "SELECT min(seq) FROM predictions",
        "SELECT max(seq) FROM predictions",
        "SELECT seq, served_at_us FROM predictions WHERE seq >= ? ORDER BY seq LIMIT 1",
    ),
}


def bytes_per_day(connection: sqlite3.Connection, now_us: int) -> float | None:
    """The growth of the store in bytes a day, at the rate of the last day, or of the whole log if that is younger.

    None where the log is empty, or younger than an hour. Raises `sqlite3.Error`.
    """
    tables = _present(connection)
    firsts = [first for first in (_value(connection, table[0]) for table in tables) if first is not None]
    if not firsts:
        return None
    first, last = min(firsts), max(_value(connection, table[1]) or 0 for table in tables)
    began_us = _first_from(connection, first)
    if began_us is None or now_us - began_us < _LEAST_US:
        return None
    since_us = max(began_us, now_us - _DAY_US)
    new_rows = last + 1 - _first_seq_at(connection, since_us, first, last)
    return _used_bytes(connection) / (last + 1 - first) * new_rows * _DAY_US / (now_us - since_us)


def _present(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return [statements for table, statements in _STATEMENTS.items() if table in names]


def _value(connection: sqlite3.Connection, statement: str) -> int | None:
    value: int | None = connection.execute(statement).fetchone()[0]
    return value


def _first_seq_at(connection: sqlite3.Connection, at_us: int, low: int, high: int) -> int:
    """The lowest number in `low` to `high` + 1 from which on rows are of that time or later; numbers follow time."""
    high += 1
    while low < high:
        middle = (low + high) // 2
        served_at_us = _first_from(connection, middle)
        if served_at_us is not None and served_at_us < at_us:
            low = middle + 1
        else:
            high = middle
    return low


def _first_from(connection: sqlite3.Connection, seq: int) -> int | None:
    """When the first row with that number or a higher one was served, in µs since 1970."""
    rows = [connection.execute(first_from, (seq,)).fetchone() for _, _, first_from in _present(connection)]
    found = [row for row in rows if row is not None]
    if not found:
        return None
    time = min(found)[1]
    return int.from_bytes(time[:TIME_LENGTH]) if isinstance(time, bytes) else int(time)


def _used_bytes(connection: sqlite3.Connection) -> int:
    (size,), (pages,), (free,) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_size", "page_count", "freelist_count")
    )
    return int(size * (pages - free))
