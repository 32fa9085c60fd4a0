import os
import sqlite3

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app.errors import SettingError, StoreUnavailable
from app.store.access import DURABLE, READING, RECORDING
from app.store.engine import Database


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret@host/db",
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


def test_making_one_touches_nothing(tmp_path):
    Database(f"sqlite:///{tmp_path / 'data' / 'x.sqlite'}")
    assert not (tmp_path / "data").exists()


def test_the_folder_is_made_and_the_schema_there_on_first_use(database, path):
    with database.begin(READING) as connection:
        assert connection.execute(text("SELECT count(*) FROM predictions")).scalar() == 0
    assert path.exists()


@pytest.mark.parametrize(("access", "synchronous"), [(RECORDING, 1), (DURABLE, 2)])
def test_only_durable_writes_pay_for_a_sync_each_and_all_use_the_write_ahead_log(database, access, synchronous):
    with database.begin(access) as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == synchronous
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def _write_and_raise(connection):
    connection.execute(text("INSERT INTO experiments VALUES ('e', 1, 0, NULL, NULL, '{}')"))
    raise ZeroDivisionError


def test_a_block_that_raises_changes_nothing(database):
    with pytest.raises(ZeroDivisionError), database.begin(DURABLE) as connection:
        _write_and_raise(connection)
    with database.begin(READING) as connection:
        assert connection.execute(text("SELECT count(*) FROM experiments")).scalar() == 0


def test_a_writer_does_not_keep_readers_waiting(database, path):
    database.probe()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with database.begin(READING) as connection:
        assert connection.execute(text("SELECT count(*) FROM config")).scalar() == 0
    other.close()


def test_a_locked_store_is_unavailable_until_the_lock_is_gone(database, path):
    database.probe()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        database.probe()
    other.close()
    database.probe()


def test_a_file_that_is_no_database_is_unavailable(database, path):
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreUnavailable, match="not a database"):
        database.probe()


def test_a_lost_folder_is_unavailable_and_is_not_made_again(database, path):
    database.probe()
    path.parent.rename(path.parent.with_name("away"))
    with pytest.raises(StoreUnavailable):
        database.probe()
    assert not path.parent.exists()
    path.parent.with_name("away").rename(path.parent)
    database.probe()


def test_a_replaced_file_is_noticed_and_gets_its_schema(database, path):
    database.probe()
    for file in path.parent.iterdir():
        file.unlink()
    path.touch()
    database.probe()
    assert sqlite3.connect(path).execute("SELECT count(*) FROM predictions").fetchone() == (0,)


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
