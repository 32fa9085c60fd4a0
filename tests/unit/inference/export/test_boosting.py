"""Models of LightGBM, XGBoost and CatBoost: served by ONNX with their own answers, else by the library itself."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from app.domain.contract import Feature, FeatureContract
from app.errors import DataRefused
from app.inference.export.boosting import boosting_graph, is_boosting
from app.inference.loader import load_version
from app.inference.plan import NotExportable
from app.inference.publication import publish
from app.inference.registry import ModelRegistry
from tests.unit.inference.published import KEY, data, draft, numeric_contract, uniform_rows

QUIET = {
    "lightgbm": {"n_estimators": 8, "verbose": -1},
    "xgboost": {"n_estimators": 8},
    "catboost": {"iterations": 8, "verbose": 0, "allow_writing_files": False},
}
CLASS_OF = {"lightgbm": "LGBM", "xgboost": "XGB", "catboost": "CatBoost"}
LIBRARIES = tuple(QUIET)


def model(library: str, kind: str = "Classifier", **settings):
    """A model of that library, not fitted; the test is skipped where the package is not installed."""
    package = pytest.importorskip(
        library, reason=f"NOT CHECKED: {library} is not installed (requirements-boosting.txt)"
    )
    return getattr(package, f"{CLASS_OF[library]}{kind}")(**QUIET[library], **settings)


def published(folder, estimator, rows, contract):
    """The manifest and the runtime of the estimator, published with its rows."""
    registry = ModelRegistry(folder, KEY)
    manifest = publish(registry, estimator, draft(rows, contract), random=500)
    return manifest, load_version(registry, "v1").runtime


@pytest.mark.parametrize("dataset", ["wine", "breast_cancer"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_classifier_is_served_by_onnx_with_its_own_answers(tmp_path, library, dataset):
    rows, target = data(dataset)
    estimator = model(library).fit(rows, target)
    manifest, runtime = published(tmp_path, estimator, rows, numeric_contract(rows, len(set(target))))
    asked = uniform_rows(rows, 1_000)
    outputs = runtime.predict(asked)
    assert (manifest.runtime, manifest.parity.holds) == ("onnx", True)
    np.testing.assert_array_equal(outputs.class_ids, np.ravel(estimator.predict(asked)))
    assert np.abs(outputs.probabilities - estimator.predict_proba(asked)).max() < 1e-6


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_regressor_is_served_by_onnx(tmp_path, library):
    rows, target = data("diabetes")
    estimator = model(library, "Regressor").fit(rows, target)
    manifest, runtime = published(tmp_path, estimator, rows, numeric_contract(rows))
    assert manifest.runtime == "onnx"
    np.testing.assert_allclose(runtime.predict(rows).values, estimator.predict(rows), rtol=1e-5)


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
@pytest.mark.parametrize(
    "around",
    [
        lambda inner: make_pipeline(StandardScaler(), inner),
        lambda inner: make_pipeline(PCA(5, random_state=0), inner),
        lambda inner: GridSearchCV(inner, {"max_depth": [2, 3]}, cv=2),
        lambda inner: CalibratedClassifierCV(inner, cv=2),
    ],
    ids=["scaler", "pca", "search", "calibrated"],
)
def test_inside_another_model_it_is_served_by_onnx_too(tmp_path, library, around):
    rows, target = data("wine")
    estimator = around(model(library)).fit(rows, target)
    manifest, runtime = published(tmp_path, estimator, rows, numeric_contract(rows, 3))
    assert manifest.runtime == "onnx", manifest.parity.reason
    np.testing.assert_array_equal(runtime.predict(rows).class_ids, estimator.predict(rows))


def people() -> tuple[pd.DataFrame, np.ndarray]:
    """120 people with a number and a category, and 0 or 1 for each."""
    generator = np.random.default_rng(0)
    age = generator.integers(18, 80, 120).astype(float)
    city = generator.choice(["Basel", "Bern", "Zug"], 120)
    target = ((age > 40) ^ (city == "Bern")).astype(int)
    return pd.DataFrame({"age": age, "city": city}), target


def people_contract() -> FeatureContract:
    cities = Feature(name="city", kind="categorical", categories=("Basel", "Bern", "Zug"), open_categories=True)
    age = Feature(name="age", minimum=18.0, maximum=79.0, median=40.0)
    return FeatureContract(task="classification", target="y", features=(age, cities), classes=("no", "yes"))


def test_pandas_categories_of_lightgbm_are_served_by_onnx_unknown_ones_too(tmp_path):
    frame, target = people()
    estimator = model("lightgbm", min_child_samples=5).fit(frame.astype({"city": "category"}), target)
    rows = frame.to_numpy(dtype=object)
    manifest, runtime = published(tmp_path, estimator, rows, people_contract())
    unknown = np.array([[30.0, "Chur"], [60.0, "Chur"]], dtype=object)
    asked = pd.DataFrame(
        {"age": [30.0, 60.0], "city": pd.Categorical([None, None], categories=["Basel", "Bern", "Zug"])}
    )
    assert manifest.runtime == "onnx", manifest.parity.reason
    assert runtime.predict(unknown).class_ids.tolist() == estimator.predict(asked).tolist()


def test_pandas_categories_of_xgboost_are_answered_by_xgboost(tmp_path):
    frame, target = people()
    as_categories = frame.astype({"city": "category"})
    estimator = model("xgboost", enable_categorical=True).fit(as_categories, target)
    contract = people_contract()
    closed = FeatureContract(
        "classification",
        "y",
        (contract.features[0], Feature("city", "categorical", categories=("Basel", "Bern", "Zug"))),
        ("no", "yes"),
    )
    rows = frame.to_numpy(dtype=object)
    manifest, runtime = published(tmp_path, estimator, rows, closed)
    assert (manifest.runtime, "categories" in manifest.parity.reason) == ("sklearn", True)
    assert runtime.predict(rows).class_ids.tolist() == estimator.predict(as_categories).tolist()


def test_categories_of_catboost_are_answered_by_catboost(tmp_path):
    frame, target = people()
    estimator = model("catboost", cat_features=["city"]).fit(frame, target)
    rows = frame.to_numpy(dtype=object)
    manifest, runtime = published(tmp_path, estimator, rows, people_contract())
    assert (manifest.runtime, "CatBoost exports no graph" in manifest.parity.reason) == ("sklearn", True)
    assert runtime.predict(rows).class_ids.tolist() == estimator.predict(frame).tolist()


def test_a_lightgbm_regressor_of_few_trees_is_served_by_onnx_too(tmp_path):
    rows, target = data("diabetes")
    estimator = model("lightgbm", "Regressor").set_params(n_estimators=3).fit(rows, target)
    manifest, runtime = published(tmp_path, estimator, rows, numeric_contract(rows))
    assert manifest.runtime == "onnx", manifest.parity.reason
    np.testing.assert_allclose(runtime.predict(rows).values, estimator.predict(rows), rtol=1e-5)


def with_zeros() -> tuple[np.ndarray, np.ndarray]:
    """Rows with zeros, that the class depends on: a model that takes them for missing values learns it."""
    rows = np.random.default_rng(3).normal(size=(300, 2)).round(2)
    rows[::4, 0] = 0.0
    return rows, ((rows[:, 0] == 0) | (rows[:, 1] > 1)).astype(int)


@pytest.mark.parametrize(
    ("library", "settings"),
    [("lightgbm", {"zero_as_missing": True}), ("xgboost", {"missing": 0.0}), ("xgboost", {"missing": -999.0})],
)
def test_a_number_that_is_taken_for_a_missing_value_is_for_the_library_to_answer(tmp_path, library, settings):
    rows, target = with_zeros()
    estimator = model(library, **settings).fit(rows, target)
    # None of these rows has the number: the comparison alone would not show that graphs do not know it.
    manifest, runtime = published(tmp_path, estimator, rows[1::4], numeric_contract(rows[1::4], 2))
    asked = np.concatenate([rows, [[0.0, 0.0], [-999.0, 2.0], [2.0, -999.0]]])
    assert (manifest.runtime, "missing value" in manifest.parity.reason) == ("sklearn", True)
    np.testing.assert_array_equal(runtime.predict(asked).class_ids, estimator.predict(asked))


@pytest.mark.parametrize("labels", [("z", "m", "a"), (7, 0, 3)])
def test_classes_in_an_order_of_catboosts_own_are_not_mixed_up(tmp_path, labels):
    rows, target = data("wine")
    estimator = model("catboost", class_names=list(labels)).fit(rows, np.array(labels)[target])
    _, runtime = published(tmp_path, estimator, rows, numeric_contract(rows, 3))
    asked = uniform_rows(rows, 300)
    answers = np.array([str(label) for label in labels])[runtime.predict(asked).class_ids]
    assert answers.tolist() == [str(label) for label in np.ravel(estimator.predict(asked))]


def _objective(truth, scores):
    shares = 1 / (1 + np.exp(-scores))
    return shares - truth, shares * (1 - shares)


@pytest.mark.parametrize(
    ("library", "objective", "complaint"),
    [
        ("lightgbm", _objective, "none of its classes"),
        ("xgboost", _objective, "no probabilities but scores"),
        ("xgboost", "binary:logitraw", "no probabilities but scores"),
        ("xgboost", "reg:squarederror", "no probabilities but scores"),
    ],
)
def test_scores_of_an_objective_are_refused_as_probabilities(tmp_path, library, objective, complaint):
    rows, target = with_zeros()
    estimator = model(library, objective=objective).fit(rows, target)
    with pytest.raises(DataRefused, match=complaint):
        published(tmp_path, estimator, rows, numeric_contract(rows, 2))


def test_without_onnxmltools_the_reason_says_what_to_install(monkeypatch):
    rows, target = data("wine")
    estimator = model("lightgbm").fit(rows, target)
    for name in [name for name in sys.modules if name.startswith("onnxmltools.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnxmltools", None)
    with pytest.raises(NotExportable, match=r"onnxmltools.*requirements-boosting\.txt"):
        boosting_graph(estimator)


def test_a_subclass_is_not_taken_for_the_librarys_own_class():
    inner = type(model("lightgbm"))
    assert is_boosting(inner())
    assert not is_boosting(type("Own", (inner,), {"__module__": "somewhere"})())
