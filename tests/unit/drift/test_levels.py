from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.contract import Feature, FeatureContract
from app.drift.evidence import stream_scores
from app.drift.levels import LEAST_ROWS, MOST_OWN_LEVELS, choose_levels
from app.drift.reference import DriftReference, build_reference
from app.drift.watch import start, update

CONTRACT = FeatureContract(task="classification", target="t", features=(Feature("c", kind="categorical"),))
LEVELS = st.lists(st.none() | st.sampled_from([f"l{number}" for number in range(80)]), min_size=1, max_size=400)
TAIL = 1 / np.arange(1, 201) / (1 / np.arange(1, 201)).sum()


def rows(count: int, seed: int, shares: np.ndarray = TAIL) -> np.ndarray:
    chosen = np.random.default_rng(seed).choice(len(shares), (count, 1), p=shares)
    return np.array([f"l{number}" for number in range(len(shares))], dtype=object)[chosen]


@given(LEVELS)
def test_levels_are_chosen_and_weighed_on_different_rows_where_any_is_rare(values):
    choice = choose_levels(values, np.random.default_rng(0))
    assert len(choice.own) <= MOST_OWN_LEVELS
    assert not set(choice.own) & set(choice.rare)
    chosen_on = np.setdiff1d(np.arange(len(values)), choice.weighed).tolist()
    if chosen_on:
        assert set(choice.own) | set(choice.rare) == {values[row] for row in chosen_on}
        assert all(sum(values[row] == level for row in chosen_on) >= LEAST_ROWS for level in choice.own)
    else:
        assert not choice.rare


@given(LEVELS)
def test_every_level_falls_into_the_bin_of_its_kind(values):
    column = np.array([[value] for value in values], dtype=object)
    reference = build_reference(CONTRACT, column, seed=1)
    stream, cells = reference.inputs.streams[0], reference.inputs.cells[0]
    assert sum(stream.gaps) == stream.reference_rows + 1 <= len(values) + 1
    assert len(stream.gaps) <= MOST_OWN_LEVELS + 2
    assert all(rank < len(cells.bins) for rank in cells.ranks.values())
    assert sum(cells.counts) == len(values)


@pytest.mark.parametrize("seed", range(4))
def test_unchanged_traffic_with_a_long_tail_raises_no_alarm_and_has_no_score(seed):
    reference = build_reference(CONTRACT, rows(500, seed), seed=1)
    state = update(reference, start(reference), rows(3000, seed + 100))
    assert state.alarms == 0
    assert max(stream_scores(reference.inputs, state.inputs)) == 0


def test_a_new_level_is_found_where_levels_are_common():
    common = np.full(8, 1 / 8)
    reference = build_reference(CONTRACT, rows(300, 1, common), seed=1)
    traffic = rows(1000, 2, common)
    traffic[np.random.default_rng(3).random(1000) < 0.05] = "new"
    assert update(reference, start(reference), traffic).alarm


def test_a_reference_of_an_earlier_release_keeps_a_bin_for_each_level():
    new = build_reference(CONTRACT, np.array([["a"], ["b"]] * 9, dtype=object), seed=1).to_json()
    assert b',"levels":{"own":2,"rarest":1.5}' in new
    old = DriftReference.from_json(new.replace(b',"levels":{"own":2,"rarest":1.5}', b""))
    assert old.inputs.streams[0].levels is None
    assert update(old, start(old), np.array([["a"], ["new"]] * 9, dtype=object)).inputs.requests == 18
