"""Look at the SQLite file from outside: read-only, without making, migrating or locking anything."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

from app.errors import StoreUnavailable
from app.store.facts import StoreFacts
from app.store.monitor_names import HEARTBEAT

_STEPS = 10_000


def examine(path: Path, within_s: float) -> StoreFacts | None:
    """The facts about the store at `path`, None where there is no file. Raises `StoreUnavailable` for no store."""
    if not path.exists():
        return None
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
        ) as connection:
            complaint, finished = _checked(connection, within_s)
            return StoreFacts(
                wal_bytes=_size(path.with_name(path.name + "-wal")),
                complaint=complaint,
                finished=finished,
                newest_prediction_us=_newest(
                    connection, "SELECT served_at_us FROM predictions ORDER BY seq DESC LIMIT 1"
                ),
                heartbeat_us=_newest(connection, "SELECT updated_at_us FROM monitor_state WHERE name = ?", HEARTBEAT),
            )
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{path}: {error}") from error


def _checked(connection: sqlite3.Connection, within_s: float) -> tuple[str | None, bool]:
    deadline = time.monotonic() + within_s
    connection.set_progress_handler(lambda: int(time.monotonic() > deadline), _STEPS)
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise
        return None, False
    finally:
        connection.set_progress_handler(None, 0)
    return (None if found == "ok" else str(found)), True


def _newest(connection: sqlite3.Connection, query: str, *values: str) -> int | None:
    try:
        row = connection.execute(query, values).fetchone()
    except sqlite3.OperationalError:  # a store of an earlier release has no such table
        return None
    return row[0] if row else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
