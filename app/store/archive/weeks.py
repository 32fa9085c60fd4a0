"""Drops the tables of weeks on PostgreSQL whose rows are all archived: deleted rows alone give no room back there."""

from __future__ import annotations

from sqlalchemy import Connection

from app.domain.prediction_id import served_at_bytes
from app.store.postgres.weeks import WEEK_PREFIX, week_of

_WEEKS = """
    SELECT c.relname FROM pg_inherits AS i INNER JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = CAST('log' AS regclass)
"""


def drop_empty_week(connection: Connection, until_us: int) -> int:
    """Drop the table of a week that ended before a time (µs since 1970) and has no row left; how many were dropped."""
    names = connection.exec_driver_sql(_WEEKS).scalars().all()
    for name in sorted(names, key=len):
        week = name.removeprefix(WEEK_PREFIX)
        if not (name.startswith(WEEK_PREFIX) and week.isdigit()) or int(week) >= week_of(served_at_bytes(until_us)):
            continue
        any_row = f"SELECT 1 FROM {name} LIMIT 1"  # noqa: S608 # nosec B608 - digits only
        if connection.exec_driver_sql(any_row).first() is None:
            connection.exec_driver_sql(f"DROP TABLE {name}")
            return 1
    return 0
