import pytest

from app.store.engine import Database
from tests.unit.monitor.small_log import SmallLog


@pytest.fixture
def small_log(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'log.sqlite'}")
    yield SmallLog(database)
    database.close()
