"""The growth of a log: by the rows of the last day, whichever table they are in."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from app.store.growth import bytes_per_day

HOUR_US = 3_600_000_000
NOW_US = 1_800_000_000_000_000


@pytest.fixture
def connection(tmp_path: Path) -> sqlite3.Connection:
    """A store with the tables of this release and of earlier ones, as far as growth is concerned."""
    made = sqlite3.connect(tmp_path / "x.sqlite")
    made.execute("CREATE TABLE log (seq INTEGER PRIMARY KEY, id BLOB, body TEXT)")
    made.execute("CREATE TABLE predictions (seq INTEGER PRIMARY KEY, served_at_us BIGINT, body TEXT)")
    return made


def old_rows(connection: sqlite3.Connection, first: int, hours_ago: list[float]) -> None:
    rows = [(first + n, int(NOW_US - ago * HOUR_US), "x" * 500) for n, ago in enumerate(hours_ago)]
    connection.executemany("INSERT INTO predictions VALUES (?, ?, ?)", rows)


def packed_rows(connection: sqlite3.Connection, first: int, hours_ago: list[float]) -> None:
    rows = [
        (first + n, int(NOW_US - ago * HOUR_US).to_bytes(7, "big") + b"process", "x" * 500)
        for n, ago in enumerate(hours_ago)
    ]
    connection.executemany("INSERT INTO log VALUES (?, ?, ?)", rows)


def size(connection: sqlite3.Connection) -> int:
    pages, page = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return int(pages * page)


def hourly(newest_first: int, count: int) -> list[float]:
    return [newest_first + count - n - 0.5 for n in range(count)]


def test_an_empty_log_and_one_of_minutes_have_no_rate(connection: sqlite3.Connection) -> None:
    assert bytes_per_day(connection, NOW_US) is None
    old_rows(connection, 1, [0.5, 0.1])
    assert bytes_per_day(connection, NOW_US) is None


def test_the_last_day_counts_and_not_the_quiet_weeks_before(connection: sqlite3.Connection) -> None:
    old_rows(connection, 1, [1000.0, 900.0])
    old_rows(connection, 3, hourly(0, 24))
    assert bytes_per_day(connection, NOW_US) == pytest.approx(size(connection) * 24 / 26)


def test_a_log_younger_than_a_day_is_projected(connection: sqlite3.Connection) -> None:
    packed_rows(connection, 1, hourly(0, 6))
    assert bytes_per_day(connection, NOW_US) == pytest.approx(size(connection) * 24 / 5.5)


def test_rows_of_both_tables_count_once_each(connection: sqlite3.Connection) -> None:
    old_rows(connection, 1, hourly(12, 36))
    packed_rows(connection, 37, hourly(0, 12))
    assert bytes_per_day(connection, NOW_US) == pytest.approx(size(connection) / 2)


def test_a_store_of_an_earlier_release_has_a_rate_too(connection: sqlite3.Connection) -> None:
    connection.execute("DROP TABLE log")
    old_rows(connection, 1, hourly(0, 48))
    assert bytes_per_day(connection, NOW_US) == pytest.approx(size(connection) / 2)


def test_room_inside_the_file_is_no_growth(connection: sqlite3.Connection) -> None:
    old_rows(connection, 1, hourly(0, 480))
    before = bytes_per_day(connection, NOW_US)
    connection.execute("DELETE FROM predictions WHERE seq <= 240")
    after = bytes_per_day(connection, NOW_US)
    assert before is not None
    assert after == pytest.approx(before, rel=0.1)
