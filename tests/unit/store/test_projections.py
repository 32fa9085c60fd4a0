"""The projections' derived state in the store."""

import pytest

from app.domain.log_event import Cursor
from app.domain.monitor_state import Changes, PlacedPoint, UserFact
from app.domain.report import TimelinePoint
from app.store.projections import ProjectionStore


@pytest.fixture
def store(database):
    return ProjectionStore(database, lambda: 5_000_000)


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
