from __future__ import annotations

import numpy as np
import pytest

from app.domain.prediction import Outputs
from app.drift.reference import build_reference
from app.drift.watch import acknowledge_all, fits, start, update, update_labels, update_outputs, watched_streams
from tests.unit.drift.drift_samples import numeric_contract


def test_all_streams_of_a_version_share_one_promise(reference):
    assert watched_streams(reference) == 3 + 1 + 3 + 2 + 1


@pytest.mark.parametrize("window", [500, 37])
def test_a_state_fits_its_own_reference_and_no_other(draw, reference, window):
    state = update(reference, start(reference, window), draw(25))
    other = build_reference(numeric_contract(3), draw(200), seed=3)
    assert fits(reference, state)
    assert not fits(other, state)


def test_one_acknowledgement_is_for_all_alarms(draw, reference):
    state = update(reference, start(reference), draw(100) + 4.0)
    state = update_labels(reference, state, np.ones(100, dtype=bool))
    assert (state.inputs.alarm, state.errors.alarm, state.alarms) == (True, True, 2)
    quiet = acknowledge_all(state, 5)
    assert not quiet.alarm
    assert quiet.alarms == 2


def test_answers_of_another_kind_than_the_reference_has_are_left_out(reference):
    state = start(reference)
    assert update_outputs(reference, state, Outputs(values=np.ones(20))) == state


def test_no_rows_change_nothing(reference):
    state = start(reference)
    assert (
        update(reference, state, np.empty((0, 3)), Outputs(class_ids=np.array([]), probabilities=np.empty((0, 3))))
        == state
    )
