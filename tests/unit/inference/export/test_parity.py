"""The served classes are scikit-learn's on every training row and on random rows, for each kind of model."""

from __future__ import annotations

import numpy as np
import pytest

from app.inference.loader import load_version
from app.inference.publication import publish
from app.inference.registry import ModelRegistry
from tests.unit.inference.published import KEY, VARIANTS, data, draft, numeric_contract, uniform_rows

ROWS = {"iris": 20_000, "wine": 2_000, "digits": 300, "breast_cancer": 500}
CASES = [("iris", variant) for variant in VARIANTS]
CASES += [("wine", variant) for variant in VARIANTS]
CASES += [("digits", "deep_forest"), ("breast_cancer", "deep_forest"), ("breast_cancer", "logistic_regression")]


@pytest.mark.parametrize(("dataset", "variant"), CASES)
def test_onnx_gives_scikit_learns_classes_and_probabilities(tmp_path, dataset, variant):
    rows, target = data(dataset)
    estimator = VARIANTS[variant]().fit(rows, target)
    registry = ModelRegistry(tmp_path, KEY)
    manifest = publish(registry, estimator, draft(rows, numeric_contract(rows, len(set(target)))), random=200)
    asked = np.concatenate([rows, uniform_rows(rows, ROWS[dataset])])
    outputs = load_version(registry, "v1").runtime.predict(asked)
    assert manifest.runtime == "onnx"
    assert manifest.parity.holds
    np.testing.assert_array_equal(outputs.class_ids, estimator.predict(asked))
    assert np.abs(outputs.probabilities - estimator.predict_proba(asked)).max() < 2e-7


def test_a_row_alone_is_answered_as_in_a_batch_also_where_two_classes_tie(tmp_path):
    rows, target = data("iris")
    estimator = VARIANTS["deep_forest"]().fit(rows, target)
    registry = ModelRegistry(tmp_path, KEY)
    publish(registry, estimator, draft(rows, numeric_contract(rows, 3)), random=100)
    asked = uniform_rows(rows, 400)
    best = np.sort(estimator.predict_proba(asked), axis=1)
    assert (best[:, -1] - best[:, -2] < 1e-6).any()
    runtime = load_version(registry, "v1").runtime
    singly = [int(runtime.predict(row[np.newaxis]).class_ids[0]) for row in asked]
    assert singly == estimator.predict(asked).tolist()
