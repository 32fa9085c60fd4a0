"""Rows for the log, and a store whose disk is full."""

from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, event

from app.services.ports import LoggedPrediction
from app.store.engine import Database

# For tests of what only a file has.
SQLITE_ONLY = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
POSTGRES_ONLY = pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)


def logged(number: int, **changes) -> LoggedPrediction:
    """A row of the log; a higher number is a later one."""
    values = {
        "prediction_id": f"{number:064d}",
        "served_at_us": 1_700_000_000_000_000 + number,
        "request_id": f"request-{number}",
        "epoch": 3,
        "version": "v1",
        "chosen": "v1",
        "assignment": "weighted",
        "propensity": 0.5,
        "counts": True,
        "synthetic": False,
        "user_hash": 0,
        "features": "[5.1,null]",
        "answers": '{"v1":{"c":0,"p":[0.75,0.25]}}',
        "latency_us": 120,
    }
    return LoggedPrediction(**{**values, **changes})


@contextmanager
def full_disk(database: Database):
    """Within the block the store's file cannot grow."""

    def limit(connection, _record):
        connection.execute("PRAGMA max_page_count = 1")  # SQLite makes it the size that the file has

    database.close()
    event.listen(Engine, "connect", limit)
    try:
        yield
    finally:
        event.remove(Engine, "connect", limit)
        database.close()
