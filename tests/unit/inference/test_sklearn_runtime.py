"""The original estimator is asked once for a row where that gives the same answer, in the form that it needs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from app.domain.contract import Feature, FeatureContract
from app.errors import ModelFailed
from app.inference.estimators import decides_by_probability, forget_names
from app.inference.export.parity import random_rows
from app.inference.fitted_inputs import fitted_names, inputs_of
from app.inference.loader import load_version
from app.inference.plan import decoded_plan
from app.inference.publication import publish
from app.inference.registry import ModelRegistry
from app.inference.sklearn_runtime import SklearnRuntime, may_ask_once
from tests.unit.inference.published import KEY, data, draft, numeric_contract, uniform_rows

ROWS, TARGET = data("wine")
CONTRACT = numeric_contract(ROWS, 3)


class Counted(KNeighborsClassifier):
    """Counts how often each method is called from outside."""

    def predict(self, x):
        self.calls = [*getattr(self, "calls", []), "predict"]
        return super().predict(x)

    def predict_proba(self, x):
        self.calls = [*getattr(self, "calls", []), "predict_proba"]
        return super().predict_proba(x)


def test_a_row_takes_one_call_and_a_near_tie_two():
    estimator = Counted(2).fit(np.array([[0.0], [1.0], [10.0], [11.0]]), [0, 0, 1, 1])
    runtime = SklearnRuntime("v1", estimator, numeric_contract(np.zeros((1, 1)), 2), asks_once=True)
    assert runtime.predict(np.array([[0.5]])).class_ids.tolist() == [0]
    assert estimator.calls == ["predict_proba"]
    runtime.predict(np.array([[5.5]]))
    assert estimator.calls[1:3] == ["predict_proba", "predict"]


@pytest.mark.parametrize(
    ("model", "by_probability"),
    [
        (KNeighborsClassifier(), True),
        (make_pipeline(StandardScaler(), LogisticRegression()), True),
        (SVC(probability=True), False),
        (make_pipeline(StandardScaler(), SVC(probability=True)), False),
        (FixedThresholdClassifier(LogisticRegression(), threshold=0.3), False),
        (OneVsRestClassifier(LogisticRegression()), False),
        (Counted(), False),
    ],
)
def test_only_models_that_are_known_to_decide_by_probability_are_asked_once(model, by_probability):
    assert decides_by_probability(model) is by_probability


def test_stacking_decides_as_its_last_model_and_a_search_as_its_best():
    stacked = StackingClassifier([("k", KNeighborsClassifier())], final_estimator=SVC(probability=True), cv=2)
    searched = GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [1, 3]}, cv=2)
    assert not decides_by_probability(stacked.fit(ROWS, TARGET))
    assert decides_by_probability(searched.fit(ROWS, TARGET))


def test_a_model_whose_classes_differ_on_one_row_is_asked_for_both():
    estimator = KNeighborsClassifier(3).fit(ROWS, TARGET)
    outputs = SklearnRuntime("v1", estimator, CONTRACT).predict(ROWS)
    assert may_ask_once(estimator, CONTRACT, ROWS, outputs)
    outputs.class_ids[7] = (outputs.class_ids[7] + 1) % 3
    assert not may_ask_once(estimator, CONTRACT, ROWS, outputs)


@pytest.mark.parametrize(
    ("model", "once"),
    [(KNeighborsClassifier(3, weights="distance"), True), (SVC(probability=True, random_state=0), False)],
)
def test_the_version_keeps_what_publishing_found(tmp_path, model, once):
    registry = ModelRegistry(tmp_path, KEY)
    model.fit(ROWS, TARGET)
    assert publish(registry, model, draft(ROWS, CONTRACT), random=2_000).runtime == "sklearn"
    files = registry.verified("v1").files
    assert ("plan.json" in files and decoded_plan(files["plan.json"]).asks_once) is once
    asked = uniform_rows(ROWS, 500)
    outputs = load_version(registry, "v1").runtime.predict(asked)
    np.testing.assert_array_equal(outputs.class_ids, model.predict(asked))


def test_a_model_of_numbers_forgets_names_only_where_no_part_needs_them():
    frame = pd.DataFrame(ROWS[:, :2], columns=["a", "b"])
    plain = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, TARGET)
    by_name = make_pipeline(make_column_transformer((StandardScaler(), ["b"])), LogisticRegression()).fit(frame, TARGET)
    forget_names(plain)
    forget_names(by_name)
    assert fitted_names(plain) is None
    assert fitted_names(by_name) == ("a", "b")


def test_a_served_version_that_forgot_the_names_gives_the_same_answers(tmp_path):
    frame = pd.DataFrame(ROWS, columns=[f"f{index}" for index in range(ROWS.shape[1])])
    model = KNeighborsClassifier(3, weights="distance").fit(frame, TARGET)
    registry = ModelRegistry(tmp_path, KEY)
    publish(registry, model, draft(ROWS, CONTRACT), random=200)
    assert fitted_names(model) is not None
    np.testing.assert_array_equal(load_version(registry, "v1").runtime.predict(ROWS).class_ids, model.predict(frame))


def test_a_frame_has_the_columns_that_the_model_was_fitted_on():
    model = LogisticRegression(max_iter=5000).fit(pd.DataFrame(ROWS[:, :2], columns=["a", "b"]), TARGET)
    frame = inputs_of(model, numeric_contract(ROWS[:, :2], 3))(ROWS[:5, :2])
    assert list(frame.columns) == ["a", "b"]
    np.testing.assert_array_equal(frame.to_numpy(), ROWS[:5, :2])


def test_random_rows_have_only_choices_booleans_and_gaps_that_a_request_can_carry():
    features = (
        Feature("code", choices=(1.0, 4.0)),
        Feature("flag", boolean=True, minimum=0.0, maximum=1.0),
        Feature("gaps", boolean=True, minimum=0.0, maximum=1.0, nullable=True),
        Feature("free", minimum=0.0, maximum=1.0),
    )
    contract = FeatureContract("classification", "y", features, ("a", "b"))
    drawn = random_rows(contract, np.zeros((2, 4)), 500, seed=1)
    assert set(drawn[:, 0]) == {1.0, 4.0}
    assert set(drawn[:, 1]) == {0.0, 1.0}
    assert np.isnan(drawn[:, 2]).any()
    assert set(drawn[~np.isnan(drawn[:, 2]), 2]) == {0.0, 1.0}
    assert len(set(drawn[:, 3])) > 400


class Answering:
    """A model of another library, whose answers are given: `predict` and `predict_proba` for any rows."""

    def __init__(self, classes, labels, probabilities):
        self.classes_, self._labels, self._probabilities = classes, labels, probabilities

    def predict(self, rows):
        return np.array(self._labels)

    def predict_proba(self, rows):
        return np.array(self._probabilities)


def answer_of(*given):
    return SklearnRuntime("v1", Answering(*given), numeric_contract(np.zeros((2, 1)), 2)).predict(np.zeros((2, 1)))


@pytest.mark.parametrize("classes", [["b", "a"], np.array(["b", "a"], dtype=object), np.array([7, 0])])
def test_a_class_id_is_the_place_in_the_models_own_order(classes):
    assert answer_of(classes, list(classes), [[1.0, 0.0], [0.0, 1.0]]).class_ids.tolist() == [0, 1]


@pytest.mark.parametrize("label", [0.5, -3, 9, np.nan])
def test_an_answer_that_is_none_of_the_classes_is_a_failure(label):
    with pytest.raises(ModelFailed, match=f"predict gives {label!s}.*none of its classes"):
        answer_of(np.array([0, 1]), [0, label], [[1.0, 0.0], [0.0, 1.0]])


@pytest.mark.parametrize("probabilities", [[0.1, 0.9], [[0.1], [0.9]], [[0.1, 0.2, 0.7]] * 2])
def test_answers_without_a_probability_for_each_class_are_a_failure(probabilities):
    with pytest.raises(ModelFailed, match="predict_proba gives the shape"):
        answer_of(np.array([0, 1]), [0, 1], probabilities)


def test_several_answers_for_a_row_are_a_failure():
    with pytest.raises(ModelFailed, match="predict gives 4 answers for 2 rows"):
        answer_of(np.array([0, 1]), [[0, 1], [1, 0]], [[1.0, 0.0], [0.0, 1.0]])
