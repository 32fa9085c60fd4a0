"""The log as the monitor reads it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.columns import LoggedColumn, LoggedLayout
from app.domain.log_event import EVERY, Cursor, FeedbackReceived, OutcomeJoined, PredictionLogged, TimePassed
from app.domain.log_order import in_order
from app.domain.outcome import Outcome
from app.domain.prediction_id import ServedFact
from app.store import event_rows
from app.store.event_log import EventLog, HeartbeatLog
from app.store.kinds import RECORDING
from app.store.outcomes import FeedbackLog
from app.store.predictions import PredictionLog
from tests.unit.store.stored_rows import id_of, logged, number_of

pytestmark = pytest.mark.usefixtures("form")
FACT = ServedFact(served_at_us=1, version_ordinal=2, epoch=3, counts=True, randomised=True, user_hash=0, answer=1.0)


@pytest.fixture
def events(database):
    return EventLog(database)


def log(database, *numbers):
    PredictionLog(database).append([logged(number) for number in numbers])


def report(database, *numbers, kind="actual"):
    submissions = [[Outcome(id_of(number), kind, 0, FACT)] for number in numbers]
    FeedbackLog(database, lambda: 1).commit(submissions)


def beat(database, at_us=1):
    HeartbeatLog(database, lambda: at_us).append()


def letters(page):
    """The events as text: p(redicted), f(eedback) or j(oined) and the number in the id, or h(eartbeat) and its time."""
    return [letter(event) for event in in_order(page)]


def letter(event):
    if isinstance(event, TimePassed):
        return f"h{event.at_us}"
    kinds = {PredictionLogged: "p", FeedbackReceived: "f", OutcomeJoined: "j"}
    row = event.row if isinstance(event, PredictionLogged) else event.outcome
    return f"{kinds[type(event)]}{number_of(row.prediction_id)}"


def all_letters(events, limit, until=None):
    cursor, found = Cursor(), []
    while len(page := events.page(cursor, limit, until)):
        found += letters(page)
        cursor = page.cursor
    return found


def test_events_come_in_the_order_of_their_commits_however_they_are_read(database, events):
    report(database, 2)
    log(database, 1, 2)
    report(database, 1)
    log(database, 3)
    report(database, 9)
    expected = ["f2", "p1", "p2", "j2", "f1", "j1", "p3", "f9"]
    assert [all_letters(events, limit) for limit in (1, 2, 3, 100)] == [expected] * 4


def test_two_outcomes_of_one_prediction_are_joined_each_at_its_place(database, events):
    report(database, 1)
    log(database, 1)
    report(database, 1, kind="reward")
    assert all_letters(events, 1) == ["f1", "p1", "j1", "f1", "j1"]


def test_a_row_has_its_layout_and_the_versions_that_took_no_part(database, events):
    layout = LoggedLayout(7, (LoggedColumn("a"), LoggedColumn("b")))
    PredictionLog(database).append([logged(1), logged(2, layout=layout, lacking='["v2"]')])
    plain, other = events.page(Cursor(), 10).predictions
    assert [(row.layout, row.lacking) for row in (plain, other)] == [(None, None), (7, '["v2"]')]
    assert events.layouts([7]) == {7: layout}


@pytest.mark.parametrize(("of_requests", "of_labels"), [(1, 1), (9, 1), (1, 9), (40, 3), (3, 40)])
def test_under_a_flood_of_one_kind_the_other_advances_in_the_order_of_all(database, events, of_requests, of_labels):
    limit, number = 10, 0
    for _ in range(60 // (of_requests + of_labels) + 1):
        log(database, *range(number + 1, number + of_requests + 1))
        report(database, *range(number + 1, number + of_labels + 1))
        number += max(of_requests, of_labels)
    order = [each for each in all_letters(events, 1000) if each[0] != "j"]
    cursor, done = Cursor(), 0
    while len(page := events.page(cursor, limit)):
        read = [each for each in letters(page) if each[0] != "j"]
        # However many rows of one kind wait, the next ones of the order are read, whatever their kind.
        assert read == order[done : done + len(read)]
        assert len(read) >= min(limit, len(order) - done)
        cursor, done = page.cursor, done + len(read)
    assert done == len(order)


def test_a_page_ends_at_the_given_cursor(database, events):
    log(database, 1, 2)
    report(database, 1, 2)
    assert letters(events.page(Cursor(), 10, Cursor(1, 0))) == ["p1"]


def test_a_row_is_read_as_it_was_logged(database, events):
    PredictionLog(database).append([logged(1, own_key="order-4711", failed='["v2"]'), logged(2)])
    read = [(row.own_key, row.failed, row.latency_us) for row in events.page(Cursor(), 10).predictions]
    assert read == [("order-4711", '["v2"]', 120), (None, None, 120)]


def test_heartbeats_stand_where_they_were_committed(database, events):
    beat(database, 10)
    log(database, 1)
    beat(database, 20)
    report(database, 1)
    beat(database, 30)
    beat(database, 40)
    report(database, 2)
    expected = ["h10", "p1", "h20", "f1", "j1", "h30", "h40", "f2"]
    assert [all_letters(events, limit) for limit in (1, 2, 3, 100)] == [expected] * 4


WRITES = st.lists(st.tuples(st.sampled_from("pfh"), st.integers(1, 9)), max_size=25)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(writes=WRITES, limit=st.integers(1, 5), dense=st.booleans(), most=st.integers(0, 3))
def test_the_order_is_that_of_the_commits_wherever_the_pages_end(
    database, events, monkeypatch, writes, limit, dense, most
):
    # Outcomes of earlier pages are found by a walk through all between two ids, if these are not many, or by each id.
    monkeypatch.setattr(event_rows, "_DENSE_US", 20_000 if dense else -1)
    monkeypatch.setattr(event_rows, "_OUTCOMES_PER_ROW", most)
    with database.begin(RECORDING) as connection:
        for table in ("predictions", "log", "feedback", "heartbeats"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    expected, known = [], {"p": set(), "f": set()}
    for time, (kind, number) in enumerate(writes):
        if kind == "h":
            beat(database, time)
            expected.append(f"h{time}")
        elif number not in known[kind]:  # a repeated one changes nothing
            log(database, number) if kind == "p" else report(database, number)
            known[kind].add(number)
            joined = [f"j{number}"] if number in known["p" if kind == "f" else "f"] else []
            expected += [f"{kind}{number}", *joined]
    assert all_letters(events, limit) == expected
    assert all_letters(events, 1000) == expected


def test_a_page_ends_at_the_heartbeats_of_the_given_cursor(database, events):
    log(database, 1)
    beat(database, 10)
    beat(database, 20)
    log(database, 2)
    beat(database, 30)
    assert all_letters(events, 1, Cursor(1, 0, 1)) == ["p1", "h10"]
    assert all_letters(events, 1, Cursor(1, 0, EVERY)) == ["p1", "h10", "h20"]


def test_the_newest_event_is_of_any_kind(database):
    beats = HeartbeatLog(database, lambda: 7)
    assert beats.newest_event_us() == 0
    report(database, 1)
    assert beats.newest_event_us() == 1
    beats.append()
    assert beats.newest_event_us() == 7
    log(database, 3)
    assert beats.newest_event_us() == 1_700_000_000_000_003
