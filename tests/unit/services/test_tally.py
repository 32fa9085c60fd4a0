import logging

from app.domain.prediction import Failure
from app.services.tally import FailureReports, count_served
from tests.unit.services.recording import CountingMetrics, exposure


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
