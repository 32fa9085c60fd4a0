"""Outcomes as columns give what the outcomes one by one give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.log_event import OutcomeRow
from app.domain.log_outcomes import as_outcomes, outcomes_of

OUTCOMES = st.builds(
    OutcomeRow,
    seq=st.integers(1, 99),
    prediction_id=st.text(max_size=3),
    kind=st.sampled_from(["actual", "reward"]),
    outcome=st.sampled_from(["0", "1", "0.5"]),
    received_at_us=st.integers(0, 2**50),
    version_ordinal=st.integers(0, 3),
    epoch=st.integers(0, 3),
    counts=st.booleans(),
    randomised=st.booleans(),
    answer=st.floats(0, 2),
    user_hash=st.integers(0, 2**48 - 1),
    predictions_seen=st.integers(0, 99),
    corrected=st.none() | st.just("2"),
)


@given(st.lists(OUTCOMES, min_size=1), st.data())
def test_a_field_of_some_is_that_of_each(rows, data):
    places = data.draw(st.lists(st.integers(0, len(rows) - 1)))
    found, own = as_outcomes(rows).take(np.array(places, np.int64)), [rows[place] for place in places]
    assert [*found] == own == [found[place] for place in range(len(found))]
    assert found.array("seq").tolist() == [row.seq for row in own] == [*found.column("seq")]
    assert [*found.present] == [row.present for row in own]
    assert found.are_labels.tolist() == [row.kind == "actual" for row in own]
    assert found.are_corrected.tolist() == [row.corrected is not None for row in own]


@given(st.lists(OUTCOMES), st.lists(OUTCOMES))
def test_the_outcomes_of_one_come_behind_those_of_another(some, others):
    assert as_outcomes(some).and_then(as_outcomes(others)) == some + others


@pytest.mark.parametrize("number", [0, 2])
def test_outcomes_without_corrections_are_not_corrected(number):
    row = OutcomeRow(
        1, "p", "actual", "0", 5, 1, 1, counts=True, randomised=True, answer=0.0, user_hash=0, predictions_seen=3
    )
    columns = [[getattr(row, name)] * number for name in OutcomeRow.__struct_fields__[:-3]]
    assert [*outcomes_of(columns)] == [row] * number
