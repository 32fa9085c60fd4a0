import pytest

from app.store.engine import Database


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'data' / 'bakeoff.sqlite'}")
    yield database
    database.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "bakeoff.sqlite"
