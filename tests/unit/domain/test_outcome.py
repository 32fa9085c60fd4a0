import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.contract import Feature, FeatureContract
from app.domain.outcome import label_of, reward_of
from app.errors import InvalidRequest


def of_classes(*names):
    return FeatureContract(task="classification", target="y", features=(Feature(name="a"),), classes=names)


# More digits than Python writes out.
ENDLESS = pytest.param(10**5000, id="endless")
FLOWERS = of_classes("setosa", "versicolor", "virginica")
GRADES = of_classes("1", "2", "3")
FLAGS = of_classes("False", "True")
PRICES = FeatureContract(task="regression", target="y", features=(Feature(name="a"),))


@pytest.mark.parametrize(
    ("actual", "class_id"), [("setosa", 0), (0, 0), (0.0, 0), (-0.0, 0), ("virginica", 2), (2, 2), (1.0, 1)]
)
def test_where_no_class_is_a_number_a_number_is_a_class_id(actual, class_id):
    assert label_of(actual, FLOWERS) == class_id
    assert type(label_of(actual, FLOWERS)) is int


@pytest.mark.parametrize(("actual", "class_id"), [(1, 0), (2, 1), (3, 2), (3.0, 2), ("2", 1), ("2.0", 1)])
def test_where_classes_are_numbers_a_number_is_the_class_whatever_its_position(actual, class_id):
    assert label_of(actual, GRADES) == class_id
    assert type(label_of(actual, GRADES)) is int


def test_a_number_that_names_one_class_and_is_the_id_of_another_is_the_name():
    assert label_of(0, of_classes("setosa", "versicolor", "0")) == 2


@pytest.mark.parametrize("actual", [True, "True", "true", "TRUE", 1, 1.0, "1"])
def test_where_classes_are_booleans_true_is_named_in_any_spelling(actual):
    assert label_of(actual, FLAGS) == 1
    assert label_of(actual, of_classes("true", "false")) == 0


@pytest.mark.parametrize(("actual", "class_id"), [(False, 0), (True, 1), ("false", 0), (1, 1)])
def test_the_classes_0_and_1_may_be_named_as_booleans(actual, class_id):
    assert label_of(actual, of_classes("0", "1")) == class_id


@pytest.mark.parametrize(
    "actual", ["rose", "0", 3, -1, 0.5, True, None, [], {}, 1e300, math.nan, math.inf, 10**400, ENDLESS, "Setosa"]
)
def test_an_unknown_class_is_refused_with_the_classes_and_their_ids(actual):
    with pytest.raises(InvalidRequest, match=r"classes are setosa \(0\), versicolor \(1\)") as refused:
        label_of(actual, FLOWERS)
    assert refused.value.field == "actual"


@pytest.mark.parametrize("actual", ["one", 0, 4, -1, 1.5, True, None, [], math.nan, ENDLESS])
def test_an_unknown_number_is_refused_with_the_classes_alone(actual):
    with pytest.raises(InvalidRequest, match=r"classes are 1, 2, 3$") as refused:
        label_of(actual, GRADES)
    assert refused.value.field == "actual"


@pytest.mark.parametrize(
    ("names", "actual", "words"),
    [
        (("1", "2", "3"), 0, "0 is no class: a number is read as the name of a class here"),
        (("01", "02"), 1, "1 is no class: a number is read as the name of a class here"),
        (("no", "yes"), True, "true is no class: none is a boolean"),
        (("no", "yes"), 2, "2 is no class and no class id"),
        (("no", "yes"), 0.5, "0.5 is no class and no class id"),
        (("false", "true"), 2, "2 is no class and no class id; classes are false, true"),
        (("N/A", "false", "true"), 1, "1 may mean more than one class: give its name as a string"),
        (("no", "yes"), None, "must be the name of a class"),
    ],
)
def test_a_refused_label_is_told_why(names, actual, words):
    with pytest.raises(InvalidRequest, match=words):
        label_of(actual, of_classes(*names))


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
