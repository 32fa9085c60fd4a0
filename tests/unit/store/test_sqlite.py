"""What only SQLite's file has."""

import sqlite3

import pytest

from app.errors import SettingError, StoreUnavailable
from app.store.engine import Database
from app.store.kinds import DURABLE, RECORDING
from tests.unit.store.stored_rows import SQLITE_ONLY

pytestmark = SQLITE_ONLY


@pytest.fixture(autouse=True)
def _of_a_file(store_url):
    """So that the mark above holds for tests that take no store."""


def test_making_one_touches_nothing(tmp_path):
    Database(f"sqlite:///{tmp_path / 'data' / 'x.sqlite'}")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(("access", "synchronous"), [(RECORDING, 1), (DURABLE, 2)])
def test_only_durable_writes_pay_for_a_sync_each_and_all_use_the_write_ahead_log(database, access, synchronous):
    with database.begin(access) as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == synchronous
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


@pytest.mark.parametrize(("query", "pages"), [("", 1000), ("?checkpoint_pages=65536", 65536)])
def test_checkpoints_can_be_left_to_another_program(tmp_path, query, pages):
    database = Database(f"sqlite:///{tmp_path / 'x.sqlite'}{query}")
    assert database.kind.file == tmp_path / "x.sqlite"
    with database.begin(RECORDING) as connection:
        assert connection.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar() == pages
    database.close()


def test_a_number_of_pages_that_is_none_is_refused():
    with pytest.raises(SettingError, match="checkpoint_pages must be a whole number"):
        Database("sqlite:////tmp/x.sqlite?checkpoint_pages=many")


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
