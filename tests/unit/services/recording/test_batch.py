from __future__ import annotations

import logging
from array import array

import numpy as np

from app.domain.prediction import Failure
from app.errors import StoreUnavailable
from app.services.recording.batch import BatchProcessor, FailureReports, RecordQueue, count_served
from tests.unit.services.recording.recorders import Constant, CountingMetrics, MemoryLog, exposure, models_of, reported

TWO_ROWS = [(1.0, 2.0), (3.0, 4.0)]


def test_the_limit_is_in_rows_not_in_requests():
    record_queue = RecordQueue(limit_rows=3)
    for _ in range(2):
        record_queue.put(exposure(rows=TWO_ROWS))
    assert record_queue.waiting == 2
    assert record_queue.take_rejected().rows == 2


def test_rejected_records_are_reported_once_and_by_version():
    record_queue = RecordQueue(limit_rows=0)
    for version in ("v1", "v2", "v1"):
        record_queue.put(exposure(version))
    assert dict(record_queue.take_rejected().requests) == {("v1", "bakeoff"): 2, ("v2", "bakeoff"): 1}
    assert record_queue.take_rejected() is None


def test_an_exposure_that_found_the_queue_full_is_a_row_and_no_request():
    record_queue = RecordQueue(limit_rows=0)
    record_queue.put(reported())
    rejected = record_queue.take_rejected()
    assert (rejected.rows, dict(rejected.requests)) == (1, {})


def test_the_oldest_is_taken_first_and_makes_room():
    record_queue = RecordQueue(limit_rows=2)
    first, second = exposure(), exposure()
    record_queue.put(first)
    record_queue.put(second)
    assert record_queue.take(1) == [first]
    record_queue.put(exposure())
    assert record_queue.take_rejected() is None


def test_the_number_of_rows_accepted_goes_on_where_it_is_kept():
    record_queue, numbers = RecordQueue(limit_rows=3), array("Q", (0, 0))
    record_queue.put(exposure())
    record_queue.count_into(numbers)
    record_queue.put(exposure(rows=TWO_ROWS))
    record_queue.put(exposure())  # refused
    assert numbers[0] == 3


def test_a_batch_is_one_request_of_the_version_that_answered():
    metrics = CountingMetrics()
    count_served([exposure("v1", rows=[(1.0, 2.0)] * 5), exposure("v2"), exposure("v1")], metrics)
    assert metrics.requests == {"v1": 2, "v2": 1}
    assert metrics.latencies == {"v1": 2, "v2": 1}


def test_a_version_that_was_not_asked_is_counted_and_one_that_raised_is_not_counted_again():
    metrics = CountingMetrics()
    failures = (Failure("v2", "circuit_open"), Failure("v3", "ValueError"))
    count_served([exposure("v1", failures=failures)], metrics)
    assert metrics.counts == {("failed", "v2", "circuit_open"): 1}


def test_every_failure_is_counted_and_one_a_second_is_logged(caplog):
    now_s, counted = [0.0], []
    reports = FailureReports("model_failed", counted.append, lambda: now_s[0])
    for at_s in (0.0, 0.1, 0.2, 1.1):
        now_s[0] = at_s
        reports.add("v1", f"at {at_s}")
        reports.report()
    assert counted == ["v1"] * 4
    assert [record.event_fields["failures"] for record in caplog.records] == [1, 3]


def test_what_was_not_logged_at_once_is_logged_when_it_is_due(caplog):
    caplog.set_level(logging.ERROR)
    now_s = [0.0]
    reports = FailureReports("model_failed", lambda version: None, lambda: now_s[0])
    reports.add("v1", "first")
    reports.report()
    reports.add("v1", "second")
    reports.report()
    now_s[0] = 2.0
    reports.report()
    assert [record.event_fields["reason"] for record in caplog.records] == ["first", "second"]


def processed(asked, log, loaded_models):
    """The metrics after a batch was recorded."""
    metrics, queue = CountingMetrics(), RecordQueue(limit_rows=10**6)
    processor = BatchProcessor(queue, log, metrics, lambda: loaded_models, 10**6)
    queue.put(asked)
    processor.tick()
    assert not processor.waiting
    return metrics


def test_a_large_batch_is_recorded_in_parts_and_counted_as_one():
    asked = exposure("v1", rows=[(float(number), 0.0) for number in range(10_000)], keys=tuple(map(str, range(10_000))))
    shadow, log = Constant(1), MemoryLog()
    metrics = processed(asked, log, models_of(v1=Constant(0), v2=shadow))
    assert shadow.calls == [4096, 4096, 1808]
    assert [*log.rows] == [*asked.prediction_ids]
    assert [row.own_key for row in log.rows.values()] == [*asked.keys]
    assert [row.features for row in log.rows.values()][4095:4097] == ["[4095.0,0.0]", "[4096.0,0.0]"]
    assert (metrics.requests, metrics.latencies) == ({"v1": 1}, {"v1": 1})


def test_a_metric_that_cannot_be_counted_keeps_no_part_of_a_large_batch_from_the_log():
    class Failing(CountingMetrics):
        def store_failed(self):
            raise OSError("no space left")

    queue, log = RecordQueue(limit_rows=10**6), MemoryLog()
    processor = BatchProcessor(queue, log, Failing(), lambda: models_of(v1=Constant(0)), 10**6)
    log.error = StoreUnavailable("full")
    queue.put(exposure("v1", rows=np.zeros((10_000, 2))))
    processor.tick()
    assert processor.waiting == 10_000


def test_a_shadow_fails_once_on_a_large_batch_and_the_calls_to_find_its_rows_stay_limited():
    calls = []

    class Fails:
        def predict(self, rows):
            calls.append(len(rows))
            raise RuntimeError("no luck")

    log = MemoryLog()
    metrics = processed(exposure("v1", rows=np.zeros((20_000, 2))), log, models_of(v1=Constant(0), v2=Fails()))
    assert metrics.counts["shadow_failed", "v2"] == 1
    assert {row.failed for row in log.rows.values()} == {'["v2"]'}
    assert 4000 < len(calls) <= 4096 + 5 * 20
