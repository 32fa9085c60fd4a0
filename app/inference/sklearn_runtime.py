"""The runtime of the original estimator: for models that do not convert to ONNX, and for settling near-ties."""

from __future__ import annotations

from typing import Any

import numpy as np

from app.domain.contract import FeatureContract
from app.domain.prediction import Outputs
from app.errors import ModelFailed
from app.inference.estimators import by_scikit_learn, decides_by_probability, make_single_threaded, unwrapped
from app.inference.fitted_inputs import inputs_of
from app.inference.near_ties import TIE

# Their `predict` is the first class of the largest `predict_proba`, by definition: one call gives both.
_FORESTS = ("RandomForestClassifier", "ExtraTreesClassifier", "DecisionTreeClassifier", "ExtraTreeClassifier")


class SklearnRuntime:
    """Runs a fitted estimator on rows of the contract, on the caller's thread only.

    Class ids come from `predict`, as indices into `classes_` and so into the contract's classes. With `asks_once`, for
    an estimator for which publishing found that the class is the likeliest one, `predict` is asked for near-ties only.
    Raises `ModelFailed` if an answer is not finite, and whatever the estimator raises.
    """

    def __init__(self, version: str, estimator: Any, contract: FeatureContract, *, asks_once: bool = False) -> None:
        self._version = version
        make_single_threaded(estimator)
        self._estimator = estimator
        self._inputs = inputs_of(estimator, contract)
        self._classes = np.asarray(estimator.classes_) if contract.task == "classification" else None
        self._has_probabilities = hasattr(estimator, "predict_proba")
        self._asks_once = asks_once
        self._predicts_likeliest = self._classes is not None and _predicts_likeliest(estimator)

    def predict(self, rows: np.ndarray) -> Outputs:
        """Class ids, with probabilities if the estimator has them, or values, for `rows` of shape (n, features)."""
        inputs = self._inputs(rows)
        if self._predicts_likeliest:
            probabilities = self._finite(np.asarray(self._estimator.predict_proba(inputs), dtype=np.float64))
            return Outputs(class_ids=probabilities.argmax(axis=1), probabilities=probabilities)
        if self._asks_once and self._classes is not None:
            return self._likeliest(rows, inputs, self._classes)
        answers = np.asarray(self._estimator.predict(inputs)).reshape(len(rows))
        if self._classes is None:
            return Outputs(values=self._finite(answers.astype(np.float64)))
        # From `predict` and not from the probabilities: some classifiers decide by another rule (SVC by votes).
        class_ids = np.searchsorted(self._classes, answers)
        if not self._has_probabilities:
            return Outputs(class_ids=class_ids)
        probabilities = np.asarray(self._estimator.predict_proba(inputs), dtype=np.float64)
        return Outputs(class_ids=class_ids, probabilities=self._finite(probabilities))

    def _likeliest(self, rows: np.ndarray, inputs: Any, classes: np.ndarray) -> Outputs:
        probabilities = self._finite(np.asarray(self._estimator.predict_proba(inputs), dtype=np.float64))
        class_ids = probabilities.argmax(axis=1)
        best = probabilities.max(axis=1, keepdims=True)
        near = np.flatnonzero(np.count_nonzero(probabilities > best - TIE, axis=1) > 1)
        if near.size:
            answers = np.asarray(self._estimator.predict(self._inputs(rows[near]))).reshape(len(near))
            class_ids[near] = np.searchsorted(classes, answers)
        return Outputs(class_ids=class_ids, probabilities=probabilities)

    def _finite(self, answers: np.ndarray) -> np.ndarray:
        # The sum is finite only if every term is, and one pass over it is cheaper than a mask.
        if not np.isfinite(answers.sum()):
            raise ModelFailed(self._version, "the answer is not finite")
        return answers


def _predicts_likeliest(estimator: Any) -> bool:
    """Whether the model, or the last step of the pipeline, is one of `_FORESTS`."""
    model = unwrapped(estimator)
    return by_scikit_learn(model.steps[-1][1] if hasattr(model, "steps") else model, *_FORESTS)


def may_ask_once(estimator: Any, contract: FeatureContract, rows: np.ndarray, outputs: Outputs) -> bool:
    """Whether the class is that of the largest probability: by the estimator's definition, and on all of `rows`.

    `outputs` are its answers to these rows, when asked for both.
    """
    if outputs.class_ids is None or outputs.probabilities is None or not decides_by_probability(estimator):
        return False
    once = SklearnRuntime("candidate", estimator, contract, asks_once=True).predict(rows)
    return once.class_ids is not None and bool((once.class_ids == outputs.class_ids).all())
