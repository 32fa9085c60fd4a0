import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from app.training.encoders import encodings

FRAME = pd.DataFrame({"age": [1.0, 2.0, 3.0, 4.0], "city": ["b", "a", "b", "a"], "code": [1, 2, 1, 2]})
LABELS = ["n", "y", "n", "y"]
NAMES = list(FRAME.columns)


def found(*parts, **options):
    transformer = ColumnTransformer(list(parts), **options)
    return encodings(make_pipeline(transformer, LogisticRegression()).fit(FRAME, LABELS), NAMES)


@pytest.mark.parametrize(
    ("encoder", "accepts_others"),
    [
        (OneHotEncoder(), False),
        (OneHotEncoder(handle_unknown="ignore"), True),
        (OneHotEncoder(handle_unknown="infrequent_if_exist"), True),
        (OrdinalEncoder(), False),
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), True),
        (TargetEncoder(cv=2), True),
    ],
)
def test_an_encoder_says_whether_it_copes_with_unknown_categories(encoder, accepts_others):
    encoding = found(("c", encoder, ["city"]))["city"]
    assert encoding.accepts_others is accepts_others
    assert encoding.categories == ("a", "b")


@pytest.mark.parametrize(
    "chosen",
    [["city"], [1], slice(1, 2), slice("city", "city"), [False, True, False], np.array([1]), lambda _: ["city"]],
)
def test_columns_may_be_chosen_in_any_way(chosen):
    assert set(found(("c", OneHotEncoder(), chosen))) == {"city"}


def test_numbers_that_are_encoded_as_categories_are_distinguished():
    encoding = found(("c", OneHotEncoder(), ["code"]))["code"]
    assert (encoding.categories, encoding.numbers, encoding.accepts_others) == ((), (1.0, 2.0), False)


def test_an_encoder_behind_an_imputer_is_found():
    nested = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder())
    assert set(found(("c", nested, ["city"]), remainder=StandardScaler())) == {"city"}


def test_what_stands_behind_a_mixing_step_is_not_guessed_at():
    nested = make_pipeline(OneHotEncoder(sparse_output=False), OrdinalEncoder())
    assert found(("c", nested, ["city"]))["city"].categories == ("a", "b")


def test_of_several_encoders_of_a_column_all_must_cope():
    both = FeatureUnion([("one", OneHotEncoder(handle_unknown="ignore")), ("two", OneHotEncoder())])
    assert not found(("c", both, ["city"]))["city"].accepts_others


def test_a_search_is_looked_into():
    pipeline = make_pipeline(ColumnTransformer([("c", OneHotEncoder(), ["city"])]), LogisticRegression())
    search = GridSearchCV(pipeline, {"logisticregression__C": [1.0]}, cv=2).fit(FRAME, LABELS)
    assert set(encodings(search, NAMES)) == {"city"}


def test_a_model_without_encoders_has_no_encodings():
    assert encodings(LogisticRegression().fit(FRAME[["age"]], LABELS), ["age"]) == {}
