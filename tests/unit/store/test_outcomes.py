import random
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.outcome import Outcome
from app.domain.prediction_id import ServedFact
from app.errors import Contradiction, StoreUnavailable
from app.services.recording.feedback import Receipt
from app.store.outcomes import FeedbackLog
from tests.unit.store.stored_rows import SQLITE_ONLY

FACT = ServedFact(served_at_us=1, version_ordinal=2, epoch=3, counts=True, randomised=True, user_hash=0, answer=1.0)


def outcome(prediction_id, value, kind="actual", item=0):
    return Outcome(prediction_id, kind, value, FACT, item)


@pytest.fixture
def log(database):
    return FeedbackLog(database, lambda: 1)


@pytest.fixture
def kept(rows):
    """The rows of the log, in order."""
    return lambda columns="prediction_id, kind, outcome": rows(f"SELECT {columns} FROM feedback ORDER BY seq")


def test_new_outcomes_are_accepted_and_repeated_ones_are_duplicates(log, kept):
    assert log.commit([[outcome("a", 0), outcome("a", 0.5, "reward")]]) == [Receipt(2, 0)]
    assert log.commit([[outcome("a", 0)], [outcome("b", 1)]]) == [Receipt(0, 1), Receipt(1, 0)]
    assert kept() == [("a", "actual", "0"), ("a", "reward", "0.5"), ("b", "actual", "1")]


def test_a_contradiction_takes_nothing_of_its_submission_and_all_of_the_others(log, kept):
    log.commit([[outcome("a", 0)]])
    results = log.commit([[outcome("b", 1)], [outcome("c", 1), outcome("a", 2, item=1)], [outcome("d", 1)]])
    assert isinstance(results[1], Contradiction)
    assert (results[1].index, results[1].field) == (1, "actual")
    assert [row[0] for row in kept()] == ["a", "b", "d"]


def test_a_submission_that_contradicts_itself_is_refused(log, kept):
    assert isinstance(log.commit([[outcome("a", 0), outcome("a", 1, item=1)]])[0], Contradiction)
    assert kept() == []


def test_what_the_id_says_is_kept(log, kept):
    log.commit([[outcome("a", 0)]])
    columns = "version_ordinal, epoch, counts, randomised, answer, user_hash, predictions_seen"
    assert kept(columns) == [(2, 3, True, True, 1.0, 0, 0)]


def test_a_locked_store_acknowledges_nothing_and_takes_the_repetition(log, writing, monkeypatch):
    log.commit([[outcome("a", 0)]])
    monkeypatch.setattr("app.store.outcomes.DURABLE", log_access(busy_s=0.05))
    with writing(), pytest.raises(StoreUnavailable, match="lock"):
        log.commit([[outcome("b", 1)]])
    assert log.commit([[outcome("b", 1)]]) == [Receipt(1, 0)]


@SQLITE_ONLY
def test_a_full_disk_acknowledges_nothing_and_takes_the_repetition(log):
    log.commit([[outcome("a", 0)]])
    from sqlalchemy import text

    from app.store.kinds import DURABLE

    with log._database.begin(DURABLE) as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
    engine_limit(log, pages)
    with pytest.raises(StoreUnavailable, match="full"):
        log.commit([[outcome(f"long-{n:060d}", 1) for n in range(2000)]])
    assert log.commit([[outcome(f"long-{n:060d}", 1) for n in range(2000)]]) == [Receipt(2000, 0)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 5)), max_size=40), st.randoms())
def test_any_order_and_repetition_leaves_the_same_set(log, kept, change, sent, rng):
    change("DELETE FROM feedback")
    submissions = [[outcome(name, ord(name))] * times for name, times in sent]
    rng.shuffle(submissions)
    receipts = log.commit(submissions)
    assert sum(receipt.accepted for receipt in receipts) == len({name for name, _ in sent})
    assert {row[0] for row in kept()} == {name for name, _ in sent} if sent else True


def test_of_contradicting_writers_exactly_one_wins(log, kept):
    results = []
    writers = [threading.Thread(target=lambda n=n: results.extend(log.commit([[outcome("a", n)]]))) for n in range(8)]
    random.Random(3).shuffle(writers)
    [writer.start() for writer in writers]
    [writer.join() for writer in writers]
    assert sorted(isinstance(result, Receipt) for result in results) == [False] * 7 + [True]
    assert len(kept()) == 1


def log_access(busy_s):
    from app.store.kinds import Access

    return Access(writes=True, durable=True, busy_s=busy_s)


def engine_limit(log, pages):
    """The next connection's database may not grow beyond `pages`; the one after a failure may again."""
    from app.store.kinds import DURABLE

    with log._database.begin(DURABLE) as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
