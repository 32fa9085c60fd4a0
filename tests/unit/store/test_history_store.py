import pytest
from sqlalchemy import text

from app.services.history import Place
from app.store.access import DURABLE
from app.store.history import PredictionHistory
from app.store.log import PredictionLog
from tests.unit.store.stored_rows import logged


@pytest.fixture
def history(database):
    # Written out of order, as several workers do.
    PredictionLog(database).append([logged(number, version=f"v{number % 2 + 1}") for number in (3, 1, 2, 0, 4)])
    return PredictionHistory(database)


def numbers(rows):
    return [int(row.prediction_id) for row in rows]


def test_the_newest_come_first_whatever_the_order_of_writing(history):
    assert numbers(history.page(3)) == [4, 3, 2]


def test_a_page_goes_on_where_the_last_one_ended(history):
    assert numbers(history.page(10, before=history.place(f"{2:064d}"))) == [1, 0]


def test_a_page_of_one_version_goes_on_too(history):
    assert numbers(history.page(10, "v1")) == [4, 2, 0]
    assert numbers(history.page(10, "v1", history.place(f"{4:064d}"))) == [2, 0]


def test_rows_of_one_request_share_a_time_and_are_all_seen(database):
    PredictionLog(database).append([logged(number, served_at_us=7) for number in range(5)])
    assert numbers(PredictionHistory(database).page(9, "v1", Place(f"{3:064d}", 7))) == [2, 1, 0]


def test_outcomes_of_either_kind_stand_beside_their_prediction(database, history):
    insert = (
        "INSERT INTO feedback (prediction_id, kind, outcome, received_at_us, version_ordinal, epoch, counts,"
        " randomised, answer, user_hash) VALUES (:id, :kind, :outcome, 0, 1, 1, TRUE, TRUE, 0, 0)"
    )
    with database.begin(DURABLE) as connection:
        for kind, outcome in (("actual", "1"), ("reward", "0.5")):
            connection.execute(text(insert), {"id": f"{4:064d}", "kind": kind, "outcome": outcome})
    newest, before = history.page(2)
    assert (newest.actual, newest.reward, before.actual, before.reward) == ("1", "0.5", None, None)


def test_an_id_that_is_not_in_the_log_has_no_place(history):
    assert history.place("nowhere") is None


def test_a_version_is_known_once_it_has_answered(history):
    assert [history.has_version(version) for version in ("v1", "v9")] == [True, False]
