"""The weeks of `log` on PostgreSQL: a table for each, made with its first row, so that whole weeks can be dropped."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, Engine

from app.domain.prediction_id import served_at_bytes
from app.store.packing import TIME_LENGTH

_WEEK_US = 7 * 86_400 * 1_000_000
WEEK_PREFIX = "log_week_"


class Weeks:
    """Makes the tables of weeks. For one thread, under the write lock."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._known: set[int] = set()
        self._made: set[int] = set()

    def ensure(self, connection: Connection, keys: Iterable[bytes]) -> None:
        """Make the tables for rows with these ids (column `id` of `log`) that are not there."""
        if connection.engine is not self._engine:
            self._engine, self._known = connection.engine, set()
        # The table of an earlier week may have been dropped since.
        newest = max(self._known, default=0)
        self._made = {week for week in map(week_of, keys) if week < newest or week not in self._known}
        for week in self._made:
            make_week(connection, week)

    def committed(self) -> None:
        """Note that the transaction of the last `ensure` was committed."""
        self._known |= self._made
        self._made = set()


def week_of(key: bytes) -> int:
    """The number of the week (since 1970) of a row with this id."""
    return int.from_bytes(key[:TIME_LENGTH]) // _WEEK_US


def make_week(connection: Connection, week: int) -> None:
    """Make the table of a week (number since 1970) where it is missing."""
    name = f"{WEEK_PREFIX}{week}"
    if connection.exec_driver_sql(f"SELECT to_regclass('{name}')").scalar() is not None:
        return
    first, end = (served_at_bytes(each * _WEEK_US).hex() for each in (week, week + 1))
    # Not PARTITION OF: that would wait for all readers of the log, and those that come would wait for it.
    connection.exec_driver_sql(f"CREATE TABLE {name} (LIKE log INCLUDING ALL)")
    bounds = f"FROM ('\\x{first}') TO ('\\x{end}')"
    connection.exec_driver_sql(f"ALTER TABLE log ATTACH PARTITION {name} FOR VALUES {bounds}")
