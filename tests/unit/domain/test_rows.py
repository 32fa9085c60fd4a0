import contextlib
import json
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


VALUES = finite | st.integers() | st.booleans() | st.none() | st.sampled_from(["1", 1e39, 10**400, -0.0, [1.0], {}])
ANY_ROWS = st.lists(st.lists(VALUES, min_size=4, max_size=4) | st.lists(VALUES, max_size=5) | VALUES, max_size=4)


@given(st.lists(st.lists(finite | st.integers(-(2**70), 2**70), min_size=4, max_size=4), min_size=1) | ANY_ROWS)
def test_json_is_decoded_to_the_rows_of_its_values_or_left_to_whoever_names_the_fault(rows):
    parser = RowParser(IRIS)
    found = parser.decoded(json.dumps(rows).encode())
    if found is not None and rows:
        np.testing.assert_array_equal(found, parser.rows(json.loads(json.dumps(rows))), strict=True)
    else:
        with pytest.raises((InvalidFeatures, InvalidRequest)):
            parser.rows(rows)


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


FLAGS = FeatureContract(
    task="regression",
    target="price",
    features=(Feature(name="area"), Feature(name="garden", boolean=True), Feature(name="lift", choices=(0.0, 1.0))),
)
WORDS = FeatureContract(
    task="regression",
    target="price",
    features=(
        Feature(name="garden", kind="categorical", categories=("False", "True")),
        Feature(name="lift", kind="categorical", categories=("true",), nullable=True),
        Feature(name="note", kind="categorical", categories=("true", "false", "unknown")),
    ),
)
MEMBERS = FeatureContract(
    task="regression", target="y", features=(Feature(name="age"), *(Feature(name=n, boolean=True) for n in "abc"))
)


@pytest.mark.parametrize(("value", "number"), [(True, 1.0), (False, 0.0), (1, 1.0), (0.0, 0.0), ("TRUE", 1.0)])
def test_a_boolean_feature_that_is_a_number_is_given_as_a_boolean_in_any_spelling(value, number):
    expected = [[70.0, number, number]]
    np.testing.assert_array_equal(RowParser(FLAGS).row([70, value, value]), expected)
    np.testing.assert_array_equal(RowParser(FLAGS).rows([{"area": 70, "garden": value, "lift": value}]), expected)


@pytest.mark.parametrize("value", [True, 1, 1.0, "True", "true", "TRUE"])
def test_a_boolean_feature_with_words_gets_the_words_of_its_training_data(value):
    assert RowParser(WORDS).row([value, value, "true"]).tolist() == [["True", "true", "true"]]


@pytest.mark.parametrize(
    ("contract", "row", "field", "words"),
    [
        (FLAGS, [True, True, True], "area", "must be a number, got a boolean"),
        (FLAGS, [70, 0.5, 1], "garden", r"must be true or false \(or 1 or 0\), got a number"),
        (FLAGS, [70, 2, 1], "garden", "must be true or false"),
        (FLAGS, [70, math.nan, 1], "garden", "must be true or false"),
        (FLAGS, [70, "yes", 1], "garden", "got a string"),
        (FLAGS, [70, "1", 1], "garden", "got a string"),
        (FLAGS, [70, None, 1], "garden", "must not be null"),
        (FLAGS, [70, 1, 2], "lift", "must be true or false"),
        (WORDS, ["maybe", True, "true"], "garden", "has no category 'maybe'; known are False, True"),
        (WORDS, [2, True, "true"], "garden", "must be true or false"),
        (WORDS, [True, False, "true"], "lift", "has no category 'false'; known are true"),
        (WORDS, [True, True, True], "note", "must be a string, got a boolean"),
        (MEMBERS, [1, True, False, 2], "c", "must be true or false"),
        (MEMBERS, [True, True, False, 0], "age", "must be a number, got a boolean"),
    ],
)
def test_what_is_no_boolean_is_refused_by_name(contract, row, field, words):
    with pytest.raises(InvalidFeatures, match=words) as alone:
        RowParser(contract).row(row)
    with pytest.raises(InvalidFeatures, match=f"row 0: .*{words}") as batched:
        RowParser(contract).rows([row])
    assert alone.value.field == batched.value.field == field


@given(st.lists(st.tuples(finite, *[st.sampled_from([True, False, 0, 1, 0.0, 1.0])] * 3), min_size=1, max_size=9))
def test_a_batch_with_booleans_is_its_rows_one_under_another(values):
    parser, rows = RowParser(MEMBERS), [list(row) for row in values]
    batch = parser.rows(rows)
    assert batch.dtype == np.float64
    np.testing.assert_array_equal(batch, np.vstack([parser.row(row) for row in rows]))
    np.testing.assert_array_equal(batch, np.array(rows, dtype=np.float64))


def test_known_categories_are_quoted_where_their_spaces_would_not_be_seen():
    spaced = Feature(name="work", kind="categorical", categories=(" State-gov", "Private", "New York", ""))
    with pytest.raises(InvalidFeatures) as refused:
        RowParser(FeatureContract("regression", "y", (spaced,))).row(["State-gov"])
    assert refused.value.message.endswith("no category 'State-gov'; known are ' State-gov', Private, New York, ''")


CELLS = {
    "number": finite | st.integers(-5, 5) | st.sampled_from([-0.0, True, "1", None, 1e39, 10**400]),
    "gappy": finite | st.none() | st.sampled_from([-0.0, "x", 1e39]),
    "choice": st.sampled_from([0, 1.0, 2, -0.0, 3, None, True]),
    "colour": st.sampled_from(["red", "blue", "green", None, 1, [], {}]),
    "maybe": st.sampled_from(["red", None, "blue", False]),
    "flag": st.sampled_from([True, False, 1, 0.0, "true", "no", 2, None]),
}
EVERY_KIND = FeatureContract(
    task="regression",
    target="price",
    features=(
        Feature(name="number"),
        Feature(name="gappy", nullable=True),
        Feature(name="choice", choices=(0.0, 1.0, 2.0)),
        Feature(name="colour", kind="categorical", categories=("red", "blue")),
        Feature(name="maybe", kind="categorical", categories=("red",), nullable=True, open_categories=True),
        Feature(name="flag", choices=(0.0, 1.0)),
    ),
)


def parsed(parse, given):
    """What a parser says: values as text, which tells zeros and types apart, or the refusal."""
    try:
        return repr(parse(given).tolist())
    except InvalidFeatures as error:
        return error.message, error.field


@given(st.lists(st.tuples(*CELLS.values()).map(list), min_size=1, max_size=4))
def test_a_batch_of_mixed_columns_is_its_rows_or_the_refusal_of_the_first_bad_one(rows):
    parser = RowParser(EVERY_KIND)
    alone = [parsed(parser.row, row) for row in rows]
    refused = [(f"row {place}: {each[0]}", each[1]) for place, each in enumerate(alone) if type(each) is tuple]
    assert parsed(parser.rows, rows) == (refused[0] if refused else f"[{', '.join(each[1:-1] for each in alone)}]")
