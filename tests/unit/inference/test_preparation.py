"""The steps before the model, repeated in NumPy, give scikit-learn's numbers to the last bit."""

from __future__ import annotations

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

from app.inference.export.steps import split_pipeline
from app.inference.plan import NotExportable, RuntimePlan, decoded_plan, encoded_plan
from app.inference.preparation import preparation_of

GENERATOR = np.random.default_rng(3)
NUMBERS = GENERATOR.normal(size=(60, 3)) * [1.0, 1e6, 1e-6]
GAPS = np.where(GENERATOR.random(NUMBERS.shape) < 0.2, np.nan, NUMBERS)
WORDS = np.array([["red", "s"], ["blue", "m"], ["green", "l"]], dtype=object)[GENERATOR.integers(3, size=60)]
MIXED = np.concatenate([GAPS.astype(object), WORDS], axis=1)


def prepared(transformer, rows):
    """The exported steps' output, after a round trip through the plan's JSON."""
    steps, _ = split_pipeline(make_pipeline(transformer, LogisticRegression()))
    plan = decoded_plan(encoded_plan(RuntimePlan(preparation=steps)))
    return preparation_of(plan.preparation)(rows)


@pytest.mark.parametrize(
    "transformer",
    [
        StandardScaler(),
        StandardScaler(with_mean=False),
        StandardScaler(with_std=False),
        RobustScaler(),
        MinMaxScaler((-1, 3)),
        MaxAbsScaler(),
        FunctionTransformer(),
        make_pipeline(SimpleImputer(), StandardScaler()),
        make_pipeline("passthrough", MinMaxScaler(), RobustScaler()),
        ColumnTransformer([("a", StandardScaler(), [2, 0]), ("b", "drop", [1])]),
        ColumnTransformer([("a", MinMaxScaler(), slice(0, 2))], remainder="passthrough"),
        ColumnTransformer([("a", "passthrough", np.array([False, True, False]))], remainder=StandardScaler()),
    ],
)
def test_numeric_steps_are_repeated_exactly(transformer):
    expected = transformer.fit(NUMBERS).transform(NUMBERS)
    np.testing.assert_array_equal(prepared(transformer, NUMBERS), expected)


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent"])
def test_missing_numbers_are_filled_as_scikit_learn_fills_them(strategy):
    imputer = SimpleImputer(strategy=strategy).fit(GAPS)
    np.testing.assert_array_equal(prepared(imputer, GAPS), imputer.transform(GAPS))


@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(),
        OneHotEncoder(drop="first"),
        OneHotEncoder(drop="if_binary", sparse_output=False),
        OrdinalEncoder(),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    ],
)
def test_categories_are_encoded_exactly(encoder):
    transformer = make_column_transformer((SimpleImputer(), [0, 1, 2]), (encoder, [3, 4]), sparse_threshold=0).fit(
        MIXED
    )
    np.testing.assert_array_equal(prepared(transformer, MIXED), transformer.transform(MIXED))


def test_columns_chosen_by_name_are_found():
    frame = pd.DataFrame(NUMBERS, columns=["a", "b", "c"])
    transformer = make_column_transformer((StandardScaler(), ["c", "a"]), ("passthrough", ["b"])).fit(frame)
    np.testing.assert_array_equal(prepared(transformer, NUMBERS), transformer.transform(frame))


def test_an_unknown_category_is_ignored_where_the_encoder_ignores_it():
    encoder = OneHotEncoder(handle_unknown="ignore").fit(WORDS)
    unseen = np.array([["violet", "m"]], dtype=object)
    np.testing.assert_array_equal(prepared(encoder, unseen), encoder.transform(unseen).toarray())


def test_an_unknown_category_raises_where_the_encoder_does():
    encoder = OneHotEncoder().fit(WORDS)
    with pytest.raises(ValueError, match="violet"):
        prepared(encoder, np.array([["violet", "m"]], dtype=object))


def test_a_missing_category_is_a_category_where_the_encoder_learnt_it():
    words = np.array([["a"], [np.nan], ["b"]], dtype=object)
    encoder = OneHotEncoder().fit(words)
    asked = np.array([[None], ["b"]], dtype=object)
    np.testing.assert_array_equal(prepared(encoder, asked), [[0, 0, 1], [0, 1, 0]])


@pytest.mark.parametrize(
    "transformer",
    [
        PCA(2),
        MinMaxScaler(clip=True),
        FunctionTransformer(np.abs),
        SimpleImputer(missing_values=0.0),
        SimpleImputer(add_indicator=True),
        OneHotEncoder(max_categories=2),
        ColumnTransformer([("a", StandardScaler(), [0])], transformer_weights={"a": 2.0}),
    ],
)
def test_what_cannot_be_repeated_exactly_is_not_exported(transformer):
    with pytest.raises(NotExportable):
        prepared(transformer.fit(NUMBERS), NUMBERS)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e30, 1e30), min_size=3, max_size=3))
def test_any_row_is_scaled_to_the_same_bits(row):
    scaler = StandardScaler().fit(NUMBERS)
    rows = np.array([row])
    np.testing.assert_array_equal(prepared(scaler, rows), scaler.transform(rows))


def test_a_plan_that_is_not_one_is_refused():
    with pytest.raises(msgspec.DecodeError):
        decoded_plan(b'{"settling": "by luck"}')
