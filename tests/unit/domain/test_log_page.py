"""Rows as columns give what the rows one by one give, and events keep their order."""

import random

import numpy as np
import pytest

from app.domain.log_event import Cursor, PredictionLogged
from app.domain.log_order import in_order
from app.domain.log_page import events_of, layouts_in, taken, those, values_of
from app.store.engine import Database
from tests.unit.monitor.kinds_of_logs import KINDS, KindOfLog


@pytest.fixture(params=["units", "mixed", "old_form"])
def page(request, tmp_path):
    log = KindOfLog(Database(f"sqlite:///{tmp_path}/log.sqlite"))
    KINDS[request.param](log)
    yield log.events.page(Cursor(), 50, None)
    log.database.close()


@pytest.mark.parametrize("name", ["seq", "prediction_id", "own_key", "latency_us", "layout", "chosen"])
def test_a_field_of_all_is_that_of_each(page, name):
    assert values_of(page.predictions, name) == [getattr(row, name) for row in page.predictions]


def test_chosen_rows_are_those_that_fit_one_by_one(page):
    rows = page.predictions
    found = taken(rows, those(rows, lambda row: row.version == "v1"))
    assert [*found] == [row for row in rows if row.version == "v1"]
    assert layouts_in(found) == {row.layout for row in found} - {None}


def test_events_that_are_listed_are_the_same_events(page):
    events = in_order(page)
    again = events_of([*events])
    assert [*again] == [*events]
    assert np.array_equal(again.places, events.places)
    assert [isinstance(events[place], PredictionLogged) for place in random.Random(1).sample(range(len(events)), 5)]
    assert [events[place].row for place in events.places.tolist()] == [*events.rows]
