"""Models made of other models are served by ONNX with scikit-learn's answers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from app.inference.loader import load_version
from app.inference.publication import publish
from app.inference.registry import ModelRegistry
from tests.unit.inference.published import KEY, data, draft, numeric_contract, uniform_rows


def logistic():
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def forest():
    return RandomForestClassifier(5, random_state=0)


def members():
    return [("forest", forest()), ("logistic", logistic()), ("boosting", HistGradientBoostingClassifier(max_iter=5))]


def values():
    return [("forest", RandomForestRegressor(10, random_state=0)), ("ridge", make_pipeline(StandardScaler(), Ridge()))]


CLASSIFIERS = {
    "calibrated pipeline": lambda: CalibratedClassifierCV(logistic(), cv=2),
    "calibrated forest": lambda: CalibratedClassifierCV(forest(), cv=2),
    "calibrated boosting": lambda: CalibratedClassifierCV(HistGradientBoostingClassifier(max_iter=5), cv=2),
    "calibrated, isotonic": lambda: CalibratedClassifierCV(logistic(), method="isotonic", cv=2),
    "calibrated votes": lambda: CalibratedClassifierCV(make_pipeline(StandardScaler(), LinearSVC()), cv=2),
    "voting": lambda: VotingClassifier(members(), voting="soft", weights=[1, 2, 3]),
    "voting without one": lambda: VotingClassifier([*members(), ("none", "drop")], voting="soft", weights=[1, 2, 3, 9]),
    "stacking": lambda: StackingClassifier(members(), cv=2),
    "stacking with the rows": lambda: StackingClassifier(
        members(), final_estimator=RandomForestClassifier(5, random_state=0), cv=2, passthrough=True
    ),
    "search": lambda: GridSearchCV(logistic(), {"logisticregression__C": [0.1, 1]}, cv=2),
    "search over boosting": lambda: RandomizedSearchCV(
        HistGradientBoostingClassifier(max_iter=5), {"max_depth": [2, 3]}, n_iter=2, cv=2
    ),
}


def served(folder, estimator, rows, contract):
    """The manifest and the runtime of the estimator, published with its rows."""
    registry = ModelRegistry(folder, KEY)
    manifest = publish(registry, estimator, draft(rows, contract), random=300)
    return manifest, load_version(registry, "v1").runtime


@pytest.mark.parametrize("dataset", ["wine", "breast_cancer"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_of_others_is_served_by_onnx(tmp_path, name, dataset):
    rows, target = data(dataset)
    estimator = CLASSIFIERS[name]().fit(rows, target)
    manifest, runtime = served(tmp_path, estimator, rows, numeric_contract(rows, len(set(target))))
    asked = uniform_rows(rows, 500)
    outputs = runtime.predict(asked)
    assert manifest.runtime == "onnx", manifest.parity.reason
    np.testing.assert_array_equal(outputs.class_ids, estimator.predict(asked))
    assert np.abs(outputs.probabilities - estimator.predict_proba(asked)).max() < 1e-6


@pytest.mark.parametrize(
    "make",
    [
        lambda: VotingRegressor(values(), weights=[1, 3]),
        lambda: StackingRegressor(values(), cv=2),
        lambda: TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1),
    ],
    ids=["voting", "stacking", "transformed"],
)
def test_a_regressor_of_others_is_served_by_onnx(tmp_path, make):
    rows, target = data("diabetes")
    estimator = make().fit(rows, target)
    manifest, runtime = served(tmp_path, estimator, rows, numeric_contract(rows))
    assert manifest.runtime == "onnx", manifest.parity.reason
    np.testing.assert_allclose(runtime.predict(rows).values, estimator.predict(rows), rtol=1e-5)


def test_a_frozen_model_is_served_as_what_is_in_it(tmp_path):
    rows, target = data("wine")
    estimator = FrozenEstimator(forest().fit(rows, target))
    assert served(tmp_path, estimator, rows, numeric_contract(rows, 3))[0].runtime == "onnx"


def test_a_threshold_that_decides_otherwise_than_the_probabilities_stays_with_scikit_learn(tmp_path):
    rows, target = data("breast_cancer")
    estimator = FixedThresholdClassifier(logistic(), threshold=0.05).fit(rows, target)
    manifest, runtime = served(tmp_path, estimator, rows, numeric_contract(rows, 2))
    assert manifest.runtime == "sklearn"
    asked = uniform_rows(rows, 300)
    np.testing.assert_array_equal(runtime.predict(asked).class_ids, estimator.predict(asked))
