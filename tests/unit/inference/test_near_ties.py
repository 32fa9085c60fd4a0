"""Near-ties are settled to the estimator's own class, and exported trees give its probabilities to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from app.inference.builder import onnx_runtime
from app.inference.export.conversion import candidates_for, files_of, settlement_of
from app.inference.export.trees import tree_model
from app.inference.near_ties import settler_of
from app.inference.sklearn_runtime import SklearnRuntime
from tests.unit.inference.published import VARIANTS, data, numeric_contract, uniform_rows


def settled(model, rows):
    """What the exported settlement says of these rows."""
    settlement = settlement_of(model, tree_model(model))
    settle = settler_of(settlement.kind, settlement.arrays, lambda asked: asked.astype(np.float32).astype(np.float64))
    return settle(rows)


@pytest.mark.parametrize("dataset", ["iris", "wine", "breast_cancer"])
@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(30, random_state=1),
        ExtraTreesClassifier(20, random_state=1),
        DecisionTreeClassifier(random_state=1),
    ],
)
def test_exported_forests_give_the_estimators_bits(dataset, model):
    rows, target = data(dataset)
    model.fit(rows, target)
    asked = uniform_rows(rows, 300)
    outputs = settled(model, asked)
    np.testing.assert_array_equal(outputs.probabilities, model.predict_proba(asked))
    np.testing.assert_array_equal(outputs.class_ids, model.predict(asked))


@pytest.mark.parametrize("dataset", ["iris", "breast_cancer"])
@pytest.mark.parametrize("init", [None, "zero"])
def test_exported_boosting_gives_the_estimators_classes(dataset, init):
    rows, target = data(dataset)
    model = GradientBoostingClassifier(n_estimators=10, init=init, random_state=1).fit(rows, target)
    asked = uniform_rows(rows, 300)
    np.testing.assert_array_equal(settled(model, asked).class_ids, model.predict(asked))


@pytest.mark.parametrize("dataset", ["iris", "breast_cancer"])
def test_exported_coefficients_give_the_estimators_classes(dataset):
    rows, target = data(dataset)
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    model = LogisticRegression().fit(rows, target)
    settlement = settlement_of(model, None)
    settle = settler_of(settlement.kind, settlement.arrays, lambda asked: asked)
    np.testing.assert_array_equal(settle(rows).class_ids, model.predict(rows))


def test_missing_values_take_the_branch_that_training_gave_them():
    rows, target = data("iris")
    gaps = np.where(np.random.default_rng(1).random(rows.shape) < 0.2, np.nan, rows)
    model = RandomForestClassifier(30, random_state=1).fit(gaps, target)
    np.testing.assert_array_equal(settled(model, gaps).probabilities, model.predict_proba(gaps))


def test_many_rows_are_walked_in_blocks_with_one_result():
    rows, target = data("iris")
    model = RandomForestClassifier(100, random_state=1).fit(rows, target)
    asked = uniform_rows(rows, 450)
    np.testing.assert_array_equal(settled(model, asked).probabilities, model.predict_proba(asked))


def test_an_initial_model_of_its_own_is_left_to_the_estimator():
    rows, target = data("iris")
    model = GradientBoostingClassifier(n_estimators=2, init=DecisionTreeClassifier(max_depth=1)).fit(rows, target)
    assert settlement_of(model, tree_model(model)).kind == "estimator"


def test_the_estimators_own_word_is_its_prediction():
    rows, target = data("wine")
    model = VARIANTS["gradient_boosting"]().set_params(n_estimators=5).fit(rows, target)
    outputs = SklearnRuntime("v1", model, numeric_contract(rows, 3)).predict(rows)
    np.testing.assert_array_equal(outputs.class_ids, model.predict(rows))


def test_where_rounding_alone_decides_a_tie_it_decides_as_in_scikit_learn():
    """Two features that speak against each other with equal force: sums that should be equal differ in the last bit."""
    cells = np.repeat([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], 10, axis=0)
    target = np.concatenate([np.arange(10) < count for count in (5, 9, 1, 5)]).astype(int)
    torn, contract, by_a_bit = np.array([[1.0, 1.0], [0.0, 0.0]]), numeric_contract(cells, 2), 0
    for seed in (9, 12, 22, 29):
        forest = RandomForestClassifier(20, max_depth=1, max_features=1, bootstrap=False, random_state=seed)
        candidate = next(candidates_for(forest.fit(cells, target), contract))
        runtime = onnx_runtime("v1", contract, files_of(candidate, candidate.convert()), lambda: None)
        assert runtime.predict(torn).class_ids.tolist() == forest.predict(torn).tolist()
        gaps = np.abs(np.diff(forest.predict_proba(torn)))
        by_a_bit += int(((gaps > 0) & (gaps < 1e-15)).any())
    assert by_a_bit
