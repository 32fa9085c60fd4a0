"""The projections' derived state in the store."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.log_event import Cursor
from app.domain.monitor_state import Changes, OpenWindow, PlacedPoint, UnitFact, UnitPair, UserFact
from app.domain.report import TimelinePoint
from app.store import projections
from app.store.projections import ProjectionStore

BIG = 2**63 - 1
UNITS = (
    UnitFact(unit=-BIG - 1),
    UnitFact(unit=7, pairs=(UnitPair(first=3), UnitPair(), UnitPair(first=3, differs=BIG))),
    UnitFact(unit=BIG, pairs=(UnitPair(first=4, voted=True), UnitPair(voted=True)), bad=3),
)
WINDOWS = (
    OpenWindow(seq=5, closes_at_us=100, epoch=2, version="v1"),
    OpenWindow(seq=6, closes_at_us=300, epoch=2, version="v2", kind="user", differs=(True, None, False), reward=0.1),
    OpenWindow(seq=BIG, closes_at_us=200, epoch=3, version="v1", features='["a\\u2028é", 1.0,null]', reward=1e-300),
)


@pytest.fixture
def store(database):
    return ProjectionStore(database, lambda: 5_000_000)


@pytest.fixture
def experiments(change):
    for ordinal, name in enumerate(("one", "two"), 1):
        change(f"INSERT INTO experiments (id, ordinal, started_at_us, body) VALUES ('{name}', {ordinal}, 0, '{{}}')")


def by_unit(facts):
    return {fact.unit: fact for fact in facts}


def by_seq(windows):
    return {window.seq: window for window in windows}


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
    fresh = ProjectionStore(database, lambda: 1, "rebuild/")
    fact = UserFact(user_hash=7, epoch=1, version="v1")
    store.commit("experiment", Cursor(), Cursor(3, 2), Changes(states={"one": "old", "gone": "old"}))
    fresh.commit("experiment", Cursor(), Cursor(3, 2), Changes(states={"one": "new"}, users={"one": (fact,)}))
    assert store.states(["experiment/one"]) == {"experiment/one": "old"}
    assert not fresh.take_the_place(["experiment"], {"experiment": Cursor(2, 2)})
    assert fresh.take_the_place(["experiment"], {"experiment": Cursor(3, 2)})
    assert store.states(["experiment/one", "experiment/gone"]) == {"experiment/one": "new"}
    assert store.users("one", [7]) == {7: fact}
    assert fresh.cursor("experiment") == Cursor()


def test_units_come_back_as_they_were_written_last(store, experiments):
    store.commit("experiment", Cursor(), Cursor(1), Changes(units={"one": UNITS, "two": UNITS[:1]}))
    later = UnitFact(unit=7, bad=1)
    store.commit("experiment", Cursor(1), Cursor(2), Changes(units={"one": (later,)}))
    assert store.units("one", [7, 8, BIG, -BIG - 1]) == {**by_unit(UNITS), 7: later}
    assert store.units("two", [7, -BIG - 1]) == by_unit(UNITS[:1])


NUMBER = st.integers(-BIG - 1, BIG)
FOUND = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def any_of(record, **drawn):
    """Any record of that type: fields that are not named are drawn by their annotations, so that none is forgotten."""
    return st.builds(record, **{name: drawn.get(name, ...) for name in record.__struct_fields__})


COUNTED = st.none() | st.floats(allow_nan=False, allow_infinity=False)
PAIR = any_of(UnitPair, first=st.none() | NUMBER, differs=st.none() | NUMBER)
PAIRS = st.lists(PAIR, max_size=3).map(tuple)


@FOUND
@given(
    any_of(UnitFact, unit=NUMBER, pairs=st.lists(PAIR, max_size=3).map(tuple), bad=st.integers(0, 255), counted=COUNTED)
)
def test_any_unit_comes_back(store, experiments, fact):
    at = store.cursor("experiment")
    assert store.commit("experiment", at, Cursor(at.predictions + 1), Changes(units={"one": (fact,)}))
    assert store.units("one", [fact.unit]) == {fact.unit: fact}


@FOUND
@given(
    any_of(
        OpenWindow,
        seq=NUMBER,
        epoch=NUMBER,
        closes_at_us=NUMBER,
        version=st.just("v1"),
        kind=st.sampled_from(["user", "row"]),
        features=st.sampled_from(["", "[]", "[0]", '[1.50,"\u00e9"]']),
        reward=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_any_window_comes_back(store, experiments, window):
    at = store.cursor("experiment")
    assert store.commit("experiment", at, Cursor(at.predictions + 1), Changes(windows={"one": (window,)}))
    assert store.windows("one", [window.seq], -BIG - 1) == {window.seq: window}


def test_a_window_keeps_the_versions_that_took_no_part(store, experiments):
    plain = OpenWindow(seq=7, closes_at_us=200, epoch=2, version="v1", lacking=("v2",))
    rewarded = OpenWindow(seq=8, closes_at_us=200, epoch=2, version="v1", lacking=("v2", "v3"), reward=0.5)
    store.commit("experiment", Cursor(), Cursor(1), Changes(windows={"one": (plain, rewarded)}))
    assert store.windows("one", [7, 8], 0) == {7: plain, 8: rewarded}


def test_windows_are_found_by_prediction_and_by_their_end(store, experiments):
    store.commit("experiment", Cursor(), Cursor(1), Changes(windows={"one": WINDOWS}))
    assert store.windows("one", [6, 9], 0) == by_seq(WINDOWS[1:2])
    assert store.windows("one", [], 200) == by_seq(WINDOWS[:1])
    assert store.windows("one", [5, 6], 201) == by_seq(WINDOWS)
    assert store.windows("two", [5, 6], 201) == {}


def test_a_window_changes_and_closes(store, experiments):
    store.commit("experiment", Cursor(), Cursor(1), Changes(windows={"one": WINDOWS}))
    rewarded = OpenWindow(seq=5, closes_at_us=100, epoch=2, version="v1", reward=1.0)
    store.commit("experiment", Cursor(1), Cursor(2), Changes(windows={"one": (rewarded,)}, closed={"one": (6, BIG)}))
    assert store.windows("one", [], BIG) == {5: rewarded}
    assert store.any_window()
    store.commit("experiment", Cursor(2), Cursor(3), Changes(closed={"one": (5,)}))
    assert not store.any_window()


def test_heartbeats_move_a_cursor_too(store):
    store.commit("experiment", Cursor(), Cursor(1, 2, 3), Changes())
    assert store.cursor("experiment") == Cursor(1, 2, 3)
    assert not store.commit("experiment", Cursor(1, 2), Cursor(1, 2, 4), Changes())


def test_units_and_windows_of_a_space_are_apart_and_take_the_place_again_and_again(database, store, experiments, rows):
    fresh = ProjectionStore(database, lambda: 1, "rebuild/")
    store.commit("experiment", Cursor(), Cursor(3), Changes(units={"one": UNITS}, windows={"two": WINDOWS}))
    for bad in (5, 6, 7):
        anew = UnitFact(unit=7, bad=bad)
        fresh.commit("experiment", Cursor(), Cursor(3), Changes(units={"one": (anew,)}, windows={"two": WINDOWS[:1]}))
        assert store.units("one", [7]) != {7: anew}
        assert fresh.take_the_place(["experiment"], {"experiment": Cursor(3)})
        assert store.units("one", [7, BIG]) == {7: anew}
        assert store.windows("two", [], BIG) == by_seq(WINDOWS[:1])
        assert not fresh.discard(["experiment"])
        assert (fresh.units("one", [7]), fresh.windows("two", [], BIG), fresh.any_window()) == ({}, {}, False)
    assert rows("SELECT count(*) FROM monitor_units") == [(1,)]


def test_many_units_are_discarded_in_portions(database, store, experiments, monkeypatch, rows):
    monkeypatch.setattr(projections, "_ROWS_AT_ONCE", 2)
    fresh = ProjectionStore(database, lambda: 1, "rebuild/")
    store.commit("experiment", Cursor(), Cursor(1), Changes(units={"one": UNITS}))
    fresh.commit(
        "experiment", Cursor(), Cursor(1), Changes(units={"one": UNITS, "two": UNITS}, windows={"two": WINDOWS})
    )
    assert [fresh.discard(["experiment"]) for _ in range(4)] == [True, True, True, False]
    assert rows("SELECT experiment, unit FROM monitor_units ORDER BY 2") == [(1, fact.unit) for fact in UNITS]
    assert rows("SELECT count(*) FROM monitor_windows") == [(0,)]


@pytest.mark.parametrize("left", ["nothing", "a rebuild of both that was killed"])
def test_one_projection_takes_its_place_and_leaves_the_other_alone(database, store, experiments, left):
    fresh = ProjectionStore(database, lambda: 1, "rebuild/")
    store.commit("experiment", Cursor(), Cursor(3), Changes(states={"one": "old"}, units={"one": UNITS}))
    store.commit("drift", Cursor(), Cursor(4), Changes(states={"v1": "kept"}))
    if left != "nothing":
        fresh.commit("drift", Cursor(), Cursor(4), Changes(states={"v1": "left"}))
    fresh.commit("experiment", Cursor(), Cursor(3), Changes(states={"one": "new"}))
    assert fresh.take_the_place(["experiment"], {"experiment": Cursor(3)})
    assert store.states(["experiment/one", "drift/v1"]) == {"experiment/one": "new", "drift/v1": "kept"}
    assert store.units("one", [7]) == {}
    fresh.discard(["drift"])
    fresh.commit("drift", Cursor(), Cursor(4), Changes(states={"v1": "newer"}))
    assert fresh.take_the_place(["drift"], {"drift": Cursor(4)})
    assert store.states(["experiment/one", "drift/v1"]) == {"experiment/one": "new", "drift/v1": "newer"}
