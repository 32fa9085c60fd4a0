import pytest

from app.services.ports import KEY_DAYS
from app.services.queries.history import Name
from app.store.history import OwnKeys, PredictionHistory
from app.store.predictions import PredictionLog
from tests.unit.store.stored_rows import id_of, logged

DAY_US = 86_400_000_000
NOW_US = 1_700_000_000_000_000 + KEY_DAYS * DAY_US


@pytest.fixture
def log(database):
    return PredictionLog(database)


@pytest.fixture
def keys(database):
    return OwnKeys(database, lambda: NOW_US)


def test_a_key_is_bound_to_the_first_prediction_that_has_it(log, keys):
    log.append([logged(5, own_key="a"), logged(6, own_key="a"), logged(7, own_key="b"), logged(8)])
    assert keys.bound(["a", "b", "c"]) == {"a": id_of(5), "b": id_of(7)}


def test_first_is_the_one_that_was_served_first_in_whatever_order_workers_log_them(log, keys):
    log.append([logged(6, own_key="a")])
    log.append([logged(5, own_key="a")])
    assert keys.bound(["a"]) == {"a": id_of(5)}


def test_one_that_counts_goes_before_those_that_do_not(log, keys):
    log.append([logged(1, own_key="a", counts=False), logged(2, own_key="b", counts=False), logged(3, own_key="a")])
    assert keys.bound({"a", "b"}) == {"a": id_of(3), "b": id_of(2)}


def test_a_key_is_free_again_after_90_days(log, keys, database):
    log.append([logged(1, own_key="a"), logged(3, own_key="a")])
    later = OwnKeys(database, lambda: NOW_US + 2)
    assert (keys.bound(["a"]), later.bound(["a"])) == ({"a": id_of(1)}, {"a": id_of(3)})
    assert OwnKeys(database, lambda: NOW_US + 4).bound(["a"]) == {}


@pytest.mark.parametrize("key", ["Ünïcode ✓", "a'b", '"', "{}", "null", "1", " spaced "])
def test_any_printable_key_is_found(log, keys, key):
    log.append([logged(1, own_key=key)])
    assert keys.bound([key, f"{key}x"]) == {key: id_of(1)}


def test_ten_thousand_keys_are_one_query(log, keys):
    log.append([logged(number, own_key=f"k{number}") for number in range(3000)])
    assert len(keys.bound([f"k{number}" for number in range(10_000)])) == 3000


def test_the_search_uses_the_indexes(log, rows, database):
    log.append([logged(1, own_key="a")])
    if database.kind.server is not None:
        pytest.skip("a server chooses by the size of the table")
    for column, index in (("own_key", "predictions_by_own_key"), ("request_id", "predictions_by_request")):
        [(*_, plan)] = rows(f"EXPLAIN QUERY PLAN SELECT * FROM predictions WHERE {column} = 'a'")
        assert index in plan


def test_predictions_are_searched_by_key_and_by_request(log, database):
    log.append([logged(1, own_key="a"), logged(2, own_key="a"), logged(3, request_id="r"), logged(4, request_id="r")])
    history = PredictionHistory(database)
    assert [row.prediction_id for row in history.page(9, name=Name("own_key", "a"))] == [id_of(2), id_of(1)]
    assert [row.prediction_id for row in history.page(1, name=Name("request_id", "r"))] == [id_of(4)]
    assert history.first(Name("request_id", "r")).prediction_id == id_of(3)
    assert history.first(Name("own_key", "c")) is None


def test_a_found_row_has_everything_that_was_logged(log, database):
    log.append([logged(1, counts=False, failed='["v2"]', user_hash=7)])
    row = PredictionHistory(database).first(Name("prediction_id", id_of(1)))
    assert (row.counts, row.synthetic, row.failed, row.user_hash) == (False, False, '["v2"]', 7)
    assert (row.epoch, row.propensity, row.latency_us, row.request_id) == (3, 0.5, 120, "request-1")
    assert (row.experiment_id, row.actual_at_us) == (None, None)
