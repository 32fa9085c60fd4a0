from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.drift.cells import numeric_cells
from app.drift.family import Family
from app.drift.keys import FIRST_KEY, INFINITE_KEY, MISSING_KEY, UNSEEN_KEY, numeric_keys
from app.drift.streams import TIE_RANGE, Levels, Stream, categorical_stream, numeric_stream, tie_breakers

VALUES = st.lists(st.sampled_from([0.0, 1.0, 2.5, -3.0, 1e308, np.inf, -np.inf, np.nan]) | st.floats(), min_size=1)


def cut(values: list[float]) -> Stream:
    return numeric_stream("x", numeric_keys(np.array(values)), np.random.default_rng(0))


@given(VALUES)
def test_the_gaps_of_any_values_sum_to_one_more_than_their_number(values):
    stream = cut(values)
    assert sum(stream.gaps) == len(values) + 1
    assert min(stream.gaps) >= 1
    assert len(stream.gaps) == len(stream.edges) + 1


def test_a_thousand_values_have_at_most_24_bins_of_about_equal_mass():
    stream = cut(np.random.default_rng(1).normal(size=1000).tolist())
    assert len(stream.gaps) == 24
    assert stream.gaps[0] == stream.gaps[-1] == 1
    assert max(stream.gaps) <= 46


def test_few_distinct_values_have_a_bin_each():
    assert cut([1.0] * 30 + [2.0] * 50 + [7.0] * 20).gaps == (1, 29, 50, 20, 1)


@pytest.mark.parametrize(
    ("values", "gaps"),
    [([5.0], (1, 1)), ([5.0] * 9, (1, 8, 1)), ([np.nan] * 9, (1, 8, 1)), ([np.inf, -np.inf], (1, 1, 1))],
)
def test_degenerate_columns_have_bins_too(values, gaps):
    assert cut(values).gaps == gaps


def test_missing_values_of_the_reference_have_a_bin_of_their_own():
    stream = cut([1.0, 2.0, 3.0, np.nan, np.nan, np.nan, np.nan])
    assert stream.gaps == (1, 1, 1, 1, 3, 1)
    assert stream.edges[-1] == MISSING_KEY


RANKS = np.repeat([0.0, 1.0, 2.0, 2.25, MISSING_KEY], [6, 5, 2, 1, 3])


@pytest.mark.parametrize(
    ("levels", "gaps"),
    [
        (Levels(own=2, rarest=2.0), (6, 5, 2, 5)),
        (Levels(own=2, rarest=1.5), (6, 5, 7)),
        (Levels(own=2, rarest=2.0, missing=2.0), (6, 5, 5, 2)),
        (Levels(own=2, rarest=2.0, missing=FIRST_KEY), (3, 6, 5, 2, 2)),
        (Levels(own=0, rarest=-0.5), (18,)),
    ],
)
def test_common_levels_have_a_bin_each_and_rare_ones_share_one(levels, gaps):
    assert categorical_stream("c", RANKS, levels, np.random.default_rng(0)).gaps == gaps


@pytest.mark.parametrize("key", [UNSEEN_KEY, MISSING_KEY, 2.25])
def test_what_the_fitting_half_lacks_falls_into_the_last_bin(key):
    stream = categorical_stream("c", RANKS, Levels(own=2, rarest=2.0), np.random.default_rng(0))
    assert Family(seed=1, streams=(stream,), cells=()).bins(np.array([[key]]), 0).tolist() == [[3]]


def test_the_next_of_exchangeable_values_falls_into_the_bins_in_proportion_to_their_gaps():
    chance, hits, trials = np.random.default_rng(5), np.zeros(4), 4000
    for trial in range(trials):
        values = np.floor(chance.exponential(size=6) * 2)
        stream = numeric_stream("x", values[:5], chance)
        family = Family(seed=trial, streams=(stream,), cells=())
        place = int(family.bins(values[5:, None], 0)[0, 0])
        share = np.cumsum([0, *stream.gaps])[place : place + 2] / 6
        hits += np.histogram(chance.uniform(*share), bins=4, range=(0, 1))[0]
    np.testing.assert_allclose(hits / trials, 0.25, atol=0.03)


@pytest.mark.parametrize("key", [-INFINITE_KEY, -1e300, 0.0, 1.0, 1.5, 99.0, INFINITE_KEY, MISSING_KEY, UNSEEN_KEY])
def test_the_search_finds_what_comparing_with_every_edge_finds(key):
    streams = tuple(cut([0.0, 1.0, 1.0, 1.0, 2.0, np.nan][: 2 + size]) for size in range(5))
    family = Family(seed=1, streams=streams, cells=())
    jitter = tie_breakers(1, np.arange(4 * 5 + 1, 5 * 5 + 1))
    expected = [
        sum(key > edge or (key == edge and u > tie) for edge, tie in zip(stream.edges, stream.ties, strict=True))
        for stream, u in zip(streams, jitter, strict=True)
    ]
    assert family.bins(np.full((1, 5), key), 4)[0].tolist() == expected


def test_the_bins_and_cells_of_many_keys_are_those_of_few_at_a_time():
    chance = np.random.default_rng(4)
    values = [chance.normal(size=300).round(1), chance.normal(size=300), chance.integers(3, size=300) * 1.0]
    streams = tuple(numeric_stream("x", each, chance) for each in values)
    cells = tuple(numeric_cells("x", stream, each) for stream, each in zip(streams[:2], values, strict=False))
    family = Family(seed=1, streams=streams, cells=cells)
    keys = numeric_keys(np.column_stack([chance.choice([*each, np.nan, np.inf, -9.0], 1200) for each in values]))
    bins = family.bins(keys, 40)
    few = [family.bins(keys[first : first + 7], 40 + first) for first in range(0, 1200, 7)]
    assert bins.tolist() == np.concatenate(few).tolist()
    shown = family.shown(keys, bins)
    assert shown[:, 2].tolist() == bins[:, 2].tolist()
    assert [shown[:, column].tolist() for column in (0, 1)] == [
        each.of(keys[:, column]).tolist() for column, each in enumerate(cells)
    ]


def test_jitter_is_uniform_and_does_not_depend_on_the_batch():
    whole = tie_breakers(11, np.arange(1, 6001).reshape(2000, 3))
    np.testing.assert_array_equal(whole[700:], tie_breakers(11, np.arange(2101, 6001).reshape(1300, 3)))
    assert abs(whole.mean() / TIE_RANGE - 0.5) < 0.015
    assert abs(np.corrcoef(whole[:, 0], whole[:, 1])[0, 1]) < 0.07
