import joblib
import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from app.errors import DataRefused
from app.training.columns import categorical, numeric, typed
from app.training.encoders import Encoding
from app.training.external_model import ExternalModel, describe, truth_for
from app.training.external_reference import as_fitted, columns_for
from app.training.sources.files import load_model

X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0]])


def model(labels=("a", "b"), columns=None, width=None, task="classification"):
    return ExternalModel(estimator=None, task=task, labels=labels, columns=columns, width=width)


def test_a_fitted_pipeline_says_what_it_is(tmp_path):
    path = tmp_path / "model.joblib"
    joblib.dump(make_pipeline(StandardScaler(), LogisticRegression()).fit(X, ["n", "n", "y", "y"]), path)
    loaded = load_model(path)
    assert (loaded.task, loaded.labels, loaded.columns, loaded.width) == ("classification", ("n", "y"), None, 2)


def test_a_regressor_has_no_labels():
    assert describe(LinearRegression().fit(X, X[:, 0]), "m").task == "regression"


@pytest.mark.parametrize(
    ("thing", "complaint"),
    [
        ({"model": 1}, "holds a dict"),
        (LogisticRegression, "holds a LogisticRegression, which is not a fitted model"),
        (LogisticRegression(), "is not fitted"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "is not fitted"),
        (KMeans(2, n_init=1).fit(X), "neither a classifier nor a regressor"),
        (KNeighborsClassifier(1).fit(X, X.astype(int)), "several outputs"),
        (StandardScaler().fit(X), "no predict"),
    ],
)
def test_what_cannot_serve_is_refused(thing, complaint):
    with pytest.raises(DataRefused, match=complaint):
        describe(thing, "model.joblib")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x05cno_such_module\nThing\n."])
def test_a_file_that_cannot_be_unpickled_is_refused(tmp_path, content):
    path = tmp_path / "model.joblib"
    path.write_bytes(content)
    with pytest.raises(DataRefused, match="cannot be loaded"):
        load_model(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataRefused, match="there is no file"):
        load_model(tmp_path / "none.joblib")


def test_columns_are_taken_by_name_in_the_order_of_the_model():
    data = [numeric("id", np.zeros(1)), numeric("sepal_width", np.ones(1)), numeric("b", np.zeros(1))]
    chosen = columns_for(model(columns=("b", "sepal width (cm)")), data)
    assert [column.name for column in chosen.columns] == ["b", "sepal width (cm)"]
    assert chosen.columns[1].values.tolist() == [1.0]
    assert chosen.extra == ("id",)


def test_missing_columns_are_named():
    with pytest.raises(DataRefused, match="lacks columns that the model reads: c, d"):
        columns_for(model(columns=("a", "c", "d")), [numeric("a", np.zeros(1))])


def test_without_names_the_number_of_columns_must_be_right():
    data = [numeric("a", np.zeros(1)), numeric("b", np.zeros(1))]
    assert columns_for(model(width=2), data).columns == tuple(data)
    with pytest.raises(DataRefused, match=r"takes 3 columns; .* 2: a, b"):
        columns_for(model(width=3), data)


def test_numbers_are_text_where_the_model_knows_them_as_text():
    column = as_fitted(typed("zip", ["100", "200"]), Encoding(categories=("100", "200"), accepts_others=False))
    assert column.values.tolist() == ["100", "200"]


@pytest.mark.parametrize("known", [("True", "False"), ("true", "false")])
def test_booleans_are_spelt_as_the_model_knows_them(known):
    column = as_fitted(typed("flag", ["TRUE", "false", None]), Encoding(categories=known, accepts_others=False))
    assert column.values.tolist() == [*known, None]


def test_booleans_that_no_encoder_takes_as_text_are_0_and_1():
    values = as_fitted(typed("flag", ["True", "False"]), None).values
    assert values.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("labels", "cells", "ids"),
    [
        (("a", "b"), ["b", "a"], [1, 0]),
        ((0, 1), ["1", "0.0"], [1, 0]),
        ((1.5, 2.0), ["2", "1.50"], [1, 0]),
        ((False, True), ["true", "False"], [1, 0]),
        (("false", "true"), ["True", "FALSE"], [1, 0]),
        (("1", "2"), ["2", "1"], [1, 0]),
    ],
)
def test_labels_are_found_however_they_are_written(labels, cells, ids):
    truth = truth_for(model(labels), typed("y", cells))
    assert truth.class_ids.tolist() == ids
    assert truth.classes == tuple(str(label) for label in labels)


@pytest.mark.parametrize(
    ("labels", "cells", "unknown"),
    [(("a", "b"), ["a", "z"], "'z'"), ((0, 1), ["0", "setosa"], "'setosa'"), (("yes", "no"), ["Yes"], "'Yes'")],
)
def test_unknown_labels_are_refused_with_those_that_are_known(labels, cells, unknown):
    with pytest.raises(DataRefused, match=f"{unknown}; the classes are {labels[0]}, {labels[1]}"):
        truth_for(model(labels), categorical("y", cells))


def test_a_regressor_needs_numbers():
    with pytest.raises(DataRefused, match="is not numbers"):
        truth_for(model(task="regression"), categorical("y", ["a", "b"]))


def test_an_id_of_a_model_that_is_fitted_on_nothing_but_labels_is_its_position():
    estimator = DecisionTreeClassifier().fit(X, [30, 10, 20, 10])
    assert truth_for(describe(estimator, "m"), typed("y", ["10", "30"])).class_ids.tolist() == [0, 2]
