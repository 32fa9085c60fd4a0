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
    Raises `ModelFailed` if an answer is not finite, is none of the classes, or has no probability for each of them,
    and whatever the estimator raises.
    """

    def __init__(self, version: str, estimator: Any, contract: FeatureContract, *, asks_once: bool = False) -> None:
        self._version = version
        make_single_threaded(estimator)
        self._estimator = estimator
        self._inputs = inputs_of(estimator, contract)
        self._classes = _Classes(version, estimator.classes_) if contract.task == "classification" else None
        self._has_probabilities = hasattr(estimator, "predict_proba")
        self._asks_once = asks_once
        self._predicts_likeliest = self._classes is not None and _predicts_likeliest(estimator)

    def predict(self, rows: np.ndarray) -> Outputs:
        """Class ids, with probabilities if the estimator has them, or values, for `rows` of shape (n, features)."""
        inputs = self._inputs(rows)
        if self._predicts_likeliest:
            probabilities = self._probabilities(inputs, len(rows))
            return Outputs(class_ids=probabilities.argmax(axis=1), probabilities=probabilities)
        if self._asks_once and self._classes is not None:
            return self._likeliest(rows, inputs, self._classes)
        answers = self._one_each(self._estimator.predict(inputs), len(rows))
        if self._classes is None:
            return Outputs(values=self._finite(answers.astype(np.float64)))
        # From `predict` and not from the probabilities: some classifiers decide by another rule (SVC by votes).
        class_ids = self._classes.ids(answers)
        if not self._has_probabilities:
            return Outputs(class_ids=class_ids)
        return Outputs(class_ids=class_ids, probabilities=self._probabilities(inputs, len(rows)))

    def _likeliest(self, rows: np.ndarray, inputs: Any, classes: _Classes) -> Outputs:
        probabilities = self._probabilities(inputs, len(rows))
        class_ids = probabilities.argmax(axis=1)
        best = probabilities.max(axis=1, keepdims=True)
        near = np.flatnonzero(np.count_nonzero(probabilities > best - TIE, axis=1) > 1)
        if near.size:
            answers = self._one_each(self._estimator.predict(self._inputs(rows[near])), len(near))
            class_ids[near] = classes.ids(answers)
        return Outputs(class_ids=class_ids, probabilities=probabilities)

    def _one_each(self, answers: Any, count: int) -> np.ndarray:
        given = np.asarray(answers)
        if given.size != count:
            raise ModelFailed(
                self._version, f"predict gives {given.size} answers for {count} rows, and one each is served"
            )
        return given.reshape(count)

    def _probabilities(self, inputs: Any, count: int) -> np.ndarray:
        probabilities = np.asarray(self._estimator.predict_proba(inputs), dtype=np.float64)
        if self._classes is not None and probabilities.shape != (count, self._classes.count):
            shape = f"predict_proba gives the shape {probabilities.shape} for {count} rows"
            raise ModelFailed(self._version, f"{shape} and {self._classes.count} classes")
        return self._finite(probabilities)

    def _finite(self, answers: np.ndarray) -> np.ndarray:
        # The sum is finite only if every term is, and one pass over it is cheaper than a mask.
        if not np.isfinite(answers.sum()):
            raise ModelFailed(self._version, "the answer is not finite")
        return answers


class _Classes:
    """The ids of an estimator's labels: their places in `classes_`, which need not be sorted (CatBoost's are given)."""

    def __init__(self, version: str, labels: Any) -> None:
        self._version = version
        given = np.asarray(labels)
        self.count = len(given)
        self._order = np.argsort(given, kind="stable")
        self._sorted = given[self._order]

    def ids(self, answers: np.ndarray) -> np.ndarray:
        """The class ids of labels. Raises `ModelFailed` for a label that is none of the classes, such as a score."""
        places = np.minimum(np.searchsorted(self._sorted, answers), self.count - 1)
        known = self._sorted[places] == answers
        if not known.all():
            stranger = answers[~known][0]
            raise ModelFailed(self._version, f"predict gives {stranger!s:.40}, which is none of its classes")
        return self._order[places]


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
