"""Reports in the store, and the figures that the api reads of them."""

import msgspec
import pytest

from app.domain.log_event import Cursor
from app.domain.monitor_state import PROJECTIONS, Changes, LogTotals, MonitorSnapshot, PlacedPoint
from app.domain.report import (
    CheckReport,
    ComparisonReport,
    ExperimentReport,
    MonitorLag,
    Recommendation,
    TimelinePoint,
    VariantReport,
)
from app.store.configurations import ConfigurationLog
from app.store.event_log import EventLog
from app.store.predictions import PredictionLog
from app.store.projections import ProjectionStore
from app.store.reports import MonitorReads, ReportTable, thinned
from tests import builders
from tests.unit.store.stored_rows import logged


@pytest.fixture
def store(database):
    return ProjectionStore(database, lambda: 5_000_000)


@pytest.fixture
def reports(database):
    return ReportTable(database, lambda: 5_000_000)


@pytest.fixture
def reads(database):
    return MonitorReads(database, lambda: 8_000_000)


def begin(database, name, weights=None):
    wanted = builders.configuration(
        weights or {"v1": 0.5, "v2": 0.5}, epoch=0, experiment_id=name, created_at_us=1_000_000
    )
    ConfigurationLog(database).settle(lambda _latest: wanted)


def test_a_report_is_stale_until_it_is_of_the_state_that_is_there(store, reports):
    store.commit("experiment", Cursor(), Cursor(3, 2), Changes(states={"one": "{}"}))
    assert reports.stale_reports() == {"one": Cursor(3, 2)}
    reports.put_report("one", Cursor(3, 2), "{}")
    assert reports.stale_reports() == {}


def report(name="one"):
    return ExperimentReport(
        id=name,
        started="",
        metric="accuracy",
        alpha=0.05,
        baseline="v1",
        variants=(VariantReport(version="v1", weight=0.5, mean=0.9), VariantReport(version="v2", weight=0.5)),
        comparisons=(
            ComparisonReport(challenger="v2", method="paired", log_e=800.0, difference=0.1, interval=(0.0, 0.2)),
        ),
        checks=(CheckReport(name="sample_ratio", ok=True), CheckReport(name="label_rate", ok=False)),
        guardrails=(CheckReport(name="errors", ok=False, version="v2"),),
        recommendation=Recommendation("continue", None, "because"),
    )


def keep(reports, name="one"):
    reports.put_report(name, Cursor(), msgspec.json.encode(report(name)).decode())


def test_without_a_monitor_there_is_nothing_to_read(reads):
    assert (reads.report(), reads.timeline(), reads.age_s()) == (None, [], None)
    assert reads.snapshot() == MonitorSnapshot()


def test_a_report_has_the_present_weights_and_state(database, reports, reads):
    begin(database, "one")
    begin(database, "one", {"v1": 0.9, "v2": 0.1})
    keep(reports)
    assert reads.report().age_s is None
    reports.heartbeat()
    stored = reads.report()
    assert ([each.weight for each in stored.report.variants], stored.age_s) == ([0.9, 0.1], 3.0)
    assert (stored.report.state, stored.report.started) == ("running", "1970-01-01T00:00:01.000000Z")


def test_an_ended_experiment_stays_readable(database, reports, reads):
    begin(database, "one")
    keep(reports)
    begin(database, "two")
    assert reads.report() is None
    assert (reads.report("one").report.state, reads.report("none")) == ("ended", None)
    assert [each.id for each in EventLog(database).experiments()] == ["two", "one"]


def test_a_snapshot_has_the_latest_report_and_the_outcomes_of_known_versions(database, store, reports, reads):
    begin(database, "one")
    keep(reports)
    totals = LogTotals(names={1: "v1"}, feedback={1: 5, 9: 1})
    store.commit("experiment", Cursor(), Cursor(1, 1), Changes(cursor_body=msgspec.json.encode(totals).decode()))
    snapshot = reads.snapshot()
    assert (snapshot.feedback, snapshot.age_s) == ({"v1": 5}, None)
    assert snapshot.report == reads.report().report


def test_a_timeline_is_thinned_for_each_challenger(database, store, reads):
    begin(database, "one")
    points = tuple(
        PlacedPoint("one", n, TimelinePoint(challenger=c, n=n, at="", difference=None, interval=None, log_e=0.0))
        for c in ("v2", "v3")
        for n in range(1, 51)
    )
    store.commit("experiment", Cursor(), Cursor(1, 1), Changes(points=points))
    assert [(point.challenger, point.n) for point in reads.timeline(points=2)] == [
        ("v2", 1),
        ("v2", 50),
        ("v3", 1),
        ("v3", 50),
    ]
    assert len(reads.timeline("one")) == 100


@pytest.mark.parametrize(
    ("points", "expected"), [(0, []), (1, [9]), (2, [0, 9]), (4, [0, 3, 6, 9]), (20, [*range(10)])]
)
def test_thinning_keeps_the_ends(points, expected):
    assert thinned(list(range(10)), points) == expected


def test_the_lag_is_that_of_the_projection_furthest_behind(database, store, reads):
    row = msgspec.structs.replace(logged(1), prediction_id="ours", served_at_us=6_000_000)
    PredictionLog(database).append([row])
    assert reads.lag() == MonitorLag(1, 2.0)
    for name in PROJECTIONS:
        assert reads.lag().rows == 1
        store.commit(name, Cursor(), Cursor(1, 0), Changes())
    assert (reads.lag(), reads.snapshot().lag) == (MonitorLag(0, 0.0), MonitorLag(0, 0.0))
