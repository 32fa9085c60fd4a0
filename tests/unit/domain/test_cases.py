import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.cases import case_facts
from app.domain.contract import Feature, FeatureContract
from app.domain.experiment import MOST_COVARIATES, CaseFacts, CovariateColumn


def contract(*kinds):
    features = tuple(Feature(name=f"f{index}", kind=kind) for index, kind in enumerate(kinds))
    return FeatureContract(task="classification", target="y", features=features, classes=("no", "yes"))


def numbers(*rows):
    return np.array(rows, dtype=np.float64)


def mixed(*rows):
    table = np.empty((len(rows), len(rows[0])), dtype=object)
    table[:] = rows
    return table


TWO_NUMBERS = contract("numeric", "numeric")
BOTH = contract("categorical", "numeric")


@pytest.mark.parametrize(
    ("rows", "share"),
    [
        (numbers([1, 2], [1, 3], [2, 2]), 0.0),
        (numbers([1, 2], [1, 2], [2, 2], [1, 2]), 0.75),
        (numbers([1, np.nan], [1, np.nan], [1, 2], [2, 1]), 0.5),
        (numbers([0.0, 1], [-0.0, 1], [5, 5], [6, 6]), 0.5),
        (numbers([1, 2], [1, 2], [3, 3]), 0.666667),
    ],
)
def test_the_share_of_rows_that_stand_there_more_than_once(rows, share):
    assert case_facts(TWO_NUMBERS, rows).repeated_share == share


@pytest.mark.parametrize(
    ("rows", "share"),
    [
        (mixed(["a", 1.0], ["b", 1.0]), 0.0),
        (mixed(["a", 1.0], ["a", 1.0], [None, 2.0], ["b", 2.0]), 0.5),
        (mixed([None, float("nan")], [None, float("nan")]), 1.0),
    ],
)
def test_rows_with_categories_are_compared_alike(rows, share):
    assert case_facts(BOTH, rows).repeated_share == share


def test_numbers_are_standardised_by_mean_and_standard_deviation():
    columns = case_facts(TWO_NUMBERS, numbers([1, 10], [3, np.nan], [5, 30])).covariates
    assert columns == (
        CovariateColumn(feature=0, mean=3.0, scale=1.63299),
        CovariateColumn(feature=1, mean=20.0, scale=10.0),
    )


def test_a_large_mean_keeps_the_digits_that_its_scale_needs():
    (column,) = case_facts(contract("numeric"), numbers([1_700_000_000.25], [1_700_000_002.25])).covariates
    assert (column.mean, column.scale) == (1_700_000_001.25, 1.0)


@pytest.mark.parametrize("values", [[7.0, 7.0], [np.nan, np.nan], [np.nan, 7.0], [0.1 + 0.2, 0.3]])
def test_a_constant_number_is_no_covariate(values):
    assert case_facts(contract("numeric"), numbers(*([value] for value in values))).covariates == ()


def test_categories_follow_the_numbers_with_the_most_frequent_first():
    kinds = contract("categorical", "numeric", "categorical")
    rows = mixed(["a", 1.0, "x"], ["b", 2.0, "x"], ["a", 3.0, "x"], [None, 4.0, "y"], ["c", 4.0, None])
    found = [(column.feature, column.level) for column in case_facts(kinds, rows).covariates]
    assert found == [(1, None), (2, "x"), (0, "a"), (0, "b"), (0, "c"), (2, "y")]


def test_a_category_of_all_rows_is_no_covariate():
    assert [c.feature for c in case_facts(BOTH, mixed(["a", 1.0], ["a", 2.0])).covariates] == [1]


def test_there_are_at_most_64_columns():
    rows = mixed(*([f"level{index}", float(index)] for index in range(100)))
    columns = case_facts(BOTH, rows).covariates
    assert (len(columns), columns[0].feature, columns[1].level) == (MOST_COVARIATES, 1, "level0")


def test_without_rows_nothing_is_known():
    assert case_facts(TWO_NUMBERS, np.empty((0, 2))) == CaseFacts()


@given(st.lists(st.floats(-3e38, 3e38), min_size=2, max_size=20))
def test_any_numbers_give_a_column_that_standardises_them_or_none(values):
    for column in case_facts(contract("numeric"), numbers(*([value] for value in values))).covariates:
        standard = (np.array(values) - column.mean) / column.scale
        assert standard.mean() == pytest.approx(0, abs=1e-4)
        assert standard.std() == pytest.approx(1, abs=1e-4)


def test_texts_are_no_covariates():
    text = Feature("review", kind="categorical", open_categories=True)
    city = Feature("city", kind="categorical", categories=("Rome",), open_categories=True)
    both = FeatureContract("classification", "y", (text, city), ("no", "yes"))
    facts = case_facts(both, mixed(["a good film", "Rome"], ["a bad film", "Oslo"], ["a film", "Rome"]))
    assert [(column.feature, column.level) for column in facts.covariates] == [(1, "Rome"), (1, "Oslo")]
