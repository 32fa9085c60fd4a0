import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.experiment import CaseFacts, SlowLimit, normalised, slow_limit
from app.errors import InvalidRequest

weights = st.dictionaries(st.from_regex(r"v[0-9]{1,3}", fullmatch=True), st.floats(0, 1e308), min_size=1, max_size=6)


@given(weights.filter(lambda given: max(given.values()) > 0))
def test_shares_sum_to_one_and_keep_their_order_of_size(given_weights):
    shares = normalised(given_weights)
    assert math.isclose(sum(shares.values()), 1.0, rel_tol=1e-12)
    assert list(shares) == list(given_weights)
    by_size = [shares[version] for version in sorted(given_weights, key=given_weights.get)]
    assert by_size == sorted(by_size)


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"v1": -1, "v2": 2}, "v1"),
        ({"v1": 1, "v2": math.nan}, "v2"),
        ({"v1": math.inf}, "v1"),
        ({"v1": "50"}, "v1"),
        ({"v1": True}, "v1"),
        ({"v1": 0, "v2": 0}, "weights"),
        ({}, "weights"),
    ],
)
def test_bad_weights_name_the_version(bad, field):
    with pytest.raises(InvalidRequest) as refused:
        normalised(bad)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("1.5x+1ms", SlowLimit(1.5, 1000.0)),
        ("2x", SlowLimit(2.0, 0.0)),
        ("+5ms", SlowLimit(1.0, 5000.0)),
        (" 400X+250US ", SlowLimit(400.0, 250.0)),
        ("1x+0.5s", SlowLimit(1.0, 500_000.0)),
        ("off", None),
    ],
)
def test_what_is_slow_is_a_factor_and_an_allowance(text, limit):
    assert slow_limit(text) == limit


@pytest.mark.parametrize("text", ["", "2", "5ms", "x", "0.9x", "-1x", "2x+", "2x+5", "2x+5m", "2x 5ms", "nanx", "1e9x"])
def test_what_says_nothing_about_slow_answers_is_refused(text):
    with pytest.raises(InvalidRequest) as refused:
        slow_limit(text)
    assert refused.value.field == "guardrail_slow"


def test_slow_is_measured_against_the_baseline():
    assert SlowLimit(1.5, 1000.0).above(400.0) == 1600.0


@pytest.mark.parametrize(("share", "are"), [(None, False), (0.0, True), (0.02, True), (0.0201, False)])
def test_a_row_is_a_case_where_few_rows_of_the_reference_stand_in_it_twice(share, are):
    assert CaseFacts(repeated_share=share).rows_are_cases is are
