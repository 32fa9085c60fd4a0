import contextlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.contract import Feature, FeatureContract
from app.domain.rows import LARGEST_FLOAT32, RowParser
from app.errors import InvalidFeatures, InvalidRequest

IRIS = FeatureContract(
    task="classification",
    target="species",
    features=tuple(Feature(name=name) for name in ("sepal_length", "sepal_width", "petal_length", "petal_width")),
    classes=("setosa", "versicolor", "virginica"),
)
MIXED = FeatureContract(
    task="regression",
    target="price",
    features=(
        Feature(name="area", nullable=True),
        Feature(name="city", kind="categorical", categories=("Oslo", "Bergen")),
        Feature(name="heating", kind="categorical", categories=("gas",), nullable=True, open_categories=True),
    ),
)
finite = st.floats(min_value=-LARGEST_FLOAT32, max_value=LARGEST_FLOAT32)


@given(st.lists(finite, min_size=4, max_size=4))
def test_an_array_and_an_object_give_the_same_row(values):
    parser = RowParser(IRIS)
    by_name = dict(zip(reversed(IRIS.names), reversed(values), strict=True))
    np.testing.assert_array_equal(parser.row(values), np.array([values]))
    np.testing.assert_array_equal(parser.row(by_name), parser.row(values))


@given(st.lists(st.lists(finite, min_size=4, max_size=4), min_size=1, max_size=20))
def test_a_batch_is_its_rows_one_under_another(rows):
    parser = RowParser(IRIS)
    np.testing.assert_array_equal(parser.rows(rows), np.vstack([parser.row(row) for row in rows]))


@pytest.mark.parametrize(
    ("row", "field", "words"),
    [
        ([5.1, 3.5, 1.4], None, "expected 4 features"),
        ([], None, "expected 4 features"),
        ([5.1, 3.5, 1.4, "0.2"], "petal_width", "must be a number, got a string"),
        ([5.1, True, 1.4, 0.2], "sepal_width", "got a boolean"),
        ([5.1, None, 1.4, 0.2], "sepal_width", "must not be null"),
        ([5.1, [1], 1.4, 0.2], "sepal_width", "got an array"),
        ([5.1, math.nan, 1.4, 0.2], "sepal_width", "must be finite"),
        ([5.1, math.inf, 1.4, 0.2], "sepal_width", "must be finite"),
        ([5.1, 3.5, 1.4, 1e39], "petal_width", "overflows float32"),
        ([5.1, 3.5, 1.4, 10**400], "petal_width", "overflows float32"),
        ({"sepal_length": 1, "sepal_width": 1, "petal_length": 1}, "petal_width", "is missing"),
        ({**dict.fromkeys(IRIS.names, 1), "colour": 1}, "colour", "unknown feature"),
        ({"sepal_length": 1, "sepal_width": 1, "petal_length": 1, "x": 1}, "petal_width", "is missing"),
        ("5.1,3.5", None, "must be an array of 4 values or an object"),
        (5, None, "must be an array of 4 values or an object"),
        (None, None, "must be an array of 4 values or an object"),
    ],
)
def test_a_bad_row_is_refused_by_name_alone_and_in_a_batch(row, field, words):
    parser = RowParser(IRIS)
    with pytest.raises(InvalidFeatures, match=words) as alone:
        parser.row(row)
    with pytest.raises(InvalidFeatures, match=f"row 1: .*{words}") as batched:
        parser.rows([[1, 2, 3, 4], row])
    assert alone.value.field == batched.value.field == field
    assert batched.value.index == 1


def test_an_empty_batch_is_refused():
    with pytest.raises(InvalidRequest, match="empty"):
        RowParser(IRIS).rows([])


def test_categories_and_missing_values_have_their_place():
    row = RowParser(MIXED).row([None, "Oslo", None])
    assert math.isnan(row[0, 0])
    assert row[0, 1:].tolist() == ["Oslo", None]


def test_an_open_feature_takes_categories_it_has_not_seen():
    assert RowParser(MIXED).row([1, "Bergen", "steam"])[0, 2] == "steam"


@pytest.mark.parametrize(
    ("row", "field"), [([1, "Rome", "gas"], "city"), ([1, 3, "gas"], "city"), ([1, None, "gas"], "city")]
)
def test_a_closed_feature_refuses_what_it_does_not_know(row, field):
    with pytest.raises(InvalidFeatures) as refused:
        RowParser(MIXED).row(row)
    assert refused.value.field == field


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda kids: st.lists(kids, max_size=5)))
def test_whatever_comes_is_a_row_or_a_refusal(value):
    with contextlib.suppress(InvalidFeatures):
        assert RowParser(IRIS).row(value).shape == (1, 4)
