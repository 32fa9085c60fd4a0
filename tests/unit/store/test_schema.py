import sqlite3
import subprocess
import sys

import pytest
from sqlalchemy import create_engine, event, inspect
from sqlalchemy.exc import OperationalError

from app.store.engine import Database
from app.store.kinds import READING
from app.store.schema import known, migrate, pending
from app.store.statements import cut

TABLES = {
    "predictions",
    "feedback",
    "config",
    "experiments",
    "decisions",
    "monitor_state",
    "timeline",
    "schema_version",
}


@pytest.fixture
def engine(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'm.sqlite'}")

    @event.listens_for(engine, "connect")
    def manual(connection, record):
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection):
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    yield engine
    engine.dispose()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "0001_one.sql").write_text("CREATE TABLE one (a $serial);\n")
    return tmp_path / "migrations"


def tables(path):
    return {name for (name,) in sqlite3.connect(path).execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_every_table_of_the_log_is_made(database):
    database.probe()
    with database.begin(READING) as connection:
        assert set(inspect(connection).get_table_names()) >= TABLES


def test_a_second_run_applies_nothing(engine, folder):
    assert migrate(engine, folder) == [1]
    assert migrate(engine, folder) == []
    assert not pending(engine, folder)


def test_tables_that_an_earlier_release_left_at_a_restore_stop_no_upgrade(database, change):
    """It moves aside only the tables that it knows, and makes the list of scripts anew."""
    database.probe()
    change("DELETE FROM schema_version WHERE version > 15")
    database.close()
    database.probe()
    with database.begin(READING) as connection:
        assert {"deployment_keys", "reloads", "workers"} <= set(inspect(connection).get_table_names())


def test_a_later_script_is_applied_to_an_older_store(engine, folder):
    migrate(engine, folder)
    (folder / "0002_two.sql").write_text("-- why;\nCREATE TABLE two (b TEXT);\nCREATE INDEX i ON two (b);\n")
    assert pending(engine, folder)
    assert migrate(engine, folder) == [2]


def test_a_store_of_a_later_release_is_left_alone(engine, folder):
    migrate(engine, folder)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO schema_version VALUES (99, 0)")
    assert not pending(engine, folder)
    assert migrate(engine, folder) == []


def test_a_script_that_fails_leaves_the_store_as_it_was(engine, folder, tmp_path):
    (folder / "0002_two.sql").write_text("CREATE TABLE two (b TEXT);\nCREATE TABLE two (b TEXT);\n")
    with pytest.raises(OperationalError):
        migrate(engine, folder)
    assert tables(tmp_path / "m.sqlite") == set()


def test_concurrent_starters_end_with_one_schema(store_url, rows):
    script = "import sys; from app.store.engine import Database; Database(sys.argv[1]).probe()"
    starters = [subprocess.Popen([sys.executable, "-c", script, store_url]) for _ in range(4)]
    assert [starter.wait() for starter in starters] == [0] * 4
    assert rows("SELECT version FROM schema_version ORDER BY version") == [(number,) for number in sorted(known())]


def test_a_script_is_cut_at_semicolons_that_end_a_line():
    assert cut("-- a; b\nCREATE TABLE a (b TEXT DEFAULT ';');\n\nDROP TABLE a;\n") == [
        "CREATE TABLE a (b TEXT DEFAULT ';')",
        "DROP TABLE a",
    ]


def test_an_existing_store_opens_while_another_process_writes(store_url, writing):
    fresh = Database(store_url)
    with writing(), fresh.begin(READING):
        pass
    fresh.close()
