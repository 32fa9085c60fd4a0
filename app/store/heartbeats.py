"""The log of heartbeats: the monitor's notes that time has passed, each with its place in the order of events."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import text

from app.store.engine import Database
from app.store.kinds import MONITORING, READING
from app.store.statements import statements


class HeartbeatLog:
    """Appends to `heartbeats`. Every call raises `StoreUnavailable` where the store cannot be used.

    `now_us` is the clock (µs since 1970).
    """

    def __init__(self, database: Database, now_us: Callable[[], int]) -> None:
        self._database = database
        self._now_us = now_us

    def newest_event_us(self) -> int:
        """The time of the newest prediction, outcome or heartbeat, µs since 1970; 0 in an empty log."""
        with self._database.begin(READING) as connection:
            return int(connection.execute(text(statements("monitor")["newest_event"])).scalar_one())

    def append(self) -> None:
        """Note that it is now this late, behind everything that is in the log."""
        # Under the write lock, which makes its place exact.
        with self._database.begin(MONITORING) as connection:
            connection.execute(text(statements("monitor")["append_heartbeat"]), {"at_us": self._now_us()})
