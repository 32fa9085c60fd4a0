"""Takes rows of an earlier release over: from `predictions`, as they were written, into `log`, packed."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Connection, text

from app.store.engine import Database
from app.store.forms import StoredRow
from app.store.kinds import DURABLE, MONITORING, READING
from app.store.logged import PACKED, LoggedRows, mark, set_mark
from app.store.predictions import PackedWrites
from app.store.statements import statements

_REWRITTEN = "rewritten"
# Rows in one transaction: some milliseconds under the write lock, which recorders and feedback wait for.
_ROWS_AT_ONCE = 100
_TRANSACTIONS_A_STEP = 5


class OldRows:
    """The rows of `predictions`, for one thread. Every call raises `StoreUnavailable` where the store is away."""

    def __init__(self, database: Database, pause: Callable[[float], None] = time.sleep) -> None:
        self._database = database
        self._pause = pause
        self._rows = LoggedRows()
        self._packed = PackedWrites()

    def count(self) -> int:
        """How many there are."""
        with self._database.begin(READING) as connection:
            return int(connection.execute(text(statements("logged")["number_of_old"])).scalar_one())

    def is_finished(self) -> bool:
        """Whether new rows are packed, so that the release before cannot read them."""
        with self._database.begin(READING) as connection:
            return mark(connection, PACKED) is not None

    def finish(self) -> None:
        """Pack new rows from now on, and let `step` take over the old ones; there is no way back."""
        with self._database.begin(DURABLE) as connection:
            set_mark(connection, PACKED, 1)

    def step(self) -> int:
        """Take over the next rows; returns how many were looked at, 0 where there is nothing to do.

        Rows that would not come back as they are stay where they are. After each transaction the write lock is left to
        others for as long as it took.
        """
        with self._database.begin(READING) as connection:
            if mark(connection, PACKED) is None or not self._next(connection, 1):
                return 0
        taken = 0
        for _ in range(_TRANSACTIONS_A_STEP):
            started_s = time.monotonic()
            some = self._take_over()
            taken += some
            if some < _ROWS_AT_ONCE:
                break
            self._pause(time.monotonic() - started_s)
        return taken

    def _take_over(self) -> int:
        with self._database.begin(MONITORING) as connection:
            rows = self._next(connection, _ROWS_AT_ONCE)
            if not rows:
                return 0
            forms = self._packed.take_over(connection, rows)
            set_mark(connection, _REWRITTEN, rows[-1].seq)
        self._packed.committed(forms)
        return len(rows)

    def _next(self, connection: Connection, limit: int) -> list[StoredRow]:
        return self._rows.old_after(connection, mark(connection, _REWRITTEN) or 0, limit)
