"""Rows of an earlier release are taken over as they are, while others read and write."""

import pytest
from msgspec.structs import replace

from app.domain.log_event import Cursor
from app.domain.outcome import Outcome
from app.domain.prediction_id import ServedFact
from app.services.queries.history import Name
from app.store.event_log import EventLog
from app.store.history import OwnKeys, PredictionHistory
from app.store.outcomes import FeedbackLog
from app.store.predictions import PredictionLog
from app.store.rewriting import OldRows
from tests.unit.store.stored_rows import SERVED_AT_US, id_of, log_of, logged

FACT = ServedFact(served_at_us=1, version_ordinal=1, epoch=3, counts=True, randomised=True, user_hash=0, answer=0.0)
# A row that cannot be packed.
SLOW = {"latency_us": 2**40}


@pytest.fixture
def log(database, change):
    """A store that an earlier release began, with 1,203 rows, of which two cannot be packed."""
    change("DELETE FROM log_marks")
    log = PredictionLog(database)
    log.append([logged(number, own_key=f"order-{number}") for number in range(600)])
    log.append([logged(600, **SLOW), logged(601, features='["blue",5.0]'), logged(602, **SLOW)])
    log.append([logged(number) for number in range(603, 1203)])
    return log


@pytest.fixture
def old(database):
    return OldRows(database)


def taken_over(old):
    """How many rows each step looked at."""
    steps = []
    while rows := old.step():
        steps.append(rows)
    return steps


def test_nothing_is_taken_over_before_it_is_asked_for(log, old):
    assert (old.step(), old.is_finished(), old.count()) == (0, False, 1203)


def test_every_row_is_the_same_afterwards(log, old, database, rows):
    before = log_of(database)
    old.finish()
    assert taken_over(old) == [500, 500, 203]
    assert log_of(database) == before
    assert rows("SELECT count(*) FROM log") == [(1201,)]
    assert old.count() == 2
    assert old.step() == 0


def test_others_write_after_every_hundred_rows(log, database):
    written = []

    def pause(_seconds):
        written.append(2000 + len(written))
        log.append([logged(written[-1])])

    old = OldRows(database, pause)
    old.finish()
    assert old.step() == 500
    assert written == [2000, 2001, 2002, 2003, 2004]


def test_readers_see_the_same_log_in_the_middle_of_it(log, old, database):
    history, keys, events = PredictionHistory(database), OwnKeys(database, lambda: SERVED_AT_US), EventLog(database)
    FeedbackLog(database, lambda: 1).commit([[Outcome(id_of(number), "actual", 0, FACT)] for number in (3, 600, 1100)])

    def seen():
        names = [Name("prediction_id", id_of(3)[:36]), Name("own_key", "order-599"), Name("request_id", "request-7")]
        return (
            [row.prediction_id for row in history.page(700)],
            [row.prediction_id for row in history.page(20, "v1", history.place(id_of(605)))],
            [history.first(name) for name in names],
            keys.bound(["order-1", "order-599"]),
            events.page(Cursor(490), 700),
        )

    before = seen()
    old.finish()
    old.step()
    assert seen() == before
    taken_over(old)
    assert seen() == before


def test_rows_that_are_sent_again_are_known_in_either_table(log, old, database):
    old.finish()
    old.step()
    before = log_of(database)
    log.append([logged(1), logged(600, **SLOW), logged(1100)])
    assert log_of(database) == before


def test_numbers_go_on_behind_both_tables(log, old, database):
    old.finish()
    log.append([logged(2000), logged(2001, **SLOW), logged(2002)])
    assert [row.seq for row in log_of(database)[-3:]] == [1204, 1205, 1206]
    taken_over(old)
    log.append([logged(2003)])
    assert log_of(database)[-1].seq == 1207


def test_a_row_that_was_logged_in_both_forms_stays_one(log, old, database, change):
    # Two releases beside each other: the older one writes again what the newer one has packed.
    old.finish()
    log.append([logged(5000)])
    change("DELETE FROM log_marks")
    log.append([replace(logged(5000), version="v2")])
    old.finish()
    taken_over(old)
    assert [row.version for row in PredictionHistory(database).of_ids([id_of(5000)]).values()] == ["v1"]
