"""Publishing: which runtime is chosen, and what the manifest says of it."""

from __future__ import annotations

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from app.domain.cases import case_facts
from app.domain.contract import Feature, FeatureContract
from app.domain.experiment import CaseFacts
from app.errors import DataRefused, RegistryConflict
from app.inference.loader import load_version
from app.inference.publication import described, publish
from app.inference.registry import ModelRegistry
from tests.unit.inference.published import KEY, Doubled, data, draft, numeric_contract

IRIS, SPECIES = data("iris")
DIABETES, PROGRESS = data("diabetes")
MIXED_CONTRACT = FeatureContract(
    task="classification",
    target="y",
    features=(
        Feature(name="size", source_name="Size (cm)", nullable=True),
        Feature(name="colour", source_name="Colour", kind="categorical", categories=("blue", "red"), nullable=True),
    ),
    classes=("no", "yes"),
)


@pytest.fixture
def registry(tmp_path):
    return ModelRegistry(tmp_path, KEY)


def published(registry, estimator, rows, contract):
    """The manifest and the loaded version."""
    manifest = publish(registry, estimator, draft(rows, contract), random=500)
    return manifest, load_version(registry, manifest.version)


def closed(contract):
    """The contract without missing categories."""
    size, colour = contract.features
    features = (size, msgspec.structs.replace(colour, nullable=False))
    return msgspec.structs.replace(contract, features=features)


def mixed_rows():
    generator = np.random.default_rng(5)
    rows = np.empty((200, 2), dtype=object)
    rows[:, 0] = np.where(generator.random(200) < 0.1, np.nan, generator.normal(size=200))
    rows[:, 1] = np.array(["red", "blue", None], dtype=object)[generator.integers(3, size=200)]
    target = ((rows[:, 1] == "red") ^ (rows[:, 0].astype(float) > 0)).astype(int)
    frame = pd.DataFrame({"Size (cm)": rows[:, 0].astype(float), "Colour": pd.Series(rows[:, 1], dtype=object)})
    return rows, frame.fillna({"Colour": np.nan}), target


def plan_of(registry):
    return msgspec.json.decode(registry.verified("v1").read("plan.json"))


@pytest.mark.parametrize(
    ("numbers", "model"),
    [
        (StandardScaler(), LogisticRegression()),
        ("passthrough", RandomForestClassifier(20, random_state=0)),
    ],
)
def test_a_pipeline_over_mixed_columns_is_served_by_onnx(registry, numbers, model):
    rows, frame, target = mixed_rows()
    words = make_pipeline(SimpleImputer(strategy="constant", fill_value="missing"), OneHotEncoder())
    columns = make_column_transformer((make_pipeline(SimpleImputer(), numbers), ["Size (cm)"]), (words, ["Colour"]))
    estimator = make_pipeline(columns, model).fit(frame, target)
    manifest, version = published(registry, estimator, rows, MIXED_CONTRACT)
    assert manifest.runtime == "onnx"
    np.testing.assert_array_equal(version.runtime.predict(rows).class_ids, estimator.predict(frame))
    np.testing.assert_array_equal(version.runtime.predict(rows[:1]).class_ids, estimator.predict(frame[:1]))


def test_steps_that_are_not_repeated_here_are_converted_with_one_input_a_column(registry):
    rows, frame, target = mixed_rows()
    known = np.flatnonzero(rows[:, 1] != None)  # noqa: E711 - elementwise
    contract = closed(MIXED_CONTRACT)
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), PCA(1)), ["Size (cm)"]), (OneHotEncoder(), ["Colour"])
    )
    estimator = make_pipeline(columns, LogisticRegression()).fit(frame.iloc[known], target[known])
    manifest, version = published(registry, estimator, rows[known], contract)
    assert (manifest.runtime, plan_of(registry)["layout"]) == ("onnx", "columns")
    expected = estimator.predict(frame.iloc[known])
    np.testing.assert_array_equal(version.runtime.predict(rows[known]).class_ids, expected)


def test_steps_that_choose_numeric_columns_by_name_are_converted_too(registry):
    frame = pd.DataFrame(IRIS, columns=["f0", "f1", "f2", "f3"])
    columns = make_column_transformer((PCA(2), ["f0", "f2"]), ("passthrough", ["f1"]))
    estimator = make_pipeline(columns, LogisticRegression(max_iter=1000)).fit(frame, SPECIES)
    manifest, _ = published(registry, estimator, IRIS, numeric_contract(IRIS, 3))
    assert (manifest.runtime, plan_of(registry)["layout"]) == ("onnx", "columns")


@pytest.mark.parametrize(
    "model",
    [
        RandomForestRegressor(20, random_state=0),
        GradientBoostingRegressor(n_estimators=20),
        make_pipeline(StandardScaler(), Ridge()),
    ],
)
def test_a_regressor_is_served_by_onnx_within_a_millionth(registry, model):
    model.fit(DIABETES, PROGRESS)
    manifest, version = published(registry, model, DIABETES, numeric_contract(DIABETES))
    values = version.runtime.predict(DIABETES).values
    assert manifest.runtime == "onnx"
    np.testing.assert_allclose(values, model.predict(DIABETES), rtol=1e-6)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (SVC(), "without probabilities"),
        (make_pipeline(Doubled(), LogisticRegression(max_iter=1000)), "Doubled"),
        (KNeighborsClassifier(3, weights="distance"), "differ"),
    ],
)
def test_what_onnx_cannot_repeat_is_served_by_scikit_learn_and_the_manifest_says_why(registry, model, reason):
    model.fit(IRIS, SPECIES)
    manifest, version = published(registry, model, IRIS, numeric_contract(IRIS, 3))
    assert (manifest.runtime, manifest.parity.holds, version.runtime_name) == ("sklearn", False, "sklearn")
    assert reason in manifest.parity.reason
    assert set(manifest.files) - {"plan.json"} == {"model.joblib", "reference.json"}
    np.testing.assert_array_equal(version.runtime.predict(IRIS).class_ids, model.predict(IRIS))


def test_missing_numbers_reach_a_forest_that_knows_them(registry):
    gaps = np.where(np.random.default_rng(1).random(IRIS.shape) < 0.1, np.nan, IRIS)
    model = RandomForestClassifier(30, random_state=0).fit(gaps, SPECIES)
    manifest, version = published(registry, model, gaps, numeric_contract(gaps, 3))
    assert manifest.runtime == "onnx"
    np.testing.assert_array_equal(version.runtime.predict(gaps).class_ids, model.predict(gaps))


def test_histogram_boosting_is_served_by_onnx(registry):
    with threadpool_limits(1):  # its threads spin while they wait
        model = HistGradientBoostingClassifier(max_iter=5).fit(IRIS, SPECIES)
        manifest, version = published(registry, model, IRIS, numeric_contract(IRIS, 3))
        expected = model.predict(IRIS)
    assert manifest.runtime == "onnx"
    np.testing.assert_array_equal(version.runtime.predict(IRIS).class_ids, expected)


def test_a_model_that_fails_on_random_rows_is_served_by_scikit_learn(registry):
    rows = np.array([[1.0], [2.0], [3.0]] * 10)
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(rows, rows[:, 0] > 1)
    manifest, _ = published(registry, model, rows, numeric_contract(rows, 2))
    assert manifest.runtime == "sklearn"
    assert "random rows" in manifest.parity.reason


def test_the_manifest_has_what_the_draft_said_and_what_was_used(registry):
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(IRIS, SPECIES)
    manifest, version = published(registry, model, IRIS, numeric_contract(IRIS, 3))
    assert manifest.estimator == "Pipeline(StandardScaler, LogisticRegression)"
    assert manifest.metrics == {"holdout": {"accuracy": 0.9}}
    assert {"python", "scikit-learn", "onnxruntime"} <= set(manifest.libraries)
    assert manifest.parity.rows == len(IRIS) + 500
    assert version.sha256 == manifest.files["model.joblib"].sha256
    assert version.manifest["version"] == "v1"


def test_the_manifest_has_the_facts_of_the_rows_it_was_published_with(registry):
    rows = np.concatenate([IRIS[:30], IRIS[:10]])
    model = LogisticRegression(max_iter=1000).fit(IRIS, SPECIES)
    _, version = published(registry, model, rows, numeric_contract(IRIS, 3))
    assert msgspec.convert(version.manifest["cases"], CaseFacts) == case_facts(version.contract, rows)
    assert version.manifest["cases"]["repeated_share"] == 0.5
    assert len(version.manifest["cases"]["covariates"]) == 4


def test_the_callers_estimator_is_left_as_it_was(registry):
    model = RandomForestClassifier(3, n_jobs=2).fit(IRIS, SPECIES)
    published(registry, model, IRIS, numeric_contract(IRIS, 3))
    assert model.n_jobs == 2


def test_a_taken_name_is_refused_before_anything_is_measured(registry):
    model = LogisticRegression(max_iter=1000).fit(IRIS, SPECIES)
    contract = numeric_contract(IRIS, 3)
    publish(registry, model, draft(IRIS, contract, "v1"), random=10)
    with pytest.raises(RegistryConflict):
        publish(registry, object(), draft(IRIS, contract, "v1"))


@pytest.mark.parametrize(
    ("estimator", "classes", "said"),
    [
        (StandardScaler().fit(IRIS), 3, "no `predict`"),
        (LogisticRegression(max_iter=1000).fit(IRIS, SPECIES), 2, "3 classes"),
        (LogisticRegression(max_iter=1000).fit(IRIS[:, :2], SPECIES), 3, "2 columns"),
        (Ridge().fit(IRIS, SPECIES), 3, "list of classes"),
        (LogisticRegression(), 3, "list of classes"),
    ],
)
def test_an_estimator_in_other_terms_than_the_contract_is_refused(registry, estimator, classes, said):
    with pytest.raises(DataRefused, match=said):
        publish(registry, estimator, draft(IRIS, numeric_contract(IRIS, classes)))
    assert registry.names() == ()


def test_an_estimator_that_cannot_be_written_is_refused(registry):
    model = LogisticRegression(max_iter=1000).fit(IRIS, SPECIES)
    model.callback = lambda: None
    with pytest.raises(DataRefused, match="joblib"):
        publish(registry, model, draft(IRIS, numeric_contract(IRIS, 3)))


def test_a_pipeline_is_described_with_its_steps():
    assert described(make_pipeline("passthrough", Ridge())) == "Pipeline(passthrough, Ridge)"
