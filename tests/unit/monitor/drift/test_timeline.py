"""The timeline of drift: evenly spaced, bounded, and the same after a replay."""

import msgspec
import pytest

from app.monitor.drift.timeline import MOST_POINTS, continued, marks, spacing_at, timeline_of
from app.services.queries.drift_records import DriftTimelinePoint, DriftTimelineState
from app.store.engine import Database
from tests.unit.monitor.watched_log import WatchedLog, known, reference


@pytest.fixture
def log(store_url):
    database = Database(store_url)
    log = WatchedLog(database)
    log.begin()
    yield log
    database.close()


def points_after(batches):
    """The timeline to which each batch added its points."""
    timeline, requests = DriftTimelineState("1"), 0
    for batch in batches:
        points = [DriftTimelinePoint(mark, mark, 0.0, 0.0, False) for mark in marks(requests, batch)]
        requests += batch
        timeline = continued(timeline, points, requests)
    return [point.requests for point in timeline.points]


@pytest.mark.parametrize("batches", [[1] * 700, [13] * 1500, [2000] * 60, [7, 9_993, 1, 19_999, 3], [10**9]])
def test_the_points_follow_from_the_number_of_requests_alone(batches):
    requests = sum(batches)
    expected = list(range(spacing_at(requests), requests + 1, spacing_at(requests)))
    assert points_after(batches) == expected
    assert len(expected) <= MOST_POINTS


@pytest.mark.parametrize(("requests", "spacing"), [(0, 20), (4_000, 20), (4_001, 40), (10**6, 5120)])
def test_the_distance_doubles_when_there_would_be_too_many(requests, spacing):
    assert spacing_at(requests) == spacing


def test_a_point_shows_what_the_report_said_then(log):
    for seed in range(4):
        log.requests(20, shift=seed, seed=seed, wrong=0.1)
    log.watch()
    timeline = log.table.timeline("v1", 500)
    log.forget()
    for point in timeline:
        log.watch_until(point.requests, point.requests - 1)  # its own label comes after it
        report = log.report()
        assert (report.requests, report.score, report.evidence, report.alarm) == (
            point.requests,
            point.score,
            point.evidence,
            point.alarm,
        )
    assert [point.requests for point in timeline] == [20, 40, 60, 80]
    assert timeline[-1].alarm


def test_a_timeline_that_is_read_keeps_its_first_and_last_point(log):
    log.requests(200)
    log.watch()
    assert [point.requests for point in log.table.timeline("v1", 3)] == [20, 100, 200]
    assert log.table.timeline("v9", 3) == []


def test_the_timeline_of_another_reference_is_started_again(log):
    log.requests(60)
    log.watch()
    log.requests(20, seed=9)
    log.watch(known("v1", reference(seed=2), sha256="2"))
    assert [point.requests for point in log.table.timeline("v1", 500)] == [20]


@pytest.mark.parametrize("body", ["{", "{}", '{"reference_sha256": "1", "points": [[1]]}'])
def test_what_another_release_wrote_is_passed_over(body):
    assert timeline_of(body, "1", 100) == DriftTimelineState("1")


def test_points_beyond_a_state_that_was_begun_anew_are_no_part_of_it():
    body = msgspec.json.encode(
        DriftTimelineState("1", (DriftTimelinePoint(20, 1, 0.0, 0.0, False), DriftTimelinePoint(40, 2, 0.0, 0.0, True)))
    )
    assert [point.requests for point in timeline_of(body.decode(), "1", 20).points] == [20]
