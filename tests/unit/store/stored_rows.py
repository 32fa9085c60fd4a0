"""Rows for the log, and a store whose disk is full."""

from contextlib import contextmanager

import pytest
from msgspec.structs import asdict
from sqlalchemy import Engine, event

from app.domain.logged_rows import LoggedPrediction
from app.domain.prediction_id import raw_ids, texts_of_ids
from app.store.engine import Database
from app.store.forms import StoredRow
from app.store.kinds import READING
from app.store.logged import LoggedRows

SERVED_AT_US = 1_700_000_000_000_000
# For tests of what only a file has.
SQLITE_ONLY = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
POSTGRES_ONLY = pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)


def id_of(number: int) -> str:
    """The id of the row of that number, as the service makes it: for v1, with class 0 as its answer."""
    key = (SERVED_AT_US + number).to_bytes(7, "big") + number.to_bytes(7, "big")
    return texts_of_ids(key + bytes([1, 0, 1, 0, 0, 0, 3, 7]) + bytes(14) + number.to_bytes(12, "big"))[0]


def number_of(prediction_id: str) -> int:
    """The number in an id of `id_of`."""
    raw = raw_ids([prediction_id])
    assert raw is not None
    return int.from_bytes(raw[7:14])


def log_of(database: Database) -> list[StoredRow]:
    """The whole log, in order."""
    with database.begin(READING) as connection:
        return LoggedRows().after(connection, 0, 2**62, 10**6)


def log_at(url: str) -> list[StoredRow]:
    """The whole log of the store at `url`, which others may be using."""
    database = Database(url)
    try:
        return log_of(database)
    finally:
        database.close()


def as_stored(row: LoggedPrediction, seq: int) -> StoredRow:
    """The row as it is read where it has this seq."""
    values = asdict(row) | {"seq": seq, "layout": None if row.layout is None else row.layout.id}
    return StoredRow(**values)


def logged(number: int, **changes) -> LoggedPrediction:
    """A row of the log; a higher number is a later one."""
    values = {
        "prediction_id": id_of(number),
        "served_at_us": SERVED_AT_US + number,
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
