import pytest

from app.store.engine import Database
from tests.unit.monitor.small_log import SmallLog


@pytest.fixture
def small_log(store_url):
    database = Database(store_url)
    yield SmallLog(database)
    database.close()
