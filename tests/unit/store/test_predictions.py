""""""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.domain.columns import LoggedColumn, LoggedLayout
from app.errors import StoreUnavailable
from app.services.queries.history import Place
from app.store.history import PredictionHistory
from app.store.kinds import DURABLE, RECORDING
from app.store.layouts import LayoutReads
from app.store.predictions import PredictionLog
from tests.unit.store.stored_rows import SQLITE_ONLY, as_stored, full_disk, id_of, log_of, logged, number_of

pytestmark = pytest.mark.usefixtures("form")
BIG = st.integers(0, 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@pytest.mark.parametrize("rows", [0, 1, 54, 55, 56, 200])
def test_rows_come_back_in_order_whatever_their_number(database, rows):
    wanted = [logged(number) for number in range(rows)]
    PredictionLog(database).append(wanted)
    assert log_of(database) == [as_stored(row, seq) for seq, row in enumerate(wanted, start=1)]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.builds(
        logged,
        number=st.integers(0, 2**24 - 1),
        served_at_us=BIG,
        request_id=TEXTS,
        epoch=BIG,
        version=TEXTS,
        propensity=st.none() | st.floats(0, 1),
        counts=st.booleans(),
        user_hash=st.integers(0, 2**48 - 1),
        features=TEXTS,
        answers=TEXTS,
        latency_us=BIG,
        own_key=st.none() | TEXTS,
        failed=st.none() | TEXTS,
        lacking=st.none() | TEXTS,
    )
)
def test_any_row_comes_back_as_it_went_in(database, row):
    PredictionLog(database).append([row])
    [found] = log_of(database)
    assert found == as_stored(row, found.seq)
    with database.begin(RECORDING) as connection:
        connection.exec_driver_sql("DELETE FROM predictions")
        connection.exec_driver_sql("DELETE FROM log")


PLAIN = LoggedLayout(11, (LoggedColumn("height"), LoggedColumn("width")))
WINDY = LoggedLayout(2**63 - 1, (LoggedColumn("height"), LoggedColumn("wind_speed", "Wind speed (m/s)")))


def test_layouts_are_written_once_with_the_rows_that_have_them(database):
    log = PredictionLog(database)
    log.append([logged(1, layout=WINDY, lacking='["v2"]'), logged(2), logged(3, layout=PLAIN), logged(4, layout=WINDY)])
    log.append([logged(5, layout=WINDY)])
    assert [(row.layout, row.lacking) for row in log_of(database)] == [
        (WINDY.id, '["v2"]'),
        (None, None),
        (PLAIN.id, None),
        (WINDY.id, None),
        (WINDY.id, None),
    ]
    assert LayoutReads(database).layouts([11, WINDY.id, 12]) == {11: PLAIN, WINDY.id: WINDY}


def test_several_processes_may_write_one_layout(database, rows):
    for number in range(2):
        PredictionLog(database).append([logged(number, layout=PLAIN)])
    assert rows("SELECT id, count(*) FROM layouts GROUP BY id") == [(PLAIN.id, 1)]


def test_a_layout_whose_rows_were_refused_is_written_with_the_next_ones(database, rows):
    log = PredictionLog(database)
    with pytest.raises(OverflowError):
        log.append([logged(1, layout=PLAIN), logged(2, served_at_us=2**63)])
    assert rows("SELECT id FROM layouts") == []
    log.append([logged(1, layout=PLAIN)])
    assert rows("SELECT id FROM layouts") == [(PLAIN.id,)]


@SQLITE_ONLY
def test_a_store_that_takes_the_place_of_another_gets_the_layouts_too(database, path, rows):
    log = PredictionLog(database)
    log.append([logged(1, layout=PLAIN)])
    for file in path.parent.glob(f"{path.name}*"):
        file.rename(file.with_name(f"old-{file.name}"))
    with pytest.raises(StoreUnavailable):  # the recorder tries again
        log.append([logged(2, layout=PLAIN)])
    log.append([logged(2, layout=PLAIN)])
    assert rows("SELECT id FROM layouts") == [(PLAIN.id,)]


def test_a_layout_that_was_unknown_is_found_once_it_is_written(database):
    reads = LayoutReads(database)
    assert reads.layouts([PLAIN.id]) == {}
    PredictionLog(database).append([logged(1, layout=PLAIN)])
    assert reads.layouts([PLAIN.id]) == {PLAIN.id: PLAIN}


def test_a_repeated_id_is_ignored_and_the_first_row_stays(database):
    log = PredictionLog(database)
    log.append([logged(1), logged(2)])
    log.append([logged(2, version="v2"), logged(3)])
    assert [row.version for row in log_of(database)] == ["v1", "v1", "v1"]


def test_a_number_is_never_given_twice(database, change):
    log = PredictionLog(database)
    log.append([logged(1), logged(2)])
    change("DELETE FROM predictions", "DELETE FROM log")
    log.append([logged(3)])
    assert log_of(database)[0].seq > 2


@pytest.mark.parametrize(
    ("changes", "complaint"), [({"features": "\ud800"}, UnicodeError), ({"served_at_us": 2**63}, OverflowError)]
)
def test_a_row_that_no_store_can_hold_is_refused_as_such_and_nothing_is_added(database, changes, complaint):
    with pytest.raises(complaint):
        PredictionLog(database).append([logged(1), logged(2, **changes)])
    assert log_of(database) == []


@SQLITE_ONLY
def test_a_full_disk_takes_nothing_of_a_batch_and_everything_once_there_is_room(database):
    log = PredictionLog(database)
    log.append([logged(0)])
    with full_disk(database), pytest.raises(StoreUnavailable, match="full"):
        log.append([logged(number, features="x" * 4000) for number in range(1, 20)])
    assert len(log_of(database)) == 1
    log.append([logged(1)])
    assert len(log_of(database)) == 2


@pytest.fixture
def history(database):
    # Written out of order, as several workers do.
    PredictionLog(database).append([logged(number, version=f"v{number % 2 + 1}") for number in (3, 1, 2, 0, 4)])
    return PredictionHistory(database)


def numbers(rows):
    return [number_of(row.prediction_id) for row in rows]


def test_the_newest_come_first_whatever_the_order_of_writing(history):
    assert numbers(history.page(3)) == [4, 3, 2]


def test_a_page_goes_on_where_the_last_one_ended(history):
    assert numbers(history.page(10, before=history.place(id_of(2)))) == [1, 0]


def test_a_page_of_one_version_goes_on_too(history):
    assert numbers(history.page(10, "v1")) == [4, 2, 0]
    assert numbers(history.page(10, "v1", history.place(id_of(4)))) == [2, 0]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_pages_of_a_version_that_answers_for_hours_have_each_row_once_and_in_order(database, version):
    # Some within a millisecond, some within seconds, some hours later; v2 answers seldom. Written out of order.
    spread = [number * number * 40_000 + number % 7 for number in range(300)]
    rows = [logged(n, version="v2" if place % 40 == 0 else "v1") for place, n in enumerate(spread[::2] + spread[1::2])]
    PredictionLog(database).append(rows)
    history, found = PredictionHistory(database), []
    while page := history.page(7, version, history.place(found[-1]) if found else None):
        found += [row.prediction_id for row in page]
    assert found == sorted((row.prediction_id for row in rows if row.version == version), reverse=True)


def test_rows_of_one_request_share_a_time_and_are_all_seen(database):
    PredictionLog(database).append([logged(number, served_at_us=7) for number in range(5)])
    assert numbers(PredictionHistory(database).page(9, "v1", Place(id_of(3), 7))) == [2, 1, 0]


def test_outcomes_of_either_kind_stand_beside_their_prediction(database, history):
    insert = (
        "INSERT INTO feedback (prediction_id, kind, outcome, received_at_us, version_ordinal, epoch, counts,"
        " randomised, answer, user_hash) VALUES (:id, :kind, :outcome, 0, 1, 1, TRUE, TRUE, 0, 0)"
    )
    with database.begin(DURABLE) as connection:
        for kind, outcome in (("actual", "1"), ("reward", "0.5")):
            connection.execute(text(insert), {"id": id_of(4), "kind": kind, "outcome": outcome})
    newest, before = history.page(2)
    assert (newest.actual, newest.reward, before.actual, before.reward) == ("1", "0.5", None, None)


def test_the_callers_own_key_stands_beside_its_prediction(database):
    PredictionLog(database).append([logged(0), logged(1, own_key="order-4711")])
    assert [row.own_key for row in PredictionHistory(database).page(2)] == ["order-4711", None]


def test_a_page_has_the_columns_of_its_rows(database, change):
    PredictionLog(database).append([logged(0), logged(1, layout=WINDY), logged(2, layout=PLAIN)])
    change(f"DELETE FROM layouts WHERE id = {PLAIN.id}")
    newest, before, first = PredictionHistory(database).page(3)
    assert (newest.layout, before.layout, first.layout) == (LoggedLayout(PLAIN.id, ()), WINDY, None)


def test_an_id_that_is_not_in_the_log_has_no_place(history):
    assert history.place("nowhere") is None


def test_a_version_is_known_once_it_has_answered(history):
    assert [history.has_version(version) for version in ("v1", "v9")] == [True, False]
