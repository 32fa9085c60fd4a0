from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.drift.detector_state import HEAD_START, Mode
from app.drift.errors import RISES, ErrorState, acknowledge_errors, advance_errors, declared_anew, error_e_value

LEVEL = 2e6
START = ErrorState(wrong=5, labelled=100, declared=True)


def labels(share: float, number: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(number) < share


@given(st.integers(0, 300), st.integers(0, 300), st.sampled_from(RISES))
def test_no_chance_of_an_error_up_to_the_exchangeable_one_gives_a_mean_above_one(errors, right, rise):
    rows = errors + right
    values = [error_e_value(wrong, errors, rows, rise) for wrong in (False, True)]
    for chance in (errors / (rows + 1), (errors + 1) / (rows + 1)):
        assert chance * values[1] + (1 - chance) * values[0] <= 1 + 1e-12


def test_an_error_is_evidence_and_a_right_answer_is_evidence_against():
    assert error_e_value(True, 4, 99, 2.0) == pytest.approx(2.0)
    assert error_e_value(False, 4, 99, 2.0) == pytest.approx(0.9 / 0.96)


def test_as_many_errors_as_before_raise_no_alarm():
    assert not advance_errors(START, labels(0.05, 5000), level=LEVEL).alarm


def test_more_errors_raise_an_alarm_that_stays():
    state = advance_errors(START, labels(0.05, 300), level=LEVEL)
    state = advance_errors(state, labels(0.4, 300), level=LEVEL, at_us=np.arange(1, 301))
    assert state.alarm
    assert 0 < state.since_us < 100


def test_labels_that_are_not_declared_exogenous_are_evidence_and_raise_no_alarm():
    state = advance_errors(msgspec.structs.replace(START, declared=False), labels(0.5, 300), level=LEVEL)
    assert (state.alarm, state.mean_wealth >= LEVEL) == (False, True)


def test_evidence_of_labels_from_before_the_declaration_does_not_count():
    state = advance_errors(msgspec.structs.replace(START, declared=False), labels(0.5, 300), level=LEVEL)
    state = declared_anew(state, 5, 100)
    assert (state.mean_wealth, state.labelled, state.seen) == (HEAD_START, 100, 300)


def test_a_standing_alarm_outlives_a_declaration():
    state = advance_errors(START, labels(0.5, 200), level=LEVEL)
    assert declared_anew(msgspec.structs.replace(state, declared=False), 5, 100) == state


def test_the_alarm_ends_after_enough_labels_as_before():
    state = advance_errors(START, labels(0.5, 200), level=LEVEL)
    assert state.alarm
    state = advance_errors(state, labels(0.02, 800), level=LEVEL)
    assert (state.mode, state.since_us) == (Mode.QUIET, None)


def test_an_acknowledged_alarm_is_silent():
    state = acknowledge_errors(advance_errors(START, labels(0.5, 200), level=LEVEL), 9)
    assert not state.alarm
    assert state.acknowledged_us == 9
    assert acknowledge_errors(START, 9) is START


def test_labels_in_batches_give_the_same_state():
    wrong = labels(0.2, 90)
    whole = advance_errors(START, wrong, level=LEVEL)
    parts = advance_errors(advance_errors(START, wrong[:31], level=LEVEL), wrong[31:], level=LEVEL)
    assert parts == whole
    assert msgspec.json.decode(msgspec.json.encode(whole), type=ErrorState) == whole


def test_the_wealth_starts_with_the_head_start_and_stays_bounded():
    assert START.mean_wealth == HEAD_START
    assert advance_errors(START, np.ones(3000, dtype=bool), level=LEVEL).mean_wealth <= 20 * LEVEL
