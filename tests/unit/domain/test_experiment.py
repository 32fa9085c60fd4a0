import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.experiment import normalised
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
