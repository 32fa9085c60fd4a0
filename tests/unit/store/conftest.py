from contextlib import contextmanager

import pytest
from sqlalchemy import text

from app.store.engine import Database
from app.store.kinds import DURABLE, READING


@pytest.fixture
def database(store_url):
    database = Database(store_url)
    yield database
    database.close()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def empty_store(request, tmp_path_factory):
    """A store of each kind with this release's schema, shared by all tests that only ask it to plan statements."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path_factory.mktemp('empty')}/bakeoff.sqlite")
    else:
        database = Database(request.getfixturevalue("postgres_server").fresh())
    yield database
    database.close()


@pytest.fixture
def path(tmp_path):
    """The file, where the store is SQLite's."""
    return tmp_path / "data" / "bakeoff.sqlite"


@pytest.fixture
def rows(database):
    """What a query finds, as tuples."""

    def found(query, **values):
        with database.begin(READING) as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    return found


@pytest.fixture
def change(database):
    """Carries out statements behind the back of the code."""

    def changed(*statements):
        with database.begin(DURABLE) as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    return changed


@pytest.fixture(params=["packed", "old"])
def form(request, change):
    """How the store keeps rows: as a new one, or as one that an earlier release began."""
    if request.param == "old":
        change("DELETE FROM log_marks WHERE name = 'packed'")
    return request.param


@pytest.fixture
def writing(database, store_url):
    """Within the block another process is in the middle of a write."""

    @contextmanager
    def other_writer():
        database.probe()
        other = Database(store_url)
        with other.begin(DURABLE):
            yield
        other.close()

    return other_writer
