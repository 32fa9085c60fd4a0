"""The monitor's side of the store, and what the api reads of it."""

import msgspec
import pytest

from app.domain.derived import Changes, PlacedPoint, UserFact
from app.domain.log_event import Cursor, FeedbackReceived, OutcomeJoined, PredictionLogged, in_order
from app.domain.monitor_state import LogTotals, MonitorSnapshot
from app.domain.outcome import Outcome
from app.domain.prediction_id import ServedFact
from app.domain.report import (
    CheckReport,
    ComparisonReport,
    ExperimentReport,
    Recommendation,
    TimelinePoint,
    VariantReport,
)
from app.store.configurations import ConfigurationLog
from app.store.outcomes import FeedbackLog
from app.store.predictions import PredictionLog
from app.store.projections import MonitorStore
from app.store.reports import MonitorReads, thinned
from tests import builders
from tests.unit.store.stored_rows import logged

FACT = ServedFact(served_at_us=1, version_ordinal=2, epoch=3, counts=True, randomised=True, user_hash=0, answer=1.0)


@pytest.fixture
def store(database):
    return MonitorStore(database, lambda: 5_000_000)


@pytest.fixture
def reads(database):
    return MonitorReads(database, lambda: 8_000_000)


def log(database, *numbers):
    PredictionLog(database).append([logged(number) for number in numbers])


def tell(database, *numbers, kind="actual"):
    told = [[Outcome(f"{number:064d}", kind, 0, FACT)] for number in numbers]
    FeedbackLog(database, lambda: 1).commit(told)


def begin(database, name, weights=None):
    wanted = builders.configuration(
        weights or {"v1": 0.5, "v2": 0.5}, epoch=0, experiment_id=name, created_at_us=1_000_000
    )
    ConfigurationLog(database).settle(lambda _latest: wanted)


def words(page):
    """The events as text: s(erved), t(old) or j(oined), and the number in the id."""
    letters = {PredictionLogged: "s", FeedbackReceived: "t", OutcomeJoined: "j"}
    named = [(event, event.row if isinstance(event, PredictionLogged) else event.outcome) for event in in_order(page)]
    return [f"{letters[type(event)]}{int(row.prediction_id)}" for event, row in named]


def all_words(store, limit):
    cursor, found = Cursor(), []
    while len(page := store.page(cursor, limit)):
        found += words(page)
        cursor = page.cursor
    return found


def test_events_come_in_the_order_of_their_commits_however_they_are_read(database, store):
    tell(database, 2)
    log(database, 1, 2)
    tell(database, 1)
    log(database, 3)
    tell(database, 9)
    expected = ["t2", "s1", "s2", "j2", "t1", "j1", "s3", "t9"]
    assert [all_words(store, limit) for limit in (1, 2, 3, 100)] == [expected] * 4


def test_two_outcomes_of_one_prediction_are_joined_each_at_its_place(database, store):
    tell(database, 1)
    log(database, 1)
    tell(database, 1, kind="reward")
    assert all_words(store, 1) == ["t1", "s1", "j1", "t1", "j1"]


def test_a_page_ends_where_it_is_told_to(database, store):
    log(database, 1, 2)
    tell(database, 1, 2)
    assert words(store.page(Cursor(), 10, Cursor(1, 0))) == ["s1"]


def test_state_and_cursor_advance_together_and_only_from_where_they_were(store):
    users = {"one": (UserFact(user_hash=7, epoch=1, version="v1", exposed=True),)}
    point = TimelinePoint(challenger="v2", n=1, at="", difference=None, interval=None, log_e=0.0)
    changes = Changes(cursor_body="{}", states={"one": "[1]"}, users=users, points=(PlacedPoint("one", 1, point),))
    assert store.commit("experiment", Cursor(), Cursor(3, 2), changes)
    assert not store.commit("experiment", Cursor(), Cursor(4, 2), Changes(states={"one": "[2]"}))
    assert store.cursor("experiment") == Cursor(3, 2)
    assert store.states(["experiment/one", "experiment/two"]) == {"experiment/one": "[1]"}
    assert store.users("one", [7, 8]) == {7: users["one"][0]}


def test_a_space_is_kept_apart_until_it_takes_the_place(database, store):
    fresh = MonitorStore(database, lambda: 1, "rebuild/")
    fact = UserFact(user_hash=7, epoch=1, version="v1")
    store.commit("experiment", Cursor(), Cursor(3, 2), Changes(states={"one": "old", "gone": "old"}))
    fresh.commit("experiment", Cursor(), Cursor(3, 2), Changes(states={"one": "new"}, users={"one": (fact,)}))
    assert store.states(["experiment/one"]) == {"experiment/one": "old"}
    assert not fresh.take_the_place(["experiment"], {"experiment": Cursor(2, 2)})
    assert fresh.take_the_place(["experiment"], {"experiment": Cursor(3, 2)})
    assert store.states(["experiment/one", "experiment/gone"]) == {"experiment/one": "new"}
    assert store.users("one", [7]) == {7: fact}
    assert fresh.cursor("experiment") == Cursor()


def test_a_report_is_stale_until_it_is_of_the_state_that_is_there(store):
    store.commit("experiment", Cursor(), Cursor(3, 2), Changes(states={"one": "{}"}))
    assert store.stale_reports() == {"one": Cursor(3, 2)}
    store.put_report("one", Cursor(3, 2), "{}")
    assert store.stale_reports() == {}


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


def keep(store, name="one"):
    store.put_report(name, Cursor(), msgspec.json.encode(report(name)).decode())


def test_without_a_monitor_there_is_nothing_to_read(reads):
    assert (reads.report(), reads.timeline(), reads.age_s()) == (None, [], None)
    assert reads.snapshot() == MonitorSnapshot()


def test_a_report_has_the_present_weights_and_state(database, store, reads):
    begin(database, "one")
    begin(database, "one", {"v1": 0.9, "v2": 0.1})
    keep(store)
    assert reads.report().age_s is None
    store.heartbeat(Cursor())
    stored = reads.report()
    assert ([each.weight for each in stored.report.variants], stored.age_s) == ([0.9, 0.1], 3.0)
    assert (stored.report.state, stored.report.started) == ("running", "1970-01-01T00:00:01.000000Z")


def test_an_ended_experiment_stays_readable(database, store, reads):
    begin(database, "one")
    keep(store)
    begin(database, "two")
    assert reads.report() is None
    assert (reads.report("one").report.state, reads.report("none")) == ("ended", None)
    assert [each.id for each in reads.experiments()] == ["two", "one"]


def test_a_snapshot_has_the_latest_report_and_the_outcomes_of_known_versions(database, store, reads):
    begin(database, "one")
    keep(store)
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
