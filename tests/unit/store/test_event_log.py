"""The log as the monitor reads it."""

import pytest

from app.domain.log_event import Cursor, FeedbackReceived, OutcomeJoined, PredictionLogged, in_order
from app.domain.outcome import Outcome
from app.domain.prediction_id import ServedFact
from app.store.event_log import EventLog
from app.store.outcomes import FeedbackLog
from app.store.predictions import PredictionLog
from tests.unit.store.stored_rows import logged

FACT = ServedFact(served_at_us=1, version_ordinal=2, epoch=3, counts=True, randomised=True, user_hash=0, answer=1.0)


@pytest.fixture
def events(database):
    return EventLog(database)


def log(database, *numbers):
    PredictionLog(database).append([logged(number) for number in numbers])


def report(database, *numbers, kind="actual"):
    submissions = [[Outcome(f"{number:064d}", kind, 0, FACT)] for number in numbers]
    FeedbackLog(database, lambda: 1).commit(submissions)


def letters(page):
    """The events as text: p(redicted), f(eedback) or j(oined), and the number in the id."""
    kinds = {PredictionLogged: "p", FeedbackReceived: "f", OutcomeJoined: "j"}
    named = [(event, event.row if isinstance(event, PredictionLogged) else event.outcome) for event in in_order(page)]
    return [f"{kinds[type(event)]}{int(row.prediction_id)}" for event, row in named]


def all_letters(events, limit):
    cursor, found = Cursor(), []
    while len(page := events.page(cursor, limit)):
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


def test_a_page_ends_at_the_given_cursor(database, events):
    log(database, 1, 2)
    report(database, 1, 2)
    assert letters(events.page(Cursor(), 10, Cursor(1, 0))) == ["p1"]


def test_a_row_is_read_as_it_was_logged(database, events):
    PredictionLog(database).append([logged(1, own_key="order-4711", failed='["v2"]'), logged(2)])
    read = [(row.own_key, row.failed, row.latency_us) for row in events.page(Cursor(), 10).predictions]
    assert read == [("order-4711", '["v2"]', 120), (None, None, 120)]
