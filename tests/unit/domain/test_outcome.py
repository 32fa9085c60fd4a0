import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.contract import Feature, FeatureContract
from app.domain.outcome import label_of, reward_of
from app.errors import InvalidRequest

FLOWERS = FeatureContract(
    task="classification", target="y", features=(Feature(name="a"),), classes=("setosa", "versicolor", "0")
)
PRICES = FeatureContract(task="regression", target="y", features=(Feature(name="a"),))


@pytest.mark.parametrize(
    ("actual", "class_id"), [("setosa", 0), (0, 0), (0.0, 0), (-0.0, 0), ("0", 2), (2, 2), (1.0, 1)]
)
def test_a_string_names_a_class_and_a_number_is_a_class_id(actual, class_id):
    assert label_of(actual, FLOWERS) == class_id
    assert type(label_of(actual, FLOWERS)) is int


@pytest.mark.parametrize(
    "actual", ["rose", 3, -1, 0.5, True, None, [], {}, 1e300, math.nan, math.inf, 10**400, "Setosa"]
)
def test_an_unknown_class_is_refused_with_the_classes(actual):
    with pytest.raises(InvalidRequest, match=r"setosa \(0\), versicolor \(1\)") as refused:
        label_of(actual, FLOWERS)
    assert refused.value.field == "actual"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_the_truth_of_a_regression(actual):
    assert label_of(actual, PRICES) == actual


@pytest.mark.parametrize("actual", ["1.5", True, None, math.nan, math.inf, 10**400])
def test_a_regression_wants_a_finite_number(actual):
    with pytest.raises(InvalidRequest, match="number"):
        label_of(actual, PRICES)


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf, 10**400, "1", True, None])
def test_a_reward_that_is_no_finite_number_is_refused(reward):
    with pytest.raises(InvalidRequest) as refused:
        reward_of(reward)
    assert refused.value.field == "reward"


@pytest.mark.parametrize("reward", [-1e9, -0.01, 0, 0.5, 1, 1.01, 1e300])
def test_a_reward_is_any_finite_number_whatever_range_is_declared(reward):
    assert reward_of(reward) == reward
    assert type(reward_of(reward)) is float


def test_a_reward_of_minus_zero_is_zero():
    assert str(reward_of(-0.0)) == "0.0"
