from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.prediction import Outputs
from app.drift.detector import acknowledge, wealth_after
from app.drift.detector_state import BLOCK, CLEAN_BLOCKS, stream_wealth
from app.drift.reference import DriftReference, build_reference
from app.drift.watch import DriftState, start, update
from tests.unit.drift.drift_samples import Draw, numeric_contract

ROWS = np.random.default_rng(1).normal(size=(240, 3))
REFERENCE = build_reference(numeric_contract(3), np.random.default_rng(2).normal(size=(50, 3)), seed=1)
NARROW = build_reference(numeric_contract(1), np.random.default_rng(2).normal(size=(50, 1)), seed=1)
TIMES = 1_700_000_000_000_000 + np.arange(240) * 1000


def shifted(rows: np.ndarray, by: float = 3.0) -> np.ndarray:
    return rows + np.array([by, 0.0, 0.0])


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 240)), width=st.sampled_from([1, 3]), moved=st.booleans())
def test_however_the_log_is_cut_the_state_is_the_same_to_the_last_bit(cuts, width, moved):
    reference = NARROW if width == 1 else REFERENCE
    rows = ROWS[:, :width] + (np.arange(240) >= 100)[:, None] * 3.0 * moved
    whole = update(reference, start(reference), rows, at_us=TIMES)
    state = start(reference)
    for first, last in zip([0, *sorted(cuts)], [*sorted(cuts), 240], strict=True):
        state = update(reference, state, rows[first:last], at_us=TIMES[first:last])
    assert state == whole
    assert whole.alarm == moved


@pytest.mark.parametrize("codec", [msgspec.json, msgspec.msgpack])
@pytest.mark.parametrize("rows", [0, 1, 9, 10, 235])
def test_the_state_survives_storing_without_loss(codec, rows):
    state = update(REFERENCE, start(REFERENCE), shifted(ROWS[:rows]), at_us=TIMES[:rows])
    restored = codec.decode(codec.encode(state), type=DriftState)
    assert restored == state
    assert update(REFERENCE, restored, ROWS) == update(REFERENCE, state, ROWS)


def test_the_state_does_not_grow(draw, reference):
    early = update(reference, start(reference), draw(10))
    late = update(reference, early, draw(3000))
    sizes = [
        sum(len(getattr(s.inputs, f)) for f in ("counts", "faded", "wealth", "pending", "recent"))
        for s in (early, late)
    ]
    assert sizes[0] == sizes[1]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.floats(width=64), min_size=3, max_size=3), min_size=1, max_size=40))
def test_no_float_whatever_gives_a_wealth_that_is_not_a_number(rows):
    state = update(REFERENCE, start(REFERENCE), np.array(rows, dtype=np.float64))
    wealth = stream_wealth(state.inputs)
    assert np.isfinite(wealth).all()
    assert (wealth >= 0).all()


def test_clean_traffic_raises_no_alarm(draw: Draw, reference: DriftReference):
    assert not update(reference, start(reference), draw(4000)).alarm


def test_a_shift_raises_an_alarm_that_says_when_it_began(draw: Draw, reference: DriftReference):
    rows = np.concatenate([draw(500), shifted(draw(60))])
    state = update(reference, start(reference), rows, at_us=np.arange(1, 561))
    assert state.alarm
    assert 450 <= state.inputs.since_requests <= 510
    assert state.inputs.since_us == state.inputs.since_requests


def test_a_broken_correlation_raises_an_alarm_though_each_feature_looks_as_before(draw, reference):
    rows = draw(500)
    rows[:, 1] = draw(500)[:, 1]
    assert update(reference, update(reference, start(reference), draw(500)), rows).alarm


def test_a_category_that_grows_in_the_middle_of_the_line_raises_an_alarm():
    contract = msgspec.structs.replace(
        numeric_contract(1), features=(msgspec.structs.replace(numeric_contract(1).features[0], kind="categorical"),)
    )
    chance, names = np.random.default_rng(3), np.array(list("abcde"), dtype=object)
    before = names[chance.choice(5, (2300, 1), p=[0.3, 0.25, 0.2, 0.15, 0.1])]
    after = names[chance.choice(5, (800, 1), p=[0.2, 0.17, 0.46, 0.1, 0.07])]
    reference = build_reference(contract, before[:300], seed=1)
    clean = update(reference, start(reference), before[300:])
    assert not clean.alarm
    assert update(reference, clean, after).alarm


def alarmed(draw: Draw, reference: DriftReference) -> DriftState:
    state = update(reference, start(reference), np.concatenate([draw(500), shifted(draw(100))]))
    assert state.alarm
    return state


def test_the_alarm_stays_while_the_change_stays(draw, reference):
    state = update(reference, alarmed(draw, reference), shifted(draw(5000)))
    assert state.alarm
    assert state.inputs.since_requests is not None


def test_the_alarm_ends_by_itself_once_all_is_clean_for_a_while(draw, reference):
    state = update(reference, alarmed(draw, reference), draw(BLOCK * CLEAN_BLOCKS - 10))
    assert state.alarm
    state = update(reference, state, draw(1500))
    assert not state.alarm
    assert state.inputs.since_requests is None


def test_an_acknowledged_alarm_is_silent_while_the_change_stays(draw, reference):
    state = msgspec.structs.replace(alarmed(draw, reference))
    quiet = msgspec.structs.replace(state, inputs=acknowledge(state.inputs, 77))
    later = update(reference, quiet, shifted(draw(300)))
    assert not later.alarm
    assert later.inputs.acknowledged_us == 77


def test_another_change_raises_another_alarm_after_an_acknowledgement(draw, reference):
    state = alarmed(draw, reference)
    quiet = msgspec.structs.replace(state, inputs=acknowledge(state.inputs, 77))
    later = update(reference, quiet, shifted(draw(300)) + np.array([0.0, 0.0, 2.0]))
    assert later.alarm
    assert later.inputs.acknowledged_us is None


def test_a_change_that_came_back_after_an_all_clear_alarms_again(draw, reference):
    state = alarmed(draw, reference)
    state = msgspec.structs.replace(state, inputs=acknowledge(state.inputs, 77))
    state = update(reference, state, draw(2000))
    assert state.inputs.acknowledged_us is None
    assert update(reference, state, shifted(draw(100))).alarm


def test_without_an_alarm_there_is_nothing_to_acknowledge(reference):
    state = start(reference).inputs
    assert acknowledge(state, 5) is state


def test_answers_are_watched_like_inputs(draw, reference):
    rows = draw(400)
    outputs = Outputs(class_ids=np.full(400, 2), probabilities=np.tile([0.0, 0.0, 1.0], (400, 1)))
    state = update(reference, start(reference), rows, outputs)
    assert not state.inputs.alarm
    assert state.outputs is not None
    assert state.outputs.alarm
    assert state.alarm


def test_values_that_the_reference_never_had_raise_an_alarm_though_they_are_few(draw, reference):
    rows = draw(400).astype(object)
    rows[::12, 2] = None
    assert update(reference, update(reference, start(reference), draw(500)), rows).alarm


@pytest.mark.parametrize("sign", [-8.0, 8.0])
def test_one_outlier_in_a_hundred_is_proven_with_2500_reference_rows(sign):
    chance = np.random.default_rng(3)
    reference = build_reference(numeric_contract(1), chance.normal(size=(2500, 1)), seed=1)
    rows = chance.normal(size=(1500, 1))
    rows[50::100] = sign
    assert update(reference, start(reference), rows).alarm


@pytest.mark.parametrize("factor", [0.5, 3.0, 1e300])
def test_the_wealth_is_capped_after_each_block(factor):
    e_values = np.random.default_rng(1).uniform(0, 2 * factor, size=(40, 2, 3))
    e_values[20:] = 0.5
    before, found = np.full((2, 3), 5.0), wealth_after(np.full((2, 3), 5.0), e_values, 10, 1e6)
    for e_value, after in zip(e_values, found, strict=True):
        before = np.minimum(e_value * (before + 10), 1e6)
        assert after.tolist() == before.tolist()
