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


@pytest.mark.parametrize("reward", [-0.01, 1.01, math.nan, "1", True, None])
def test_a_reward_outside_its_declared_range_is_refused(reward):
    with pytest.raises(InvalidRequest) as refused:
        reward_of(reward, (0.0, 1.0))
    assert refused.value.field == "reward"


def test_a_reward_without_a_range_is_any_finite_number():
    assert reward_of(-1e9, None) == -1e9
    assert str(reward_of(-0.0, None)) == "0.0"
