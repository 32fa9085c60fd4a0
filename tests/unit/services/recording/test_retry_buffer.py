import logging

import pytest

from app.errors import StoreUnavailable
from app.services.recording.log_rows import log_rows
from app.services.recording.retry_buffer import RetryBuffer
from tests.unit.services.recording.recorders import LOADED, CountingMetrics, MemoryLog, exposure


class Scene:
    def __init__(self, limit):
        self.now_s = 100.0
        self.log = MemoryLog()
        self.metrics = CountingMetrics()
        self.retry_buffer = RetryBuffer(self.log, self.metrics, limit, lambda: self.now_s)

    def add(self, count):
        [rows] = log_rows([exposure() for _ in range(count)], LOADED, None)
        self.retry_buffer.add(rows)
        return list(rows)

    def write_after(self, seconds):
        self.now_s += seconds
        self.retry_buffer.write()


@pytest.fixture
def scene():
    return Scene(limit=5000)


def test_rows_are_written_in_order_and_gone(scene):
    rows = scene.add(2500)
    scene.retry_buffer.write()
    assert list(scene.log.rows.values()) == rows
    assert len(scene.retry_buffer) == 0


def test_a_store_that_fails_keeps_the_rows_until_it_works_again(scene):
    scene.log.error = StoreUnavailable("locked")
    rows = scene.add(3)
    scene.retry_buffer.write()
    assert scene.retry_buffer.outage == "locked"
    scene.log.error = None
    scene.write_after(1.0)
    assert list(scene.log.rows.values()) == rows
    assert scene.retry_buffer.outage is None


def test_only_a_second_of_failures_is_an_outage_that_nobody_waits_for(scene):
    scene.log.error = StoreUnavailable("locked")
    scene.add(1)
    scene.write_after(0.0)
    scene.now_s += 0.9
    assert not scene.retry_buffer.stalled
    scene.write_after(0.1)
    assert scene.retry_buffer.stalled
    scene.log.error = None
    scene.write_after(1.0)
    assert not scene.retry_buffer.stalled


def test_retries_wait_ever_longer_but_no_longer_than_a_second(scene):
    scene.log.error = StoreUnavailable("locked")
    scene.add(1)
    for _ in range(1000):
        scene.write_after(0.01)
    assert 10 <= scene.metrics.counts["store_failed"] <= 15
    scene.log.error = None
    scene.write_after(1.0)
    assert len(scene.log.rows) == 1


def test_an_outage_is_logged_once_and_its_end_once(scene, caplog):
    caplog.set_level(logging.WARNING)
    scene.log.error = StoreUnavailable("full")
    scene.add(1)
    for _ in range(5):
        scene.write_after(1.0)
    scene.log.error = None
    scene.write_after(1.0)
    assert [record.message for record in caplog.records] == ["store_outage", "store_recovered"]


def test_a_single_refusal_is_no_outage_worth_a_line(scene, caplog):
    caplog.set_level(logging.WARNING)
    scene.log.error = StoreUnavailable("locked")
    scene.add(1)
    scene.retry_buffer.write()
    scene.log.error = None
    scene.write_after(1.0)
    assert (caplog.records, scene.metrics.counts["store_failed"]) == ([], 1)


def test_beyond_the_limit_the_oldest_go_and_are_counted():
    scene = Scene(limit=2)
    rows = scene.add(5)
    scene.retry_buffer.write()
    assert list(scene.log.rows.values()) == rows[3:]
    assert scene.metrics.counts["dropped"] == 3


def test_a_row_that_no_store_takes_does_not_hold_up_the_others(scene):
    rows = scene.add(4)
    scene.log.rejected = (rows[1].request_id,)
    scene.retry_buffer.write()
    assert list(scene.log.rows.values()) == [rows[0], *rows[2:]]
    assert scene.metrics.counts["dropped"] == 1
    assert len(scene.retry_buffer) == 0


def test_an_unexpected_failure_loses_nothing(scene):
    scene.log.error = KeyError("a mistake of ours")
    scene.add(2)
    scene.retry_buffer.write()
    scene.log.error = None
    scene.write_after(1.0)
    assert len(scene.log.rows) == 2
