"""The runtimes' contract: shapes, near-ties, answers that are none, large batches, many threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import SVC

from app.domain.contract import Feature, FeatureContract
from app.domain.prediction import Outputs
from app.errors import ModelFailed
from app.inference.builder import onnx_runtime
from app.inference.export.conversion import candidates_for, files_of
from app.inference.onnx_runtime import OnnxClassifier, OnnxRegressor, in_parallel
from app.inference.sklearn_runtime import SklearnRuntime
from tests.unit.inference.published import VARIANTS, data, numeric_contract, uniform_rows

IRIS, SPECIES = data("iris")


class FixedGraph:
    """Answers every row with the same numbers."""

    def __init__(self, *numbers: float) -> None:
        self._numbers = numbers

    def one(self, rows):
        return self.many(rows)

    def many(self, rows):
        return np.tile(np.array(self._numbers, dtype=np.float64), (len(rows), 1))

    def matrix(self, rows):
        return rows


def says_last(rows):
    """A settler that takes the last class and knows its probability."""
    return Outputs(class_ids=np.full(len(rows), 2), probabilities=np.tile([0.0, 0.5, 0.5], (len(rows), 1)))


@pytest.fixture(scope="module")
def forest():
    estimator = VARIANTS["deep_forest"]().fit(IRIS, SPECIES)
    contract = numeric_contract(IRIS, 3)
    candidate = next(candidates_for(estimator, contract))
    return estimator, onnx_runtime("v1", contract, files_of(candidate, candidate.convert()), lambda: None)


@pytest.mark.parametrize("count", [1, 2, 5, 1200])
def test_a_near_tie_is_settled_and_a_clear_answer_is_not(count):
    rows = np.zeros((count, 2))
    near = OnnxClassifier("v1", FixedGraph(0.0, 0.5 + 1e-8, 0.5 - 1e-8), says_last, 3).predict(rows)
    clear = OnnxClassifier("v1", FixedGraph(0.0, 0.50001, 0.49999), says_last, 3).predict(rows)
    assert near.class_ids.tolist() == [2] * count
    assert near.probabilities.tolist() == [[0.0, 0.5, 0.5]] * count
    assert clear.class_ids.tolist() == [1] * count


@pytest.mark.parametrize("count", [1, 3, 1200])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_not_finite_is_a_failure(count, bad):
    rows = np.zeros((count, 2))
    with pytest.raises(ModelFailed, match="v9"):
        OnnxClassifier("v9", FixedGraph(0.5, bad, 0.5), says_last, 3).predict(rows)
    with pytest.raises(ModelFailed, match="v9"):
        OnnxRegressor("v9", FixedGraph(bad)).predict(rows)


@pytest.mark.parametrize("count", [1, 2, 999, 1000, 2501])
def test_shapes_and_types_are_those_of_outputs(forest, count):
    outputs = forest[1].predict(uniform_rows(IRIS, count))
    assert outputs.class_ids.shape == (count,)
    assert outputs.probabilities.shape == (count, 3)
    assert outputs.probabilities.dtype == np.float64


def test_a_row_of_the_wrong_width_is_an_error_not_an_answer(forest):
    with pytest.raises(ValueError, match="shape"):
        forest[1].predict(np.zeros((1, 1)))


def test_threads_do_not_share_answers(forest):
    estimator, runtime = forest
    asked = uniform_rows(IRIS, 400)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda row: runtime.predict(row[np.newaxis]), asked))
    np.testing.assert_allclose(
        np.concatenate([a.probabilities for a in answers]), estimator.predict_proba(asked), atol=1e-6
    )


def test_an_earlier_answer_is_not_changed_by_a_later_one(forest):
    first = forest[1].predict(IRIS[:1])
    before = first.probabilities.copy()
    forest[1].predict(IRIS[-1:])
    np.testing.assert_array_equal(first.probabilities, before)


@pytest.mark.parametrize("count", [1, 7, 1000])
def test_spreading_keeps_the_order(count):
    parts = in_parallel(lambda block: block * 2, np.arange(count), smallest=3)
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(count) * 2)


def test_a_helpers_failure_is_the_callers():
    def fail_late(block):
        if block[-1] == 999:
            raise ModelFailed("v1", "late")
        return block

    with pytest.raises(ModelFailed, match="late"):
        in_parallel(fail_late, np.arange(1000), smallest=1)


def test_the_original_estimator_runs_on_one_thread():
    estimator = RandomForestClassifier(5, n_jobs=-1).fit(IRIS, SPECIES)
    SklearnRuntime("v1", estimator, numeric_contract(IRIS, 3))
    assert estimator.n_jobs == 1


def test_class_ids_are_positions_whatever_the_labels_are():
    labels = np.array(["b", "c", "a"])[SPECIES]
    outputs = SklearnRuntime("v1", SVC().fit(IRIS, labels), numeric_contract(IRIS, 3)).predict(IRIS[:2])
    assert outputs.class_ids.tolist() == [1, 1]
    assert outputs.probabilities is None


def test_an_estimator_that_answers_nan_fails():
    class Nan:
        def predict(self, rows):
            return np.full(len(rows), np.nan)

    contract = FeatureContract(task="regression", target="y", features=(Feature(name="x"),))
    with pytest.raises(ModelFailed):
        SklearnRuntime("v1", Nan(), contract).predict(np.zeros((2, 1)))
