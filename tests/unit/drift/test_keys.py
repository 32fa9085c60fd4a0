from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.drift.keys import INFINITE_KEY, LARGEST_KEY, MISSING_KEY, UNSEEN_KEY, numeric_keys, row_keys


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (1.5, 1.5),
        (7, 7.0),
        (1.7e308, LARGEST_KEY),
        (10**400, LARGEST_KEY),
        (-(10**400), -LARGEST_KEY),
        (math.inf, INFINITE_KEY),
        (-math.inf, -INFINITE_KEY),
        (math.nan, MISSING_KEY),
        (None, MISSING_KEY),
        ("seven", UNSEEN_KEY),
        ([], UNSEEN_KEY),
    ],
)
def test_every_object_has_a_place_in_a_numeric_column(value, key):
    column = np.empty((2, 1), dtype=object)
    column[:, 0] = [value, "text"]
    assert row_keys(column, [None])[0, 0] == key


@pytest.mark.parametrize(
    ("value", "key"),
    [("a", 0.0), ("b", 1.0), ("z", UNSEEN_KEY), (None, MISSING_KEY), (math.nan, MISSING_KEY), (3, UNSEEN_KEY)],
)
def test_every_object_has_a_place_in_a_categorical_column(value, key):
    rows = np.array([[value]], dtype=object)
    assert row_keys(rows, [{"a": 0, "b": 1}])[0, 0] == key


@given(st.lists(st.floats(width=64), min_size=1))
def test_keys_are_finite_and_keep_the_order(values):
    keys = numeric_keys(np.array(values))
    assert np.isfinite(keys).all()
    present = ~np.isnan(values)
    order = np.argsort(np.array(values)[present], kind="stable")
    assert (np.diff(np.sign(keys[present][order]) * np.abs(keys[present][order]) / 2) >= 0).all()
