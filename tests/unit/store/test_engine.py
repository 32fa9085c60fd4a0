import errno
import os
import sqlite3
from contextlib import suppress

import pytest
import sqlalchemy.exc
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app.errors import SettingError, StoreUnavailable
from app.store import engine
from app.store.engine import Database
from app.store.kinds import DURABLE, READING, RECORDING
from app.store.predictions import PredictionLog
from tests.unit.store.stored_rows import SQLITE_ONLY, logged

INSERT = "INSERT INTO experiments VALUES (?1, unicode(?1), 0, NULL, NULL, '{}')"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg2://u:secret@host/db",
        "postgresql+asyncpg://u:secret@host/db",
        "postgresql://u:secret@host",
        "postgresql://u:secret@host/db?colour=blue",
        "postgresql://u:half@secret@host/db",
        "postgresql://u:secret@host/db?host=a&host=b",
        "mysql://host/db",
        "sqlite+aiosqlite:///x",
        "sqlite://",
        "sqlite:///:memory:",
        "x",
    ],
)
def test_an_unsupported_url_is_refused_without_repeating_its_password(url):
    with pytest.raises(SettingError, match="DATABASE_URL") as refusal:
        Database(url)
    assert "secret" not in refusal.value.message


def test_the_schema_is_there_on_first_use(database):
    with database.begin(READING) as connection:
        assert connection.execute(text("SELECT count(*) FROM predictions")).scalar() == 0


def _write_and_raise(connection):
    connection.execute(text("INSERT INTO experiments VALUES ('e', 1, 0, NULL, NULL, '{}')"))
    raise ZeroDivisionError


def test_a_block_that_raises_changes_nothing(database):
    with pytest.raises(ZeroDivisionError), database.begin(DURABLE) as connection:
        _write_and_raise(connection)
    with database.begin(READING) as connection:
        assert connection.execute(text("SELECT count(*) FROM experiments")).scalar() == 0


def test_a_writer_does_not_keep_readers_waiting(database, writing):
    with writing(), database.begin(READING) as connection:
        assert connection.execute(text("SELECT count(*) FROM config")).scalar() == 0


def test_a_reader_sees_one_moment_however_many_questions_it_asks(database):
    count = text("SELECT count(*) FROM log")
    with database.begin(READING) as connection:
        assert connection.execute(count).scalar() == 0
        PredictionLog(database).append([logged(1)])
        assert connection.execute(count).scalar() == 0
    with database.begin(READING) as connection:
        assert connection.execute(count).scalar() == 1


def test_a_locked_store_is_unavailable_until_the_lock_is_gone(database, writing):
    with writing(), pytest.raises(StoreUnavailable, match="lock"):
        database.probe()
    database.probe()


def test_a_child_process_opens_its_own_connections_and_leaves_those_of_its_parent(database):
    database.probe()
    child = os.fork()
    if child == 0:
        try:
            database.probe()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    database.probe()


def test_our_own_mistakes_are_not_hidden_as_an_outage(database):
    with pytest.raises(IntegrityError), database.begin(DURABLE) as connection:
        connection.execute(text("INSERT INTO experiments (id) VALUES ('e')"))


def refused(database, access=RECORDING, error=None):
    with pytest.raises(StoreUnavailable), database.begin(access):
        raise error or OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_wait_for_one_of_its_own_connections_is_no_refusal_of_the_store(database):
    for _ in range(3):
        refused(database, error=sqlalchemy.exc.TimeoutError("QueuePool limit of size 2 overflow 6 reached"))
    database.probe()


def test_the_probe_says_what_the_last_commits_said(database):
    refused(database)
    database.probe()  # one may be another writer's long commit
    refused(database)
    with pytest.raises(StoreUnavailable, match="No space left"):
        database.probe()
    with database.begin(DURABLE):
        pass  # a commit of another kind, which may be small enough
    with pytest.raises(StoreUnavailable, match="No space left"):
        database.probe()
    with database.begin(RECORDING):
        pass
    database.probe()


@SQLITE_ONLY
def test_a_transaction_of_the_driver_is_committed_or_changes_nothing(database, rows):
    for name, error in (("a", None), ("b", ZeroDivisionError), ("c", None)):
        with suppress(ZeroDivisionError), database.driven(RECORDING) as (driver, _):
            driver.execute(INSERT, (name,))
            if error:
                raise error
    assert rows("SELECT id FROM experiments ORDER BY id") == [("a",), ("c",)]


@SQLITE_ONLY
def test_connections_that_others_close_do_not_end_a_transaction_of_the_driver(database, rows):
    with database.driven(RECORDING) as (driver, _):
        driver.execute(INSERT, ("a",))
        database.close()
    assert rows("SELECT id FROM experiments") == [("a",)]


@SQLITE_ONLY
def test_transactions_of_the_driver_tell_what_commits_told(database, writing):
    for _ in range(2):
        with writing(), pytest.raises(StoreUnavailable, match="lock"), database.driven(RECORDING):
            pass
    with pytest.raises(StoreUnavailable, match="lock"):
        database.probe()
    with database.driven(RECORDING):
        pass  # nothing was written, for which there may be room on a full disk
    with pytest.raises(StoreUnavailable, match="lock"):
        database.probe()
    with database.driven(RECORDING) as (driver, _):
        driver.execute(INSERT, ("a",))
    database.probe()


@SQLITE_ONLY
@pytest.mark.parametrize("within", [False, True])
def test_a_closed_store_keeps_no_file_of_the_driver_open(database, within):
    with database.driven(RECORDING) as (driver, _):
        if within:
            database.close()
    database.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        driver.execute("SELECT 1")


@SQLITE_ONLY
def test_a_transaction_that_ended_before_its_commit_is_an_outage(database):
    with pytest.raises(StoreUnavailable, match="no transaction"), database.driven(RECORDING) as (driver, _):
        driver.rollback()


@SQLITE_ONLY
def test_a_child_process_has_a_connection_of_the_driver_of_its_own(database, rows):
    with database.driven(RECORDING) as (driver, _):
        driver.execute(INSERT, ("parent",))
    child = os.fork()
    if child == 0:
        try:
            with database.driven(RECORDING) as (own, _):
                own.execute(INSERT, ("child",))
            os._exit(int(own is driver))
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    with database.driven(RECORDING) as (own, _):
        assert own is driver
    assert len(rows("SELECT id FROM experiments")) == 2


def test_what_commits_said_is_forgotten_where_none_follow(database, monkeypatch):
    refused(database)
    refused(database)
    later = engine.time.monotonic() + 11
    monkeypatch.setattr(engine.time, "monotonic", lambda: later)
    database.probe()
